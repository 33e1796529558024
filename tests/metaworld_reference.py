"""The live reference: metaworld environments, what they remember, and rollouts with their policies.

Everything is read from the environment's own attributes and from its `mjData`, in float64.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from typing import NamedTuple

import jax
import numpy as np
import pytest
from metaworld import env_dict, policies
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task

from mjx_metaworld import suites
from mjx_metaworld.scenes.readings import read_point
from mjx_metaworld.tasks import TASKS, TaskSpec
from mjx_metaworld.tasks.spec import RewardInputs
from mjx_metaworld.types import Metrics

SPECS = {spec.name: spec for spec in TASKS}
QUICK = tuple(spec.name for spec in suites.resolve("MT10"))
EACH_TASK = [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in SPECS]

# Attributes in which the reference remembers a point (by row of `TaskSpec.points`) as it was at reset. All other
# points whose initial position matters do not move.
REMEMBERED_POINTS = {
    "peg-insert-side-v3": {0: "peg_head_pos_init"},
    "dial-turn-v3": {0: "dial_push_position"},
    "stick-push-v3": {0: "stick_init_pos"},
    "stick-pull-v3": {0: "stick_init_pos"},
    "handle-press-v3": {1: "_handle_init_pos"},
    "handle-press-side-v3": {1: "_handle_init_pos"},
    "window-open-v3": {0: "window_handle_pos_init"},
    "window-close-v3": {0: "window_handle_pos_init"},
}
PART_JOINT_ROWS = {2: 0, 3: 2}  # mjtJoint slide, hinge -> first row of part_qpos


def reference_task(name: str, rand_vec: np.ndarray, *, goal_observable: bool = True) -> Task:
    """A metaworld `Task`, as its benchmarks make them."""
    cls = env_dict.ALL_V3_ENVIRONMENTS[name]
    data = {"rand_vec": np.array(rand_vec), "env_cls": cls, "partially_observable": not goal_observable}
    return Task(env_name=name, data=pickle.dumps(data))


@functools.cache
def reference_env(name: str) -> SawyerXYZEnv:
    """One environment a task for the whole test session; call `reset_to` before use."""
    return env_dict.ALL_V3_ENVIRONMENTS[name]()


def reset_to(name: str, rand_vec: np.ndarray, *, goal_observable: bool = True) -> tuple[SawyerXYZEnv, np.ndarray]:
    """The task's environment at the start of the episode with this goal vector, and its first observation."""
    env = reference_env(name)
    env.set_task(reference_task(name, rand_vec, goal_observable=goal_observable))
    obs, _ = env.reset()
    return env, obs


def points_init(env: SawyerXYZEnv, spec: TaskSpec) -> np.ndarray:
    """`(points, 3)` the task's points as the reference remembers them from reset."""
    points = np.array([read_point(env.data, point) for point in spec.points]).reshape(-1, 3)
    for row, attribute in REMEMBERED_POINTS.get(spec.name, {}).items():
        points[row] = getattr(env, attribute)
    return points


def part_qpos(env: SawyerXYZEnv) -> np.ndarray:
    """`(3,)` the fixture's joints: slide, slide, hinge."""
    joints, slides = np.zeros(3), 0
    arm = {f"right_j{i}" for i in range(7)} | {"r_close", "l_close"}
    for joint in range(env.model.njnt):
        kind = int(env.model.jnt_type[joint])
        if kind in PART_JOINT_ROWS and env.model.joint(joint).name not in arm:
            joints[PART_JOINT_ROWS[kind] + slides] = env.data.qpos[env.model.jnt_qposadr[joint]]
            slides += kind == 2
    return joints


def reward_inputs(env: SawyerXYZEnv, spec: TaskSpec, obs: np.ndarray, action: np.ndarray) -> RewardInputs:
    """What `env.evaluate_state(obs, action)` looks at, now."""
    return RewardInputs(
        obs=np.array(obs),
        action=np.array(action, float),
        tcp=env.tcp_center.copy(),
        left_pad=env.get_body_com("leftpad").copy(),
        right_pad=env.get_body_com("rightpad").copy(),
        points=np.array([read_point(env.data, point) for point in spec.points]).reshape(-1, 3),
        part_qpos=part_qpos(env),
        touching=np.array(spec.main_geom is not None and env.touching_main_object),
        goal=np.array(env._target_pos),
        object_init=np.array(env.obj_init_pos),
        tcp_init=env.init_tcp.copy(),
        points_init=points_init(env, spec),
    )


class Recording(NamedTuple):
    """Transitions of a task under its expert and at random; leaves have a leading axis of transitions."""

    inputs: RewardInputs
    reward: np.ndarray  # (n,)
    metrics: Metrics
    obs: np.ndarray  # (n, 39) before the step, as the policy sees it
    expert_action: np.ndarray  # (n, 4) the reference policy's answer to it


# Control steps within which the expert has succeeded, where that takes longer than for most.
STEPS_TO_SUCCESS = {"box-close-v3": 200}


def reference_policy(name: str) -> policies.policy.Policy:
    """The scripted policy of a task."""
    return policies.ENV_POLICY_MAP[name]()


@functools.cache
def record(name: str, goals: int = 2) -> Recording:
    """Roll the live reference out: the expert, the expert with noise, random actions, for some goals each."""
    steps = STEPS_TO_SUCCESS.get(name, 120)
    spec, policy = SPECS[name], reference_policy(name)
    rng = np.random.default_rng(0)
    rows = []
    for rand_vec in suites.goals(name, seed=1)[0][:goals]:
        for style in ("expert", "noisy", "random"):
            env, obs = reset_to(name, rand_vec)
            wander = rng.uniform(-1, 1, 4)
            for _ in range(steps):
                # The policies write into what they are given (door-open moves the door it sees), so give a copy.
                with warnings.catch_warnings(action="ignore"):
                    expert = policy.get_action(obs.copy())
                wander = np.clip(wander + 0.3 * rng.normal(size=4), -1.5, 1.5)
                action = {"expert": expert, "noisy": expert + 0.5 * wander, "random": wander}[style]
                before = obs
                # In float64: with a float32 action the reference computes part of its rewards in float32.
                action = action.astype(np.float64)
                obs, reward, _, _, info = env.step(action)
                inputs = reward_inputs(env, spec, obs, action)
                metrics = Metrics(**{key: float(value) for key, value in info.items()})
                rows.append(Recording(inputs, float(reward), metrics, before, expert))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
