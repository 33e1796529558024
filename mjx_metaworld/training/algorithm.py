"""Interface of a learning algorithm to the training loop, and the environments it learns in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.experts import expert
from mjx_metaworld.observation import GOAL
from mjx_metaworld.physics.checks import as_integer, as_numbers, check_boolean
from mjx_metaworld.training.recurrent import RecurrentPolicy
from mjx_metaworld.training.view import Eyes, Sight, device_eyes
from mjx_metaworld.trials import begin_trials, end_trials, step_trials
from mjx_metaworld.types import Policy, State, Transition
from mjx_metaworld.vector import VectorEnv


class TrainingEnv(NamedTuple):
    """A batch of environments with autoreset, as an algorithm sees it.

    The state is opaque to the algorithms, but for `obs` (envs, obs) and `task` (envs,) and, where there are trials,
    `episode` (envs,): how many of its trial's episodes a lane has had.
    """

    num_envs: int
    num_tasks: int
    observation_size: int  # with the one-hot vector
    one_hot: bool  # whether the last `num_tasks` entries of an observation are the task's one-hot vector
    action_size: int  # actions lie in [-1, 1]
    episode_steps: int  # until truncation
    reset: Callable[[Key[Array, ""]], Any]
    step: Callable[[Any, Float[Array, "envs action"]], tuple[Any, Transition]]
    restart: Callable[[Any, Bool[Array, " envs"]], Any]  # new episodes, and new trials, in some lanes
    # A step that leaves episodes at their end, for `restart`; None where only `step` knows what follows one.
    advance: Callable[[Any, Float[Array, "envs action"]], tuple[Any, Transition]] | None = None
    trial_episodes: int | None = None  # for which a lane keeps its goal, where these environments have trials
    goal: slice = slice(0, 0)  # entries of an observation that tell the goal, which trials hide from a policy
    sharding: NamedSharding | None = None  # of the lanes over several devices
    # For algorithms that see and imitate; both raise where that cannot be done.
    eyes: Callable[[Sight], Eyes] | None = None  # draws states of any number of lanes
    expert: Callable[[], Policy] | None = None  # the scripted policies, of all lanes

    @property
    def plain_size(self) -> int:
        """Entries of an observation without the one-hot vector."""
        return self.observation_size - (self.num_tasks if self.one_hot else 0)

    @property
    def trial_steps(self) -> int:
        """Steps of a trial, or of an episode where there are no trials."""
        return self.episode_steps * (self.trial_episodes or 1)

    def whole(self, plain: Float[Array, "... plain"], task: Int[Array, "..."]) -> Float[Array, "... obs"]:
        """Observations of which a replay buffer keeps all but the one-hot vector, where these environments show one."""
        if not self.one_hot:
            return plain
        return jnp.concatenate([plain, jax.nn.one_hot(task, self.num_tasks)], axis=-1)

    def check_lanes(self, num_envs: int) -> None:
        """Check that a configuration is made for as many lanes.

        Raises:
            ValueError: if it is not.
        """
        if num_envs != self.num_envs:
            raise ValueError(f"the configuration says {num_envs} environments, these are {self.num_envs}")


def training_env(vector_env: VectorEnv, trial_episodes: int | None = None) -> TrainingEnv:
    """A vector environment of Meta-World tasks to learn in.

    Args:
        vector_env: the environments.
        trial_episodes: episodes for which a lane keeps its goal, to learn to learn; None for a new goal each.

    Raises:
        ValueError: if there are fewer lanes than tasks, or several tasks that the observation does not tell apart where
            that is not to be found out in trials.
    """
    env = vector_env.env
    if vector_env.num_envs < len(env.tasks):
        raise ValueError(f"num_envs must be at least the number of tasks, {len(env.tasks)}, got {vector_env.num_envs}")
    if len(env.tasks) > 1 and not env.one_hot and trial_episodes is None:
        raise ValueError("several tasks need the one-hot vector in the observation: make(..., one_hot=True)")
    lanes = TrainingEnv(
        num_envs=vector_env.num_envs,
        num_tasks=len(env.tasks),
        observation_size=env.observation_size,
        one_hot=env.one_hot,
        action_size=env.action_size,
        episode_steps=env.max_episode_steps,
        reset=vector_env.reset,
        step=vector_env.step,
        restart=vector_env.restart,
        advance=vector_env.advance,
        sharding=vector_env.sharding,
        eyes=functools.partial(device_eyes, env),
        expert=lambda: jax.vmap(expert(env)),
    )
    if trial_episodes is None:
        return lanes
    return lanes._replace(
        reset=functools.partial(begin_trials, vector_env),
        step=lambda trials, action: step_trials(vector_env, trials, action, trial_episodes),
        restart=functools.partial(end_trials, vector_env),
        advance=None,
        trial_episodes=trial_episodes,
        goal=GOAL,
        eyes=None,
        expert=None,
    )


@runtime_checkable
class Observe(Protocol):
    """Makes what a policy acts on."""

    def __call__(self, state: State, wanted: Bool[Array, " envs"] | None = None) -> Any:
        """Of states with one leading axis; nobody reads that of the ones which are not `wanted`."""
        ...


def observation(state: State, wanted: Bool[Array, " envs"] | None = None) -> Float[Array, "envs obs"]:
    """The observations of states, which most policies act on."""
    return state.obs


class Algorithm(NamedTuple):
    """A learning algorithm, bound to its configuration and its environments.

    All functions are pure and traceable. The train state is a flax struct of arrays with everything that learning goes
    on from (networks, optimizers, normalisers, random keys, and the environments' states in the field `env_state`), so
    that a copy of it resumes the very same run. What `iterate` reports is a flax struct whose leaves are scalars or
    (tasks,) arrays.
    """

    steps_per_iteration: int  # environment steps, over all lanes
    init: Callable[[Key[Array, ""]], Any]
    iterate: Callable[[Any], tuple[Any, Any]]  # train state -> (train state, report); collects and learns in one jit
    policy: Callable[[Any], Policy]  # train state -> the deterministic policy, for evaluation
    sharding: NamedSharding | None = None  # of the environments' lanes over several devices
    observe: Observe = observation  # makes what the policy acts on, of environments' states
    recurrent: Callable[[Any], RecurrentPolicy] | None = None  # instead of `policy`, of one that learns in trials


class EpisodeReport(struct.PyTreeNode):
    """The episodes that ended during an iteration, by task; NaN where none did."""

    success: Float[Array, " tasks"]  # share with a success at any step
    episode_return: Float[Array, " tasks"]
    # Transitions of the iteration that are not `finite`; NaN where nobody counts them.
    nonfinite_steps: Float[Array, ""] = struct.field(default_factory=lambda: jnp.full((), jnp.nan))


def check_positive(config: Any, *names: str) -> None:
    """Check fields of a configuration.

    Raises:
        ValueError: if one of the named fields is not positive.
    """
    for field in dataclasses.fields(config):
        if field.name in names and not getattr(config, field.name) > 0:
            raise ValueError(f"{field.name} must be positive, got {getattr(config, field.name)}")


def check_not_negative(config: Any, *names: str) -> None:
    """Check fields of a configuration.

    Raises:
        ValueError: if one of the named fields is negative.
    """
    for name in names:
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}")


def plain_fields(config: Any) -> None:
    """Make the fields of a configuration plain Python values, of the types that their defaults have.

    A number of NumPy's or JAX's, or a list in place of a tuple, would neither be written down nor compare equal to
    what is read again; a whole number in place of another would be traced as another type.

    Raises:
        ValueError: if a field is of another type, or NaN or infinite.
    """
    for field in dataclasses.fields(config):
        if field.default not in (dataclasses.MISSING, None):
            value = plain(field.name, getattr(config, field.name), field.default)
            object.__setattr__(config, field.name, value)  # configurations are frozen


def plain(name: str, value: Any, like: Any) -> Any:
    """A field's value as a plain one of the same type as another, such as its default; texts stay as they are.

    Raises:
        ValueError: if it is of another type, or NaN or infinite.
    """
    if isinstance(like, bool):
        return check_boolean(name, value)
    if isinstance(like, int):
        number = as_integer(value)
        if number is None:
            raise ValueError(f"{name} must be an integer, got {value!r}")
        return number
    if isinstance(like, float):
        numbers = None if isinstance(value, bool) else as_numbers([value])
        if numbers is None:
            raise ValueError(f"{name} must be a finite number, got {value!r}")
        return numbers[0]
    if isinstance(like, tuple):
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, Iterable):
            raise ValueError(f"{name} must be several values, got {value!r}")
        return tuple(plain(f"an entry of {name}", entry, like[0]) if like else entry for entry in value)
    return value


def check_widths(config: Any, *names: str) -> None:
    """Check fields of a configuration that hold the widths of layers.

    Raises:
        ValueError: if one of the named fields is not of positive integers.
    """
    for name in names:
        widths = getattr(config, name)
        if not widths or not all(type(width) is int and width > 0 for width in widths):
            raise ValueError(f"{name} must be positive widths, got {widths}")


def check_shares(config: Any, *names: str) -> None:
    """Check fields of a configuration.

    Raises:
        ValueError: if one of the named fields is outside [0, 1].
    """
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {getattr(config, name)}")
