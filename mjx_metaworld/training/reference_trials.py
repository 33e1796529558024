"""A policy that learns in trials on CPU metaworld, by the reference's own evaluation of meta-learning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from metaworld.evaluation import Timestep, metalearning_evaluation

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.env.environment import ACTION_SIZE
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.parity.episodes import reference_processes
from mjx_metaworld.parity.evaluation import Outcome, Part, loaded, parts_of, reference_vector
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.suites import require_metaworld
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy
from mjx_metaworld.training.trial_evaluation import TrialLength
from mjx_metaworld.types import EPISODE_STEPS


class _Programs(NamedTuple):
    """A policy with memory as compiled functions' StableHLO, for another process."""

    drawn: bytes
    likely: bytes | None  # None where no actions are the most likely ones
    memory: list[np.ndarray]  # before a trial
    words: np.ndarray  # of the key of the actions drawn
    key_impl: str


def evaluate_trials_on_reference(
    env: MetaWorldEnv,
    policy: RecurrentPolicy,
    rand_vecs: Sequence[np.ndarray],
    length: TrialLength,
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
    key: Key[Array, ""] | None = None,
) -> list[Outcome]:
    """Evaluate with `metaworld.evaluation.metalearning_evaluation`, task by task, each goal once, goals hidden.

    There is one environment a task: of several with the same task metaworld counts the episodes that end first, which
    are those that succeed.

    Args:
        env: whose tasks and reward version these are.
        policy: what is evaluated.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        length: episodes of a trial.
        num_steps: control steps of an episode at most, up to the reference's 500.
        advance: called after every control step, for a progress bar.
        key: of the actions drawn; always the same by default.

    Raises:
        ValueError: if metaworld lacks one of the tasks, or for a bad number of episodes.
    """
    parts, own = _parts_of(env, rand_vecs, num_steps, length), jax.random.key(0) if key is None else key
    return [_evaluate_part(part, policy, length, jax.random.fold_in(own, part.index), advance) for part in parts]


@contextlib.contextmanager
def trial_evaluations(
    env: MetaWorldEnv,
    policy: RecurrentPolicy,
    rand_vecs: Sequence[np.ndarray],
    length: TrialLength,
    num_steps: int,
    processes: int,
) -> Iterator[list[Future[Outcome]]]:
    """Start the same in the background, in so many processes; one future a task, in the given order.

    Raises:
        ValueError: if metaworld lacks one of the tasks, or for a bad number of episodes.
    """
    parts, key = _parts_of(env, rand_vecs, num_steps, length), jax.random.key(0)
    programs = _export(policy, length, key)
    with reference_processes(processes) as pool:
        yield [pool.submit(_evaluate_programs, part, programs, length) for part in parts]


def _parts_of(env: MetaWorldEnv, rand_vecs: Sequence[np.ndarray], num_steps: int, length: TrialLength) -> list[Part]:
    require_metaworld(env.tasks, "the evaluation on CPU metaworld")
    check_integer("adaptation episodes", length.adaptation, low=0)
    check_integer("evaluation episodes", length.evaluation)
    return [part._replace(goal_observable=False, one_hot=False) for part in parts_of(env, rand_vecs, num_steps)]


def _evaluate_part(
    part: Part, policy: RecurrentPolicy, length: TrialLength, key: Key[Array, ""], advance: Callable[[], object]
) -> Outcome:
    envs = reference_vector([part], recurrent_info_in_obs=True)
    _, mean_return, success = metalearning_evaluation(
        TrialAgent(policy, 1, advance, key, likely=length.likely),
        envs,
        num_evals=len(part.rand_vecs),
        adaptation_episodes=length.adaptation,
        evaluation_episodes=length.evaluation,
    )
    envs.close()
    return Outcome(float(success[part.name]), mean_return)


