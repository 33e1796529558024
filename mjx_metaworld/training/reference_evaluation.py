"""A policy on CPU metaworld, run by the reference's own evaluation on its own vector of environments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import metaworld
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from metaworld import env_dict
from metaworld.evaluation import evaluation

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.parity.reference import reference_task
from mjx_metaworld.suites import require_metaworld
from mjx_metaworld.types import EPISODE_STEPS, Policy


class ReferenceEvaluation(NamedTuple):
    """Result of metaworld's evaluation, by task: an episode ends at its first success."""

    success: np.ndarray  # (tasks,) share of the goals
    episode_return: np.ndarray  # (tasks,) mean, up to the first success


def evaluate_on_reference(
    env: MetaWorldEnv,
    policy: Policy,
    rand_vecs: Sequence[np.ndarray],
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
) -> ReferenceEvaluation:
    """Evaluate with `metaworld.evaluation.evaluation`, each goal once.

    Args:
        env: what the policy was made for: tasks, and whether observations carry the one-hot vector.
        policy: deterministic.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        num_steps: control steps an episode at most, up to the reference's 500.
        advance: called after every control step of all tasks, for a progress bar.

    Raises:
        ValueError: if metaworld lacks one of the tasks.
    """
    require_metaworld(env.tasks, "the evaluation on CPU metaworld")
    names = [spec.name for spec in env.tasks]
    num_goals = len(rand_vecs[0])
    makers = [
        partial(
            metaworld._init_each_env,
            env_dict.ALL_V3_ENVIRONMENTS[name],
            tasks=[
                reference_task(name, vector[: len(spec.rand_low)], goal_observable=env.goal_observable)
                for vector in vectors
            ],
            max_episode_steps=num_steps,
            use_one_hot=env.one_hot,
            env_id=i,
            num_tasks=len(names),
            task_select="pseudorandom",  # goal after goal
            reward_function_version=env.reward_version,
        )
        for i, (name, spec, vectors) in enumerate(zip(names, env.tasks, rand_vecs, strict=True))
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered")  # metaworld's spaces are float64
        envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.call("toggle_sample_tasks_on_reset", True)
    _, _, success, returns = evaluation(_Agent(policy, len(names), advance), envs, num_episodes=num_goals)
    envs.close()
    return ReferenceEvaluation(
        np.array([success[name] for name in names]), np.array([np.mean(returns[name]) for name in names])
    )


class _Agent:
    """A policy as an agent of metaworld's evaluation."""

    def __init__(self, policy: Policy, num_tasks: int, advance: Callable[[], object]) -> None:
        self._act = jit(policy)
        self._task = np.arange(num_tasks, dtype=np.int32)
        self._advance = advance

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        self._advance()
        # A copy: the environments keep the array.
        actions = self._act(np.array(observations, np.float32), self._task)
        return np.clip(np.asarray(actions), -1.0, 1.0)

    def reset(self, env_mask: np.ndarray) -> None:
        """A policy without memory has nothing to forget."""
