"""The selected pairs of a kind, and how their shapes are carried to the world."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.packing import Layout, all_tiles, take
from mjx_metaworld.physics.model import FREE, HAND, LEFT_CLAW, PART, PROP, RIGHT_CLAW, Kinematics

Array = jax.Array

# The skeleton bodies that carry colliders, besides the world.
_COLLIDING_BODIES = (HAND, RIGHT_CLAW, LEFT_CLAW, FREE, PROP, PART)


@struct.dataclass
class Shape:
    """One side of the selected pairs of a kind; trailing axes (S, L)."""

    body: Array  # (S, L) int32 skeleton body
    type: Array  # (S, L) int32 mujoco.mjtGeom
    pos: Array  # (3, S, L) in the body frame; in the world frame once `place` moved it
    mat: Array  # (3, 3, S, L) likewise
    size: Array  # (3, S, L)
    hull: Array  # (S, L) int32 row of the hull table, where it is a mesh


@struct.dataclass
class Start:
    """Where the search for the contact of general convex shapes starts: a direction and a simplex near the answer."""

    normal: Array  # (3, S, L) from shape 1 to shape 2, in the frame of shape 2
    first: Array  # (3, 3, S, L) the corners' points of shape 1 in its frame, components first
    second: Array  # (3, 3, S, L) likewise of shape 2
    weights: Array  # (2, S, L) of the second and third corner in the simplex's point that counts


@struct.dataclass
class NearPairs:
    """What the narrow phase knows of selected pairs, of one kind or of all; trailing axes as their layout has them."""

    shape1: Shape
    shape2: Shape
    margin: Array  # (S, L) contacts with less distance are active
    lane: Array  # (S, L) int32 lane of the chunk, where packed
    start: Start | None = None  # of the convex kind


@struct.dataclass
class Slots:
    """The selected pairs of one kind, those of a lane in the order of their gaps."""

    layout: Layout
    pairs: NearPairs  # of all kinds, but for `start`
    contact: Array  # (16, S, L) of all kinds: what a contact takes over, both bodies, then `Pairs.parameters`


class Poses(NamedTuple):
    """Poses of the bodies of this tile, or of all tiles of the chunk."""

    pos: Array  # (T, 14, 3, L)
    mat: Array  # (T, 14, 3, 3, L)


def poses_for(layout: Layout, kin: Kinematics) -> Poses:
    """The poses that pairs of a layout refer to."""
    return Poses(all_tiles(kin.xpos, layout), all_tiles(kin.xmat, layout))


def _body_poses(xpos: Array, xmat: Array, body: Array) -> tuple[Array, Array]:
    """Poses (3, n, L) and (3, 3, n, L) of bodies (n, L) out of those (14, ..., L) of the same lanes."""
    # Six selects vectorize over the lanes, a gather with an index per lane would not.
    body_pos = jnp.zeros((3, *body.shape), xpos.dtype)
    body_mat = jnp.broadcast_to(jnp.eye(3, dtype=xmat.dtype)[:, :, None, None], (3, 3, *body.shape))
    for b in _COLLIDING_BODIES:
        body_pos = jnp.where(body == b, xpos[b][:, None], body_pos)
        body_mat = jnp.where(body == b, xmat[b][:, :, None], body_mat)
    return spatial.fence(body_pos, body_mat)


def world_poses(kin: Kinematics, body: Array, pos: Array, mat: Array) -> tuple[Array, Array]:
    """Carry poses from body frames to the world.

    Args:
        kin: world poses of the bodies.
        body: (n, L) the body of each.
        pos: (3, n, L) in its frame.
        mat: (3, 3, n, L) in its frame.
    """
    body_pos, body_mat = _body_poses(kin.xpos, kin.xmat, body)
    return body_pos + spatial.rotate(body_mat, pos), spatial.matmul(body_mat, mat)


def place(pairs: NearPairs, poses: Poses, layout: Layout) -> tuple[Shape, Shape]:
    """Both shapes of pairs in the world frame."""
    return spatial.fence(
        _place(pairs.shape1, pairs.lane, poses, layout), _place(pairs.shape2, pairs.lane, poses, layout)
    )


def _place(shape: Shape, lane: Array, poses: Poses, layout: Layout) -> Shape:
    if layout.is_packed:
        body_pos, body_mat = spatial.fence(take(poses.pos, shape.body, lane), take(poses.mat, shape.body, lane))
    else:
        body_pos, body_mat = _body_poses(poses.pos[0], poses.mat[0], shape.body)
    pos, mat = body_pos + spatial.rotate(body_mat, shape.pos), spatial.matmul(body_mat, shape.mat)
    return shape.replace(pos=pos, mat=mat)
