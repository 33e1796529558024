"""From a state here to MuJoCo itself: the original Meta-World scene in the same situation."""

from __future__ import annotations

import copy
import functools

import jax
import mujoco
import numpy as np

from mjx_metaworld.build.readings import SkeletonState, write_skeleton
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.checks import known_task
from mjx_metaworld.rendering.edits import Originals, edit_model
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.tasks.spec import TaskSpec
from mjx_metaworld.types import State, on_host

MOCAP_QUAT = (1.0, 0.0, 1.0, 0.0)


def to_mujoco(env: MetaWorldEnv, state: State, i: int = 0) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Lane `i` as the original Meta-World scene, forwarded: for rendering, debugging, any MuJoCo tool.

    The prop stands where this episode put it and the goal is marked where the reference marks it. The gripper's
    controls are zero, as a state does not hold the last action. What the episode drew of friction, mass, damping, gain
    and gravity is edited into the model, so that MuJoCo steps it as the engine here.

    Args:
        env: the environment that the state belongs to.
        state: a batch of states (every leaf with one leading axis), or a single one, whose only lane is 0.
        i: the lane.

    Returns:
        A model and data of its own, free to be changed.

    Raises:
        IndexError: if there is no such lane.
        ValueError: if its task is none of the environment's.
    """
    lanes = (1,) if np.ndim(state.task) == 0 else np.shape(state.task)
    if len(lanes) != 1 or not -lanes[0] <= i < lanes[0]:
        raise IndexError(f"no lane {i} in a state with leading axes {np.shape(state.task)}")
    state = on_host(state)
    lane = state if np.ndim(state.task) == 0 else jax.tree.map(lambda x: x[i], state)
    known_task(lane.task, len(env.tasks))  # -1 would be the last
    spec = env.tasks[int(lane.task)]
    scene = OriginalScene(spec.scene_spec)
    scene.pose(spec, lane)
    return scene.model, scene.data


class OriginalScene:
    """One original scene, to be put into the situation of lane after lane whose task lives in it.

    Attributes:
        spec: which.
        model: a copy of its own.
        data: its state, forwarded by `pose`.
    """

    def __init__(self, scene_spec: SceneSpec) -> None:
        self.spec = scene_spec
        self.model = copy.copy(_compiled(scene_spec))
        self.data = mujoco.MjData(self.model)
        self._prop = scene_spec.prop
        self._bodies = map_bodies(self.model, scene_spec.prop)
        self._site_pos = self.model.site_pos.copy()
        self._originals = Originals.of(self.model)
        self._is_edited = False

    def pose(self, spec: TaskSpec, lane: State) -> None:
        """Take on the situation of a single environment (numpy leaves) that runs a task of this scene."""
        model, data, physics = self.model, self.data, lane.physics
        mujoco.mj_resetData(model, data)
        model.site_pos[:] = self._site_pos
        if lane.randomised is not None or self._is_edited:
            self._is_edited = lane.randomised is not None
            edit_model(model, self._originals, self._bodies, lane.randomised.dynamics if lane.randomised else None)
        if self._prop is not None:
            model.body(self._prop).pos = physics.prop_pos
        skeleton = SkeletonState(*(np.asarray(x, float) for x in (physics.qpos, physics.qvel, physics.qacc_warmstart)))
        write_skeleton(data, self._bodies, skeleton)
        data.mocap_pos[0] = physics.mocap_pos
        data.mocap_quat[0] = MOCAP_QUAT
        _mark_goal(model, spec, lane)
        mujoco.mj_forward(model, data)


@functools.lru_cache(maxsize=16)  # 20 MB each
def _compiled(scene: SceneSpec) -> mujoco.MjModel:
    """The scene as the file has it; compiling takes ten times longer than copying."""
    return load_scene(scene)


def _mark_goal(model: mujoco.MjModel, spec: TaskSpec, lane: State) -> None:
    """Move the site that marks the goal to where the reference has it after a step.

    Each of its resets writes a world position into the site's local one. That marks another place than the goal in
    scenes whose site hangs on a body away from the origin. Its steps write `data.site_xpos`, to no effect. A scene of
    one's own may have no such site.
    """
    site = find_goal_site(model, spec)
    if site >= 0:
        object_shift = marked_above_object(spec)
        model.site(site).pos = lane.episode.goal if object_shift is None else lane.episode.object_init + object_shift


def find_goal_site(model: mujoco.MjModel, spec: TaskSpec) -> int:
    """Id of the site that marks a task's goal, -1 for none."""
    return -1 if spec.goal_site is None else mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, spec.goal_site)


def marked_above_object(spec: TaskSpec) -> np.ndarray | None:
    """Displacement (3,) of the mark from where the object began; None where it marks the goal instead."""
    return None if spec.goal_site_shift is None else np.array(spec.goal_site_shift)
