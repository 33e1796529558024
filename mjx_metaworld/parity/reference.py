"""The live CPU reference: metaworld's own environments, tasks with a chosen goal vector, and scripted policies."""

from __future__ import annotations

import pickle
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
    outcomes = []
    for rand_vec in rand_vecs:
        obs = start_reference(cpu_env, name, rand_vec)
        success, total = False, 0.0
        for _ in range(num_steps):
            action = np.clip(policy.get_action(obs.copy()), -1.0, 1.0)  # some policies write into obs
            obs, reward, _, _, info = cpu_env.step(action)
            success |= bool(info["success"])
            total += float(reward)
        outcomes.append(EpisodeOutcome(success, total))
    cpu_env.close()
    return outcomes