def _export(policy: RecurrentPolicy, length: TrialLength, key: Key[Array, ""]) -> _Programs:
    leaves, structure = jax.tree.flatten(policy.start(1))
    impl, words = str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key))

    def act(memory: list[Array], obs: Array, action: Array, reward: Array, done: Array, *drawn: Array) -> Any:
        key = jax.random.wrap_key_data(drawn[0], impl=impl) if drawn else None
        actions, memory = policy.act(jax.tree.unflatten(structure, memory), obs, Past(action, reward, done), key)
        return actions, jax.tree.leaves(memory)

    def exported(*drawn: np.ndarray) -> bytes:
        obs, action = np.zeros((1, OBSERVATION_SIZE), np.float32), np.zeros((1, ACTION_SIZE), np.float32)
        args = leaves, obs, action, np.zeros(1, np.float32), np.zeros(1, bool), *drawn
        return bytes(jax.export.export(jax.jit(act), platforms=["cpu"])(*args).serialize())

    memory = [np.asarray(leaf) for leaf in leaves]
    return _Programs(exported(words), exported() if length.likely else None, memory, words, impl)


def _evaluate_programs(part: Part, programs: _Programs, length: TrialLength) -> Outcome:
    drawn, likely = (None if program is None else loaded(program) for program in programs[:2])

    def act(memory: list[Array], obs: Array, past: Past, key: Array | None) -> tuple[Array, list[Array]]:
        run, words = (likely, ()) if key is None else (drawn, (jax.random.key_data(key),))
        assert run is not None, "the most likely actions were to be taken"
        return run(memory, obs, past.action, past.reward, past.done, *words)

    policy = RecurrentPolicy(lambda num_envs: programs.memory, act)
    key = jax.random.wrap_key_data(jnp.asarray(programs.words), impl=programs.key_impl)
    return _evaluate_part(part, policy, length, jax.random.fold_in(key, part.index), lambda: None)


class TrialAgent:
    """A policy with memory as an agent of metaworld's evaluation, in environments with `recurrent_info_in_obs`.

    What it learns within a trial is in its memory, so that `adapt` has nothing to do, and a new episode lets it keep
    that; a trial begins with `init`.

    Args:
        policy: what acts.
        num_envs: number of environments.
        advance: called at every action.
        key: of the actions drawn; always the same by default.
        likely: whether episodes of evaluation take the most likely actions instead of drawn ones.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        num_envs: int,
        advance: Callable[[], object] = lambda: None,
        key: Key[Array, ""] | None = None,
        *,
        likely: bool = False,
    ) -> None:
        self._policy = policy
        self._likely = likely
        self._act = jit(policy.act)
        self._num_envs = num_envs
        self._advance = advance
        self._key = jax.random.key(0) if key is None else key
        self.init()

    def init(self) -> None:
        """A trial begins."""
        self._memory: Any = self._policy.start(self._num_envs)
        self._acted = np.zeros(self._num_envs, bool)  # in this trial
        self._done = np.zeros(self._num_envs, bool)

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions as in training, and nothing beside them."""
        return self._take(observations, self._draw_key()), {}

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Actions of an episode that counts."""
        return self._take(observations, None if self._likely else self._draw_key())

    def step(self, timestep: Timestep) -> None:
        """Take in whether episodes ended; rewards and actions the next observation tells."""
        self.reset(timestep.terminated | timestep.truncated)

    def adapt(self) -> None:
        """Nothing: it has adapted step by step."""

    def reset(self, env_mask: np.ndarray) -> None:
        """In some environments another episode of the trial begins."""
        self._done |= np.asarray(env_mask, bool) & self._acted

    def _draw_key(self) -> Key[Array, ""]:
        self._key, key = jax.random.split(self._key)
        return key

    def _take(self, observations: np.ndarray, key: Array | None) -> np.ndarray:
        self._advance()
        seen = np.array(observations, np.float32)  # a copy: the environments keep the array
        obs, action, reward, _ = np.split(seen, [OBSERVATION_SIZE, seen.shape[1] - 2, seen.shape[1] - 1], axis=1)
        actions, self._memory = self._act(self._memory, obs, Past(action, reward[:, 0], self._done), key)
        self._done = np.zeros_like(self._done)
        self._acted[:] = True
        return np.asarray(actions)
