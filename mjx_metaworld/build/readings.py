"""Readings of a MuJoCo simulation as the reference takes them: places, the observed frame, the skeleton's state."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from mjx_metaworld.observation import FRAME_SIZE
from mjx_metaworld.physics import model as layout
from mjx_metaworld.scenes.bodies import BodyMap
from mjx_metaworld.tasks.spec import Orientation, Point, TaskSpec


class SkeletonState(NamedTuple):
    """The generalized state of a simulation in the skeleton's coordinates, float64."""

    qpos: np.ndarray  # (19,)
    qvel: np.ndarray  # (18,)
    qacc_warmstart: np.ndarray  # (18,)


def read_skeleton(data: mujoco.MjData, bodies: BodyMap) -> SkeletonState:
    """The state of an original scene in the skeleton's coordinates; those that the scene lacks are at rest."""
    qpos = np.zeros(layout.NQ)
    qpos[layout.FREE_QPOS.start + 3] = 1.0
    qpos[bodies.qpos] = data.qpos
    qvel, warmstart = np.zeros(layout.NV), np.zeros(layout.NV)
    qvel[bodies.dofs] = data.qvel
    warmstart[bodies.dofs] = data.qacc_warmstart
    return SkeletonState(qpos, qvel, warmstart)


def write_skeleton(data: mujoco.MjData, bodies: BodyMap, state: SkeletonState) -> None:
    """Put the state of the skeleton into a simulation of the original scene."""
    data.qpos[:] = state.qpos[bodies.qpos]
    data.qvel[:] = state.qvel[bodies.dofs]
    data.qacc_warmstart[:] = state.qacc_warmstart[bodies.dofs]


def read_point(data: mujoco.MjData, point: Point) -> np.ndarray:
    """World position (3,) of a named place."""
    if point.kind == "joint":
        body = data.model.jnt_bodyid[data.joint(point.name).id]
        return data.xpos[body] + data.xmat[body].reshape(3, 3) @ point.local + point.offset
    return getattr(data, point.kind)(point.name).xpos + point.offset


def read_orientation(data: mujoco.MjData, orientation: Orientation) -> np.ndarray:
    """An orientation (4,) as the reference observes it."""
    if orientation.convention == "zero":
        return np.zeros(4)
    if orientation.convention == "identity":
        return np.array([1.0, 0.0, 0.0, 0.0])
    assert orientation.kind is not None
    frame = getattr(data, orientation.kind)(orientation.name)
    if orientation.convention == "wxyz":
        return frame.xquat.copy()
    return Rotation.from_matrix(frame.xmat.reshape(3, 3)).as_quat()


def read_frame(data: mujoco.MjData, spec: TaskSpec) -> np.ndarray:
    """The unclipped observed frame (18,): hand, gripper opening, then position and orientation of each object."""
    claws = data.body("rightclaw").xpos - data.body("leftclaw").xpos
    opening = np.clip(np.linalg.norm(claws) / 0.1, 0.0, 1.0)
    objects = [(read_point(data, o.position), read_orientation(data, o.orientation)) for o in spec.objects]
    frame = np.concatenate([data.body("hand").xpos, [opening], *(part for pair in objects for part in pair)])
    return np.pad(frame, (0, FRAME_SIZE - frame.size))


def read_tcp(data: mujoco.MjData) -> np.ndarray:
    """The tool centre point (3,), midway between the finger tips."""
    return (data.site("rightEndEffector").xpos + data.site("leftEndEffector").xpos) / 2
