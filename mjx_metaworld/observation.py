"""Named physical quantities of the Sawyer and its scene, and the observation made of them.

A `PointTable` says where on the skeleton every place lies that a task observes or refers to. It is built on the host
from the original scene; in a step its rows are gathered, so environments of different tasks run the same code. Shapes
are those of one environment, batch with `jax.vmap`.
"""

from __future__ import annotations

import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.model import FREE, FREE_QPOS, LEFT_CLAW, RIGHT_CLAW
from mjx_metaworld.scenes.bodies import BodyMap
from mjx_metaworld.tasks.spec import Observed, Orientation, Placement, Point, Settled, TaskSpec, Vec3

_FINGER_POINTS = (
    Point("site", "rightEndEffector"),
    Point("site", "leftEndEffector"),
    Point("body", "leftpad"),
    Point("body", "rightpad"),
)
_NUM_FINGER_POINTS = len(_FINGER_POINTS)
_ZERO, _IDENTITY, _WXYZ, _XYZW = range(4)
_CONVENTIONS = {"zero": _ZERO, "identity": _IDENTITY, "wxyz": _WXYZ, "xyzw": _XYZW}
_ABSENT = Observed(Point("body", "world"))

FRAME_SIZE = 18  # hand, gripper opening, two objects of position and quaternion
OBSERVATION_SIZE = 39  # frame, previous frame, goal
_HAND_SPACE = ((-0.525, 0.348, -0.0525), (0.525, 1.025, 0.7))
_MAX_APART = 0.1  # distance of the claws that counts as fully open


@struct.dataclass
class PointTable:
    """Places and orientations of a task on the skeleton.

    Rows of the places: both finger tips, both pads, the observed objects, the task's points (padded).
    """

    body: Int[Array, " places"]  # skeleton body
    local: Float[Array, "places 3"]  # in that body's frame
    offset: Float[Array, "places 3"]  # in world axes
    quat_body: Int[Array, " objects"]
    quat_mat: Float[Array, "objects 3 3"]  # orientation of the observed frame in that body's
    quat_local: Float[Array, "objects 4"]  # the same as w, x, y, z
    quat_rest: Float[Array, "objects 4"]  # the frame's xquat in the scene file's pose, which fixes the sign
    convention: Int[Array, " objects"]  # see `tasks.spec.Orientation`
    observed: Float[Array, " objects"]  # 1 for an object, 0 for padding


@struct.dataclass
class Readings:
    """Quantities that the reference reads from the simulation after a step."""

    tcp: Float[Array, "3"]
    left_tip: Float[Array, "3"]
    left_pad: Float[Array, "3"]
    right_pad: Float[Array, "3"]
    points: Float[Array, "points 3"]
    frame: Float[Array, "18"]  # unclipped


# --- the table, on the host ---


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
    places = [*_FINGER_POINTS, *(o.position for o in objects), *points]
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
        convention=np.array([_CONVENTIONS[o.orientation.convention] for o in objects], np.int32),
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
    if orientation.kind is None:
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


# --- readings, in JAX ---


def read(
    table: PointTable,
    xpos: Float[Array, "14 3"],
    xmat: Float[Array, "14 3 3"],
    hand_pos: Float[Array, "3"],
    qpos: Float[Array, "19"],
) -> Readings:
    """Read a task's quantities from the skeleton's forward kinematics."""
    # Written out: a sum over an axis of three becomes a library call that takes 30 times as long.
    frames, local = xmat[table.body], table.local
    turned = frames[..., 0] * local[:, :1] + frames[..., 1] * local[:, 1:2] + frames[..., 2] * local[:, 2:]
    places = xpos[table.body] + turned + table.offset
    num_objects = table.quat_body.shape[0]
    right_tip, left_tip, left_pad, right_pad = places[:_NUM_FINGER_POINTS]
    objects = places[_NUM_FINGER_POINTS : _NUM_FINGER_POINTS + num_objects] * table.observed[:, None]
    quats = _observed_quats(table, xmat, qpos)

    between_claws = xpos[RIGHT_CLAW] - xpos[LEFT_CLAW]
    opening = jnp.clip(jnp.sqrt(jnp.sum(between_claws * between_claws)) / _MAX_APART, 0.0, 1.0)
    seen = jnp.concatenate([objects, quats], axis=1).reshape(-1)
    frame = jnp.concatenate([hand_pos, opening[None], seen, jnp.zeros(FRAME_SIZE - 4 - seen.size, seen.dtype)])
    return Readings(
        tcp=(right_tip + left_tip) / 2.0,
        left_tip=left_tip,
        left_pad=left_pad,
        right_pad=right_pad,
        points=places[_NUM_FINGER_POINTS + num_objects :],
        frame=frame,
    )


