"""From a state here to MuJoCo itself: the original Meta-World scene in the same situation."""

from __future__ import annotations

import copy
import functools
import inspect
from types import SimpleNamespace

import jax
import mujoco
import numpy as np
from metaworld import env_dict

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.readings import SkeletonState, write_skeleton
from mjx_metaworld.tasks.spec import TaskSpec
from mjx_metaworld.types import State

_MOCAP_QUAT = (1.0, 0.0, 1.0, 0.0)


def to_mujoco(env: MetaWorldEnv, state: State, i: int = 0) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Lane `i` as the original Meta-World scene, forwarded: for rendering, debugging, any MuJoCo tool.

    The prop stands where this episode put it and the goal's site marks the goal. The gripper's controls are zero, as
    a state does not hold the last action.

    Args:
        env: the environment that the state belongs to.
        state: a batch of states (every leaf with one leading axis), or a single one, whose only lane is 0.
        i: the lane.

    Returns:
        A model and data of its own, free to be changed.

    Raises:
        IndexError: if there is no such lane.
    """
    lane = _select_lane(state, i)
    spec = env.tasks[int(lane.task)]
    model = copy.copy(_compiled(spec.scene_spec))
    prop = spec.scene_spec.prop
    if prop is not None:
        model.body(prop).pos = lane.physics.prop_pos
    data = mujoco.MjData(model)
    physics = lane.physics
    skeleton = SkeletonState(*(np.asarray(x, float) for x in (physics.qpos, physics.qvel, physics.qacc_warmstart)))
    write_skeleton(data, map_bodies(model, prop), skeleton)
    data.mocap_pos[0] = physics.mocap_pos
    data.mocap_quat[0] = _MOCAP_QUAT
    mujoco.mj_forward(model, data)
    for site, position in _goal_sites(spec, lane, data):
        body = model.site_bodyid[site]
        model.site_pos[site] = data.xmat[body].reshape(3, 3).T @ (position - data.xpos[body])
    mujoco.mj_forward(model, data)
    return model, data


@functools.cache
def _compiled(scene: SceneSpec) -> mujoco.MjModel:
    """The scene as the file has it; compiling takes ten times longer than copying."""
    return load_scene(scene)


def _select_lane(state: State, i: int) -> State:
    """One environment's state as numpy arrays."""
    lanes = (1,) if np.ndim(state.task) == 0 else np.shape(state.task)
    if len(lanes) != 1 or not -lanes[0] <= i < lanes[0]:
        raise IndexError(f"no lane {i} in a state with leading axes {np.shape(state.task)}")
    episode = state.episode.replace(key=None)  # keys are no numbers and not needed
    chosen = state.replace(episode=episode)
    return jax.tree.map(lambda x: np.asarray(x if np.ndim(state.task) == 0 else x[i]), chosen)


def _goal_sites(spec: TaskSpec, lane: State, data: mujoco.MjData) -> list[tuple[int, np.ndarray]]:
    """Site ids and world positions of the marks that the reference sets every step."""
    remembered = SimpleNamespace(
        _target_pos=np.asarray(lane.episode.goal, float),
        init_right_pad=data.body("rightpad").xpos,  # pick-out-of-hole marks the pad, wherever it is, as its goal
    )
    marks = inspect.getattr_static(env_dict.ALL_V3_ENVIRONMENTS[spec.name], "_target_site_config").fget(remembered)
    return [(data.site(name).id, position) for name, position in marks]
