"""Forward kinematics: world poses of the skeleton's bodies and the axis of every dof.

The stage has MuJoCo's meaning (`mj_kinematics`): a hinge turns about its anchor, slides move along axes of the
parent's frame, the free body's quaternion is normalized before use.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial, stacked
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.model import ARM_DOFS, FINGER_DOFS, FREE_QPOS, PART_QPOS, Arm, Kinematics, Scene
from mjx_metaworld.physics.sums import sum_product

Array = jax.Array

_MIN_NORM = 1e-15  # MuJoCo's mjMINVAL: a shorter quaternion counts as the identity


def kinematics(arm: Arm, scene: Scene, qpos: Array, prop_pos: Array) -> Kinematics:
    """Poses of all bodies and motion axes of all dofs.

    Args:
        arm: constants of the robot.
        scene: leaves with a lane axis at the end.
        qpos: (19, L).
        prop_pos: (3, L) world position of the prop.
    """
    dtype = qpos.dtype
    lanes = qpos.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(3, dtype=dtype)[..., None], (3, 3, lanes))
    zero = jnp.zeros((3, lanes), dtype)

    quats = _link_quats(arm, qpos[ARM_DOFS])
    link_mat = barrier(stacked.from_quat(jnp.stack(quats)))
    link_pos = _link_positions(arm, link_mat)
    last_mat, last_pos = link_mat[-1], link_pos[-1]
    claw_mat, claw_pos, claw_axis = _claws(arm, last_mat, last_pos, qpos[FINGER_DOFS])
    link_axis = stacked.rotate(link_mat, stacked.constant(arm.axis[:7], dtype))

    free_pos = qpos[FREE_QPOS][:3]
    free_quat = _normalize_quat(qpos[FREE_QPOS][3:])
    free_mat, prop_mat, mount_mat = stacked.from_quat(jnp.stack([free_quat, scene.prop_quat, scene.mount_quat]))
    mount_pos = scene.mount_pos + scene.mount_on_prop * (prop_pos - scene.prop_pos)
    displacement = qpos[PART_QPOS] - scene.part_qpos0
    part_mat, part_pos, part_anchor, part_axis = _part(scene, mount_mat, mount_pos, displacement)

    is_hinge = (np.arange(3) == 2)[:, None, None]  # of the part's joints

    xpos = jnp.concatenate(
        [zero[None], link_pos, claw_pos, jnp.stack([free_pos, prop_pos, mount_pos, part_pos])],
    )
    xmat = jnp.concatenate(
        [eye[None], link_mat, claw_mat, jnp.stack([free_mat, prop_mat, mount_mat, part_mat])],
    )
    ang = jnp.concatenate(
        [
            link_axis,
            jnp.zeros((5, 3, lanes), dtype),
            jnp.moveaxis(free_mat, 1, 0),
            jnp.where(is_hinge, part_axis, 0.0),
        ]
    )
    lin = jnp.concatenate(
        [
            jnp.zeros((7, 3, lanes), dtype),
            claw_axis,
            eye,
            jnp.zeros((3, 3, lanes), dtype),
            jnp.where(is_hinge, 0.0, part_axis),
        ]
    )
    anchor = jnp.concatenate(
        [
            link_pos,
            claw_pos,
            jnp.broadcast_to(free_pos, (6, 3, lanes)),
            jnp.broadcast_to(part_anchor, (3, 3, lanes)),
        ]
    )
    hand_pos = last_pos + spatial.rotate(last_mat, stacked.constant(arm.hand_pos, dtype))
    hand_quat = spatial.apply(stacked.constant(right_multiplication(arm.hand_quat), dtype), quats[-1])
    return Kinematics(*barrier(xpos, xmat, ang, lin, anchor, hand_pos, hand_quat))


def _link_quats(arm: Arm, angle: Array) -> list[Array]:
    """World orientations (4, L) of right_l0 .. right_l6, with the signs that MuJoCo's chain of products gives.

    A link's orientation in its parent is linear in the cosine and sine of the half angle, so the right factor of each
    product of the chain is a 4 x 4 matrix that needs no other link and only the products remain in sequence.
    """
    half = 0.5 * (angle - stacked.constant(arm.qpos0[:7], angle.dtype))
    cos, sin = barrier(jnp.cos(half), jnp.sin(half))
    axis_quat = np.concatenate([np.zeros((7, 1)), arm.axis[:7]], axis=1)
    still = np.stack([right_multiplication(quat) for quat in arm.quat[:7]])
    turned = np.stack([right_multiplication(axis_quat[i]) @ still[i] for i in range(7)])
    factor = barrier(
        stacked.constant(still, angle.dtype) * cos[:, None, None]
        + stacked.constant(turned, angle.dtype) * sin[:, None, None]
    )
    quats = [factor[0][:, 0]]
    for i in range(1, 7):
        quats.append(barrier(spatial.apply(factor[i], quats[-1])))
    return quats


def _link_positions(arm: Arm, link_mat: Array) -> Array:
    """World positions (7, 3, L) of the links from their orientations (7, 3, 3, L)."""
    dtype = link_mat.dtype
    steps = [jnp.broadcast_to(stacked.constant(arm.pos[0], dtype), link_mat.shape[1:2] + link_mat.shape[3:])]
    rotated = barrier(stacked.rotate(link_mat[:-1], stacked.constant(arm.pos[1:7], dtype)))
    for i in range(6):
        steps.append(steps[-1] + rotated[i])
    return barrier(jnp.stack(steps))


def _claws(arm: Arm, hand_mat: Array, hand_pos: Array, qpos: Array) -> tuple[Array, Array, Array]:
    """Orientation, position and slide axis of both claws: (2, 3, 3, L), (2, 3, L), (2, 3, L)."""
    dtype = hand_mat.dtype
    mats = np.stack([matrix(quat) for quat in arm.quat[7:9]])
    axes = np.einsum("bij,bj->bi", mats, arm.axis[7:9])
    mat = jnp.stack([spatial.matmul(hand_mat, stacked.constant(m, dtype)) for m in mats])
    axis = jnp.stack([spatial.rotate(hand_mat, stacked.constant(a, dtype)) for a in axes])
    rest = jnp.stack([hand_pos + spatial.rotate(hand_mat, stacked.constant(p, dtype)) for p in arm.pos[7:9]])
    slide = qpos - stacked.constant(arm.qpos0[7:9], dtype)
    return mat, rest + axis * slide[:, None], axis


def _part(scene: Scene, mount_mat: Array, mount_pos: Array, displacement: Array) -> tuple[Array, Array, Array, Array]:
    """Orientation, position, hinge anchor and the three joint axes (3, 3, L) of the part, in the world."""
    axis = stacked.rotate(mount_mat, scene.part_axis)
    slid = sum_product(axis[:2], displacement[:2, None], 0)
    anchor = mount_pos + slid + spatial.rotate(mount_mat, scene.part_anchor)
    # Rodrigues' formula, which leaves the part unturned when there is no hinge (a zero axis).
    half = 0.5 * displacement[2]
    sin = jnp.sin(half)
    skew = stacked.skew(scene.part_axis[2])
    turn = 2 * sin * jnp.cos(half) * skew + 2 * sin * sin * spatial.matmul(skew, skew)
    mat = mount_mat + spatial.matmul(mount_mat, turn)
    return mat, anchor - spatial.rotate(mat, scene.part_anchor), anchor, axis


def _normalize_quat(quat: Array) -> Array:
    norm = spatial.norm(quat)
    identity = stacked.constant(np.array([1.0, 0.0, 0.0, 0.0]), quat.dtype)
    return jnp.where(norm < _MIN_NORM, identity, quat / jnp.maximum(norm, _MIN_NORM))


def right_multiplication(quat: np.ndarray) -> np.ndarray:
    """The matrix (4, 4) that maps q to the quaternion product q * quat."""
    w, x, y, z = quat
    return np.array([[w, -x, -y, -z], [x, w, z, -y], [y, -z, w, x], [z, y, -x, w]])


def matrix(quat: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a constant quaternion."""
    w, v = quat[0], quat[1:]
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * np.cross(np.eye(3), v)