def _observed_quats(table: PointTable, xmat: Float[Array, "14 3 3"], qpos: Float[Array, "19"]) -> Array:
    """The objects' orientations `(objects, 4)`, each by its own convention."""
    mat = jnp.sum(xmat[table.quat_body][:, :, :, None] * table.quat_mat[:, None], axis=2)
    xyzw = matrix_to_quat(mat)

    # MuJoCo's xquat is a product of quaternions, so its sign is not a matter of the matrix alone: a free body's
    # follows qpos; a fixture turns by less than half a turn, so its stays on the side of the resting pose's.
    wxyz = jnp.roll(xyzw, 1, axis=1)
    free = spatial.quat_mul(qpos[FREE_QPOS.start + 3 : FREE_QPOS.stop], table.quat_local.T).T
    side = jnp.where((table.quat_body == FREE)[:, None], free, table.quat_rest)
    wxyz = jnp.where(jnp.sum(wxyz * side, axis=1, keepdims=True) < 0.0, -wxyz, wxyz)

    convention = table.convention[:, None]
    identity = jnp.asarray((1.0, 0.0, 0.0, 0.0), xyzw.dtype)
    constant = jnp.where(convention == _IDENTITY, identity, 0.0)
    return jnp.where(convention == _XYZW, xyzw, jnp.where(convention == _WXYZ, wxyz, constant))


def matrix_to_quat(mat: Float[Array, "n 3 3"]) -> Float[Array, "n 4"]:
    """Quaternions x, y, z, w of rotation matrices with the signs of scipy's `Rotation.from_matrix(mat).as_quat()`.

    The component with the largest square is computed from the diagonal and comes out positive.
    """
    m = [[mat[:, i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    candidates = (
        (1.0 - trace + 2.0 * m[0][0], m[1][0] + m[0][1], m[2][0] + m[0][2], m[2][1] - m[1][2]),
        (m[1][0] + m[0][1], 1.0 - trace + 2.0 * m[1][1], m[2][1] + m[1][2], m[0][2] - m[2][0]),
        (m[2][0] + m[0][2], m[2][1] + m[1][2], 1.0 - trace + 2.0 * m[2][2], m[1][0] - m[0][1]),
        (m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], 1.0 + trace),
    )
    largest = jnp.argmax(jnp.stack([m[0][0], m[1][1], m[2][2], trace], axis=-1), axis=-1)[:, None]
    quats = [jnp.stack(candidate, axis=-1) for candidate in candidates]
    quat = jnp.where(largest == 0, quats[0], quats[3])
    quat = jnp.where(largest == 1, quats[1], jnp.where(largest == 2, quats[2], quat))
    return quat / jnp.sqrt(jnp.sum(quat * quat, axis=-1, keepdims=True))


# --- the observation ---


def observation_bounds(spec: TaskSpec, *, goal_observable: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (39,) to which a step's observation is clipped; a hidden goal's are zero."""
    unbounded = np.full(FRAME_SIZE - 4, np.inf)
    low = np.concatenate([_HAND_SPACE[0], [-1.0], -unbounded])
    high = np.concatenate([_HAND_SPACE[1], [1.0], unbounded])
    goal_low, goal_high = (spec.goal_low, spec.goal_high) if goal_observable else (np.zeros(3), np.zeros(3))
    return np.concatenate([low, low, goal_low]), np.concatenate([high, high, goal_high])


def stack_frames(
    frame: Float[Array, "18"], previous: Float[Array, "18"], goal: Float[Array, "3"], *, goal_observable: bool
) -> Float[Array, "39"]:
    """The unclipped observation.

    A step's is clipped to the bounds before anything reads it, but the next step's `previous` is the unclipped frame;
    a reset's shows its frame twice and is not clipped at all.
    """
    return jnp.concatenate([frame, previous, goal if goal_observable else jnp.zeros_like(goal)])


def reset_frame(
    fresh: Float[Array, "18"], settled: Settled, placement: Placement, stale: Bool[Array, ""]
) -> Float[Array, "18"]:
    """The frame that the reference observes at reset.

    Where the task moves its prop or its fixture without forwarding the simulation (`TaskSpec.stale_reset`), the
    reference still sees what the last settling substep left: the hand one substep ago, the fixture where the prop now
    stands, but not as the task then set its joint. Elsewhere it sees the placed state, `fresh`.
    """
    left = settled.frame.at[4:7].add(placement.prop_pos - settled.prop_pos)
    return jnp.where(stale, left, fresh)
