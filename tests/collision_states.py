"""States recorded along the reference's scripted experts, and what MuJoCo C finds colliding in them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
from metaworld.policies import ENV_POLICY_MAP

from mjx_metaworld.scenes.catalog import SCENES, SceneSpec, find_scene, load_scene

TASKS: tuple[str, ...] = tuple(ENV_POLICY_MAP)


class Recording(NamedTuple):
    """Snapshots of one task's rollouts; enough to recompute every pose of the original scene."""

    task: str
    scene: SceneSpec
    qpos: np.ndarray  # (snapshots, nq) of the original scene
    body_pos: np.ndarray  # (snapshots, nbody, 3) of the original model: reset moves the prop there


def make_reference(task: str, seed: int):
    """The reference environment of a task with a goal drawn from the seed."""
    return ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"](seed=seed)


def record(task: str, episodes: int = 1, steps: int = 120, every: int = 10, noise: float = 0.0) -> Recording:
    """Roll the scripted expert out and keep every `every`-th state; `noise` is added to its actions."""
    rng = np.random.default_rng(0)
    qpos, body_pos = [], []
    env = make_reference(task, seed=0)
    policy = ENV_POLICY_MAP[task]()
    for _ in range(episodes):
        obs, _ = env.reset()
        for step in range(steps):
            action = policy.get_action(obs) + noise * rng.normal(size=4)
            obs, *_ = env.step(np.clip(action, -1, 1))
            if step % every == 0:
                qpos.append(env.data.qpos.copy())
                body_pos.append(env.model.body_pos.copy())
    scene = find_scene(Path(env.model_name).stem)
    return Recording(task, scene, np.array(qpos), np.array(body_pos))


def replay(model: mujoco.MjModel, data: mujoco.MjData, recording: Recording, index: int) -> None:
    """Put a snapshot into a model of its scene: poses and contacts are then those of MuJoCo C."""
    model.body_pos[:] = recording.body_pos[index]
    data.qpos[:] = recording.qpos[index]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_collision(model, data)


def one_task_a_scene() -> tuple[str, ...]:
    """For each of the 36 scenes the first task that uses it."""
    tasks = {}
    for task in TASKS:
        cls = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"]
        tasks.setdefault(Path(cls.model_name.fget(None)).stem, task)
    return tuple(tasks[scene.file] for scene in SCENES)


__all__ = ["TASKS", "Recording", "load_scene", "make_reference", "one_task_a_scene", "record", "replay"]
