"""The live CPU reference: metaworld's own environments, tasks with a chosen goal vector, and scripted policies."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from metaworld import env_dict, policies
from metaworld.policies.policy import Policy
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task


def reference_env(name: str) -> SawyerXYZEnv:
    """A new environment of a task; give it a task with `start_reference` before use."""
    return env_dict.ALL_V3_ENVIRONMENTS[name]()


def reference_task(name: str, rand_vec: np.ndarray, *, goal_observable: bool = True) -> Task:
    """A metaworld `Task` with this goal vector, as its benchmarks make them."""
    cls = env_dict.ALL_V3_ENVIRONMENTS[name]
    data = {"rand_vec": np.array(rand_vec), "env_cls": cls, "partially_observable": not goal_observable}
    return Task(env_name=name, data=pickle.dumps(data))


def start_reference(
    cpu_env: SawyerXYZEnv, name: str, rand_vec: np.ndarray, *, goal_observable: bool = True
) -> np.ndarray:
    """Start the episode with this goal vector; returns the first observation (39,)."""
    cpu_env.set_task(reference_task(name, rand_vec, goal_observable=goal_observable))
    return cpu_env.reset()[0]


def reference_policy(name: str) -> Policy:
    """The scripted policy of a task."""
    return policies.ENV_POLICY_MAP[name]()


class EpisodeOutcome(NamedTuple):
    """Result of an episode of the reference."""

    success: bool  # at any step
    episode_return: float


def run_reference_expert(name: str, rand_vecs: np.ndarray, num_steps: int) -> list[EpisodeOutcome]:
    """Run the scripted policy on the reference, one episode a goal vector.

    Args:
        name: the task.
        rand_vecs: (n, rand) goal vectors.
        num_steps: control steps an episode, at most the reference's 500.
    """
    cpu_env, policy = reference_env(name), reference_policy(name)

    def act(obs: np.ndarray) -> np.ndarray:
        return policy.get_action(obs.copy())  # some policies write into obs

    outcomes = [run_reference_episode(cpu_env, name, rand_vec, act, num_steps) for rand_vec in rand_vecs]
    cpu_env.close()
    return outcomes


def run_reference_episode(
    cpu_env: SawyerXYZEnv, name: str, rand_vec: np.ndarray, act: Callable[[np.ndarray], np.ndarray], num_steps: int
) -> EpisodeOutcome:
    """Run an episode of the reference.

    Args:
        cpu_env: of the task, from `reference_env`.
        name: the task.
        rand_vec: (rand,) its goal vector.
        act: the policy, (39,) -> (4,); its actions are clipped to [-1, 1].
        num_steps: control steps, at most the reference's 500.
    """
    obs = start_reference(cpu_env, name, rand_vec)
    success, total = False, 0.0
    for _ in range(num_steps):
        obs, reward, _, _, info = cpu_env.step(np.clip(act(obs), -1.0, 1.0))
        success |= bool(info["success"])
        total += float(reward)
    return EpisodeOutcome(success, total)
