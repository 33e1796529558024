"""A policy that learns in trials on CPU metaworld, by the reference's own evaluation of meta-learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key
from metaworld.evaluation import Timestep, metalearning_evaluation

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.parity.evaluation import parts_of, reference_vector
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.suites import require_metaworld
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy
from mjx_metaworld.training.trial_evaluation import TrialLength
from mjx_metaworld.types import EPISODE_STEPS


class ReferenceTrials(NamedTuple):
    """Result of metaworld's evaluation: an episode of evaluation ends at its first success."""

    success: np.ndarray  # (tasks,) share of the episodes of evaluation
    episode_return: float  # mean over all of them, up to the first success


def evaluate_trials_on_reference(
    env: MetaWorldEnv,
    policy: RecurrentPolicy,
    rand_vecs: Sequence[np.ndarray],
    length: TrialLength,
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
    key: Key[Array, ""] | None = None,
) -> ReferenceTrials:
    """Evaluate with `metaworld.evaluation.metalearning_evaluation`, each goal once, goals hidden.

    There is one environment a task: of several with the same task metaworld counts the episodes that end first, which
    are those that succeed.

    Args:
        env: whose tasks and reward version these are.
        policy: what is evaluated.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        length: episodes of a trial.
        num_steps: control steps of an episode at most, up to the reference's 500.
        advance: called after every control step of all tasks, for a progress bar.
        key: of the actions drawn.

    Raises:
        ValueError: if metaworld lacks one of the tasks, or for a bad number of episodes.
    """
    require_metaworld(env.tasks, "the evaluation on CPU metaworld")
    check_integer("adaptation episodes", length.adaptation, low=0)
    check_integer("evaluation episodes", length.evaluation)
    parts = [part._replace(goal_observable=False, one_hot=False) for part in parts_of(env, rand_vecs, num_steps)]
    envs = reference_vector(parts, recurrent_info_in_obs=True)
    agent = TrialAgent(policy, len(env.tasks), advance, key, likely=length.likely)
    _, mean_return, success = metalearning_evaluation(
        agent,
        envs,
        num_evals=len(rand_vecs[0]),
        adaptation_episodes=length.adaptation,
        evaluation_episodes=length.evaluation,
    )
    envs.close()
    return ReferenceTrials(np.array([success[spec.name] for spec in env.tasks]), mean_return)


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
