"""The live reference: metaworld environments, what they remember, and rollouts with their policies.

Everything is read from the environment's own attributes and from its `mjData`, in float64.
"""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import jax
import numpy as np
import pytest
from metaworld import env_dict
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld import suites
from mjx_metaworld.parity.record import Style, rollout
from mjx_metaworld.parity.reference import reference_env, reference_policy, reference_task
from mjx_metaworld.tasks import registered
from mjx_metaworld.tasks.spec import RewardInputs
from mjx_metaworld.testing import reward_inputs_from_metaworld
from mjx_metaworld.types import Metrics
from support.economy import QUICK as QUICK_SET

SPECS = {spec.name: spec for spec in registered()}
QUICK = tuple(spec.name for spec in suites.resolve("MT10"))
EACH_TASK = [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in SPECS]


# One environment a task for the whole test session; call `reset_to` before use.
shared_env = functools.cache(reference_env)


def reset_to(name: str, rand_vec: np.ndarray, *, goal_observable: bool = True) -> tuple[SawyerXYZEnv, np.ndarray]:
    """The task's environment at the start of the episode with this goal vector, and its first observation."""
    env = shared_env(name)
    env.set_task(reference_task(name, rand_vec, goal_observable=goal_observable))
    env.reward_function_version = "v1"  # or assembly would not prepare it; other tasks do not look at it here
    obs, _ = env.reset()
    env.reward_function_version = "v2"
    return env, obs


def seeded_goal(task: str, seed: int) -> np.ndarray:
    """The goal of a reset as LeRobot's own environment makes it: metaworld, drawing from a seeded generator."""
    env = env_dict.ALL_V3_ENVIRONMENTS[task]()
    env._set_task_called = True
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.seed(seed)
    env.reset(seed=seed)
    assert env._last_rand_vec is not None
    return env._last_rand_vec


class Evaluation(NamedTuple):
    """What the reference returns for transitions."""

    reward: np.ndarray  # (n,)
    metrics: Metrics


class Recording(NamedTuple):
    """Transitions of a task under its expert and at random; leaves have a leading axis of transitions."""

    inputs: RewardInputs
    v2: Evaluation
    v1: Evaluation
    obs: np.ndarray  # (n, 39) before the step, as the policy sees it
    expert_action: np.ndarray  # (n, 4) the reference policy's answer to it


# Control steps within which the expert has succeeded, where that takes longer than for most.
STEPS_TO_SUCCESS = {"box-close-v3": 200}


def evaluate_v1(env: SawyerXYZEnv, obs: np.ndarray, action: np.ndarray) -> Evaluation:
    """Evaluate the last step by the old reward; neither reward writes anything that the other reads."""
    env.reward_function_version = "v1"
    reward, info = env.evaluate_state(obs, action)
    env.reward_function_version = "v2"
    return Evaluation(float(reward), Metrics(**{key: np.asarray(value, float) for key, value in info.items()}))


@functools.cache
def record(name: str, goals: int = 1 if os.environ.get(QUICK_SET) else 2) -> Recording:
    """Roll the live reference out: the expert, the expert with noise, random actions, for some goals each."""
    steps = STEPS_TO_SUCCESS.get(name, 120)
    spec, policy = SPECS[name], reference_policy(name).get_action
    rng = np.random.default_rng(0)
    rows = []
    wander: dict[Style, float] = {"expert": 0.0, "noisy": 0.5, "random": 1.5}  # of which some is beyond the bounds
    for rand_vec in suites.goals(name, seed=1)[0][:goals]:
        for style, size in wander.items():
            env, first = reset_to(name, rand_vec)
            turns = rollout(env, first, policy, style=style, num_steps=steps, rng=rng, wander=size, bound=np.inf)
            for turn in turns:
                obs, reward, metrics = turn.take()
                inputs = reward_inputs_from_metaworld(env, spec, obs, turn.action)
                v1 = evaluate_v1(env, obs, turn.action)
                rows.append(Recording(inputs, Evaluation(reward, metrics), v1, turn.obs, turn.expert))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
