"""Meta-World for brax: `ppo.train(BraxEnv(mw.make("MT10")), wrap_env_fn=wrap, episode_length=500, ...)`.

MuJoCo Playground trains with the same agents, so this is also the way to its PPO and SAC.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.processes.installed import install_command

try:
    from brax.envs.base import Env, Wrapper
    from brax.envs.base import State as BraxState
    from brax.envs.wrappers.training import DomainRandomizationVmapWrapper, EpisodeWrapper, VmapWrapper
except ImportError as error:
    raise ImportError(f"this adapter needs brax: {install_command('brax')}") from error

from mjx_metaworld.adapters.brax_compat import provide_device_put_replicated
from mjx_metaworld.adapters.brax_system import System, choose, chosen_in, chosen_of, names_of, system_of, with_room
from mjx_metaworld.adapters.views import named_pixels
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.keys import PRNGKey, is_typed
from mjx_metaworld.physics.checks import check_integer, check_offers
from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.types import EPISODE_STEPS, State
from mjx_metaworld.vector import check_environment, restart


class PipelineState(struct.PyTreeNode):
    """State that brax carries and restores as `pipeline_state`."""

    env: State  # without pictures, which are in brax's `obs`
    solved: Bool[Array, ""]  # whether a step of this episode was a success
    chosen: tuple[str, ...] = struct.field(pytree_node=False, default=())  # parameters that `sys` sets


class BraxEnv(Env):
    """A MetaWorldEnv as brax's interface, one environment; brax's wrappers batch it.

    The time limit is brax's `episode_length`; `env.max_episode_steps` shows in `info["truncation"]` of unwrapped
    environments only. `metrics` holds Meta-World's seven values and `solved`, which is 1 at an episode's first success:
    brax adds metrics up over an episode, so that `eval/episode_solved` is the success rate. `info["terminal_obs"]` is
    the true successor, also where an automatic reset has replaced `obs`; `info["finite"]` is False at a step whose
    action, or what came of it, held NaN or infinity.

    With `pixels` an observation is a dict, as brax's and Playground's agents take it: "state" (obs,), and a picture
    "pixels/view_0" (height, width, 3) a camera, float32 from 0 to 1; `info["terminal_obs"]` remains the numbers.

    A `randomization_fn(sys, rng)` is given `sys`, a `System`, and sets parameters of each lane for all its episodes,
    in place of what terms draw of the same ones.

    Args:
        env: what to adapt.
        draws: whether a step draws; else its observation keeps the pictures that it had, for a wrapper that draws
            later.

    Raises:
        TypeError: if `env` is no environment.
        ValueError: if the pixels are more than colours.
    """

    def __init__(self, env: MetaWorldEnv, *, draws: bool = True) -> None:
        check_environment(env)
        provide_device_put_replicated()  # for agents that wrap by brax's own means
        self.env = env
        self.draws = draws
        self._chosen = Dynamics()
        if env.pixels is not None:
            drawn = jax.eval_shape(env.reset, jax.random.key(0)).pixels
            if not isinstance(drawn, jax.ShapeDtypeStruct) or len(drawn.shape) not in (3, 4):
                raise ValueError(f"brax observes pictures of colours alone, not {sorted(named_pixels(drawn))}")

    @property
    def observation_size(self) -> Any:
        """Length of the observation; with `pixels` the shapes of its parts, by name."""
        if self.env.pixels is None:
            return self.env.observation_size
        obs = jax.eval_shape(lambda key: self.observe(self.env.reset(key)), jax.random.key(0))
        return {name: part.shape for name, part in obs.items()}

    @property
    def action_size(self) -> int:
        """4."""
        return self.env.action_size

    @property
    def backend(self) -> str:
        """The name of the engine, which is no pipeline of brax."""
        return "mjx_metaworld"

    @property
    def sys(self) -> System:
        """Physical parameters, at first those of the scenes; `DomainRandomizationVmapWrapper` sets those of a lane."""
        chosen = {name: getattr(self._chosen, name) for name in names_of(self._chosen)}
        return self._usual.tree_replace(chosen)

    @sys.setter
    def sys(self, system: System) -> None:
        self._chosen = chosen_of(system, self._usual)

    @cached_property
    def _usual(self) -> System:
        return system_of(self.env)

    def reset(self, rng: PRNGKey) -> BraxState:
        """Start an episode of a task drawn uniformly; `rng` is a key of either kind."""
        names = names_of(self._chosen)
        env = with_room(self.env, names)
        state = choose(env, env.reset(rng), self._chosen)
        zero = jnp.zeros_like(state.reward)
        undrawn = state.replace(pixels=None)
        pipeline_state: Any = PipelineState(undrawn, jnp.zeros((), bool), names)  # where brax declares its own
        info = {"truncation": zero, "terminal_obs": state.obs, "finite": state.finite}
        metrics = _metrics(state, pipeline_state.solved)
        return BraxState(pipeline_state, self.observe(state), zero, zero, metrics, info)

    def step(self, state: BraxState, action: Float[Array, "4"]) -> BraxState:
        """Advance by one control step, keeping what wrappers have put into `info` and `metrics`.

        Raises:
            ValueError: if `sys` sets other parameters than where the state was reset.
        """
        before: Any = state.pipeline_state  # our PipelineState, where brax declares its own
        names = names_of(self._chosen)
        if before.chosen != names:
            raise ValueError(f"sys sets {names or 'nothing'}, where the state was reset {before.chosen or 'nothing'}")
        env = with_room(self.env if self.draws else self.env.blind, names)
        after = env.step(choose(env, before.env, self._chosen), action)
        obs: Any = state.obs
        obs = obs | {"state": after.obs} if self.env.pixels is not None and not self.draws else self.observe(after)
        success = after.metrics.success > 0
        # An end stays one until a wrapper has seen it, which with `action_repeat` takes further steps.
        done = jnp.maximum(state.done, after.terminated.astype(after.reward.dtype))
        truncation = (after.truncated & ~after.terminated).astype(after.reward.dtype)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] - flax gives it, unseen
            pipeline_state=PipelineState(after.replace(pixels=None), before.solved | success, names),
            obs=obs,
            reward=after.reward,
            done=done,
            metrics=state.metrics | _metrics(after, success & ~before.solved),
            info=state.info | {"truncation": truncation, "terminal_obs": after.obs, "finite": after.finite},
        )

    def observe(self, state: State) -> Any:
        """Observation of a state: its numbers, or these and its pictures by name."""
        if state.pixels is None:
            return state.obs
        views = state.pixels if state.pixels.ndim == 4 else state.pixels[None]
        pictures = {f"pixels/view_{i}": view.astype(jnp.float32) / 255.0 for i, view in enumerate(views)}
        return {"state": state.obs} | pictures


def _metrics(state: State, solved: Bool[Array, ""]) -> dict[str, Array]:
    metrics = {field.name: getattr(state.metrics, field.name) for field in fields(state.metrics)}
    return metrics | {"solved": solved.astype(state.reward.dtype)}


def _with_total(info: dict[str, Any], name: str, missing: Array) -> dict[str, Any]:
    """The info with what is missing from a metric's sum over the episode, which not every version of brax keeps."""
    totals = info.get("episode_metrics")
    if totals is None:
        return info
    return info | {"episode_metrics": totals | {name: totals[name] + missing}}


