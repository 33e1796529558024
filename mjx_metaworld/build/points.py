"""Places and orientations of a task on the skeleton, found in its scene."""

from __future__ import annotations

import mujoco
import numpy as np

from mjx_metaworld.scenes.bodies import BodyMap
from mjx_metaworld.tasks.points import CONVENTIONS, FINGER_POINTS, PointTable
from mjx_metaworld.tasks.spec import Observed, Orientation, Point, TaskSpec, Vec3

_ABSENT = Observed(Point("body", "world"))


def point_table(
    spec: TaskSpec, model: mujoco.MjModel, bodies: BodyMap, *, num_objects: int = 1, num_points: int = 0
) -> PointTable:
    """Locate a task's places on the skeleton (numpy leaves).

    Args:
        spec: the task.
        model: its scene, as compiled.
        bodies: that scene's map onto the skeleton.
        num_objects: rows for observed objects, at least the task's own number; the same in all tables to be stacked.
        num_points: rows for the task's points, likewise.
    """
    points = spec.points + (_ABSENT.position,) * (num_points - len(spec.points))
    objects = spec.objects + (_ABSENT,) * (num_objects - len(spec.objects))
    places = [*FINGER_POINTS, *(o.position for o in objects), *points]
    located = [_locate(p.kind, p.name, model, bodies, p.local) for p in places]

    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    frames = [_locate_orientation(o.orientation, model, bodies) for o in objects]
    return PointTable(
        body=np.array([body for body, _, _ in located], np.int32),
        local=np.array([pos for _, pos, _ in located]),
        offset=np.array([p.offset for p in places]),
        quat_body=np.array([body for body, _, _ in frames], np.int32),
        quat_mat=np.array([_quat_to_mat(quat) for _, _, quat in frames]),
        quat_local=np.array([quat for _, _, quat in frames]),
        quat_rest=np.array([_rest_quat(o.orientation, data) for o in objects]),
        convention=np.array([CONVENTIONS[o.orientation.convention] for o in objects], np.int32),
        observed=np.array([1.0] * len(spec.objects) + [0.0] * (num_objects - len(spec.objects))),
    )


def _locate(
    kind: str, name: str, model: mujoco.MjModel, bodies: BodyMap, local: Vec3 = (0.0, 0.0, 0.0)
) -> tuple[int, np.ndarray, np.ndarray]:
    """Skeleton body, position (3,) and quaternion (4,) in it of a body, site or geom, or of `local` on a joint."""
    if kind == "body":
        body = model.body(name).id
        return int(bodies.body[body]), bodies.pos[body], bodies.quat[body]
    element = getattr(model, kind)(name)
    body = int(element.bodyid[0])
    own_pos, own_quat = (local, (1.0, 0.0, 0.0, 0.0)) if kind == "joint" else (element.pos, element.quat)
    pos, quat = np.zeros(3), np.zeros(4)
    mujoco.mju_rotVecQuat(pos, own_pos, bodies.quat[body])
    mujoco.mju_mulQuat(quat, bodies.quat[body], own_quat)
    return int(bodies.body[body]), pos + bodies.pos[body], quat


def _locate_orientation(
    orientation: Orientation, model: mujoco.MjModel, bodies: BodyMap
) -> tuple[int, np.ndarray, np.ndarray]:
    if orientation.kind is None or orientation.name is None:
        return _locate("body", "world", model, bodies)
    return _locate(orientation.kind, orientation.name, model, bodies)


def _rest_quat(orientation: Orientation, data: mujoco.MjData) -> np.ndarray:
    if orientation.convention != "wxyz":
        return np.array([1.0, 0.0, 0.0, 0.0])
    return data.body(orientation.name).xquat.copy()


def _quat_to_mat(quat: np.ndarray) -> np.ndarray:
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, quat)
    return mat.reshape(3, 3)
