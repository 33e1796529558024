"""Places and orientations that tasks observe or refer to, read from the skeleton's poses.

A `PointTable` says where on the skeleton every such place lies. `build.points` makes it on the host from the original
scene; in a step its rows are gathered, so environments of different tasks run the same code. Shapes are those of one
environment, batch with `jax.vmap`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.observation import FRAME_SIZE, HAND_AND_GRIPPER
from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.model import FREE, FREE_QPOS, LEFT_CLAW, RIGHT_CLAW
from mjx_metaworld.tasks.spec import Point

FINGER_POINTS = (
    Point("site", "rightEndEffector"),
    Point("site", "leftEndEffector"),
    Point("body", "leftpad"),
    Point("body", "rightpad"),
)
_NUM_FINGER_POINTS = len(FINGER_POINTS)
_ZERO, _IDENTITY, _WXYZ, _XYZW = range(4)
CONVENTIONS = {"zero": _ZERO, "identity": _IDENTITY, "wxyz": _WXYZ, "xyzw": _XYZW}
_MAX_APART = 0.1  # distance of the claws that counts as fully open


class PointTable(struct.PyTreeNode):
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


class Readings(struct.PyTreeNode):
    """Quantities that the reference reads from the simulation after a step."""

    tcp: Float[Array, "3"]
    left_tip: Float[Array, "3"]
    left_pad: Float[Array, "3"]
    right_pad: Float[Array, "3"]
    points: Float[Array, "points 3"]
    frame: Float[Array, "18"]  # unclipped


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
    missing = FRAME_SIZE - HAND_AND_GRIPPER.stop - seen.size  # numbers of objects that no task at hand has
    frame = jnp.concatenate([hand_pos, opening[None], seen, jnp.zeros(missing, seen.dtype)])
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