def wrap(
    env: BraxEnv,
    episode_length: int = EPISODE_STEPS,
    action_repeat: int = 1,
    randomization_fn: Callable[..., Any] | None = None,
) -> Wrapper:
    """Wrapper for brax's `wrap_env_fn`: like brax's own, but every episode has a fresh task and goal.

    Brax's own starts a lane's episodes all alike, with the goal of its first. With `pixels` a lane is drawn once, after
    the restart. Where jax no longer has
    `device_put_replicated`, brax's agents are given one here; `jax` itself is left alone.

    Args:
        env: what to batch.
        episode_length: control steps of an episode.
        action_repeat: control steps that an action is held.
        randomization_fn: `sys -> (sys of all lanes, in_axes)`, as brax's agents make it of `(sys, rng)`; a lane keeps
            its parameters in all its episodes. `mw.make(..., randomise=[...])` draws them anew in each.

    Raises:
        TypeError: if `env` is no `BraxEnv`.
        ValueError: if a number of steps is no positive integer.
    """
    check_offers("env", env, "a BraxEnv", "env", "draws", "observe")
    episode_length = check_integer("episode_length", episode_length)
    action_repeat = check_integer("action_repeat", action_repeat)
    provide_device_put_replicated()  # an agent wraps before it needs it
    if env.env.pixels is not None:
        env = copy.copy(env)
        env.draws = False
    lanes = VmapWrapper(env) if randomization_fn is None else DomainRandomizationVmapWrapper(env, randomization_fn)
    return FreshAutoResetWrapper(EpisodeWrapper(lanes, episode_length, action_repeat))


class FreshAutoResetWrapper(Wrapper):
    """Resets a batch of BraxEnv, lane by lane, to new tasks and goals."""

    def reset(self, rng: Key[Array, " envs"]) -> BraxState:
        """Start an episode in every lane; keys of either kind, of which brax's own wrappers know only raw ones."""
        return self.env.reset(jax.random.key_data(rng) if is_typed(rng) else rng)

    def step(self, state: BraxState, action: Float[Array, "envs 4"]) -> BraxState:
        """One step, then a new episode in the lanes whose episode ended."""
        before: Any = state.pipeline_state  # our PipelineState, where brax declares its own
        # As brax's AutoResetWrapper: the count of steps outlives the step that ended an episode.
        steps = jnp.where(state.done, 0.0, state.info["steps"])
        counted: Any = state  # with `replace`, which flax gives and brax's types do not show
        counted = counted.replace(done=jnp.zeros_like(state.done), info=state.info | {"steps": steps})
        counted = self.env.step(counted, action)
        done = counted.done > 0
        old: Any = counted.pipeline_state  # our PipelineState, where brax declares its own
        unwrapped: Any = self.unwrapped
        env = with_room(unwrapped.env, old.chosen)
        fresh = jax.vmap(functools.partial(restart, env))(old.env, done)
        fresh = jax.vmap(functools.partial(choose, env))(fresh, chosen_in(old.env, old.chosen))
        # Counted here, not by the environment's step, of which `action_repeat` makes several.
        first = (old.solved & ~before.solved).astype(counted.reward.dtype)
        return counted.replace(
            info=_with_total(counted.info, "solved", first - counted.metrics["solved"]),
            pipeline_state=PipelineState(fresh.replace(pixels=None), old.solved & ~done, old.chosen),
            obs=jax.vmap(unwrapped.observe)(fresh),
            metrics=counted.metrics | {"solved": first},
        )
