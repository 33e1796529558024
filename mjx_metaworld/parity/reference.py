"""The live CPU reference: metaworld's own environments, tasks with a chosen goal vector, and scripted policies."""

from __future__ import annotations

import pickle

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
