"""Selected pairs of a kind, and the poses of their shapes in the world."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.packing import Layout, all_tiles, take
from mjx_metaworld.physics.model import FREE, HAND, LEFT_CLAW, PART, PROP, RIGHT_CLAW, Colliders, Kinematics

Array = jax.Array

# The skeleton bodies that carry colliders, besides the world.
_COLLIDING_BODIES = (HAND, RIGHT_CLAW, LEFT_CLAW, FREE, PROP, PART)


class Shape(struct.PyTreeNode):
    """One side of the selected pairs of a kind; trailing axes (S, L)."""

    body: Array  # (S, L) int32 skeleton body
    type: Array  # (S, L) int32 mujoco.mjtGeom
    pos: Array  # (3, S, L) in the body frame; in the world frame once `place` moved it
    mat: Array  # (3, 3, S, L) likewise
    size: Array  # (3, S, L)
    hull: Array  # (S, L) int32 row of the hull table, where it is a mesh


class WarmStart(struct.PyTreeNode):
    """Start of the contact search of general convex shapes: a direction and a simplex near the answer."""

    normal: Array  # (3, S, L) from shape 1 to shape 2, in the frame of shape 1
    first: Array  # (3, 3, S, L) the corners' points of shape 1 in its frame, components first
    second: Array  # (3, 3, S, L) likewise of shape 2
    weights: Array  # (2, S, L) of the second and third corner in the simplex's point that counts


# Columns that a collider takes up in `collider_table`: body, type, hull, pos (3), mat (9), size (3).
_COLUMNS = 18


def collider_table(colliders: Colliders) -> np.ndarray:
    """Table (n, 18) of a `Shape`'s data, of colliders with one leading axis; its integers are small and exact."""
    c = colliders
    whole = np.stack([c.body, c.type, c.hull], axis=1)
    return np.concatenate([whole, c.pos, c.mat.reshape(-1, 9), c.size], axis=1)


class NearPairs(struct.PyTreeNode):
    """Geometry of selected pairs, of one kind or of all; trailing axes as their layout has them.

    It is kept in one array, so that a block of pairs is one slice.
    """

    data: Array  # (38, S, L) the columns of both colliders in turn, the margin, and the lane of the chunk, where packed
    start: WarmStart | None = None  # of the convex kind

    @classmethod
    def of(cls, colliders: Array, margin: Array, lane: Array) -> NearPairs:
        """Pairs of colliders (18, 2, S, L), both of a pair side by side, with their margins and lanes (S, L)."""
        lane = lane.astype(margin.dtype)
        return cls(jnp.concatenate([colliders.reshape(2 * _COLUMNS, *margin.shape), margin[None], lane[None]]))

    @property
    def margin(self) -> Array:
        """(S, L) contacts with less distance are active."""
        return self.data[2 * _COLUMNS]

    @property
    def lane(self) -> Array:
        """(S, L) int32 lane of the chunk, where packed."""
        return self.data[2 * _COLUMNS + 1].astype(jnp.int32)

    def colliders(self) -> Shape:
        """The first colliders of all pairs, then the second ones, in their bodies' frames; trailing axes (2 S, L)."""
        slots, lanes = self.data.shape[1:]
        columns = self.data[: 2 * _COLUMNS].reshape(_COLUMNS, 2 * slots, lanes)
        body, kind, hull = columns[:3].astype(jnp.int32)
        mat = columns[6:15].reshape(3, 3, 2 * slots, lanes)
        return Shape(body, kind, pos=columns[3:6], mat=mat, size=columns[15:], hull=hull)


def sides(both: Shape) -> tuple[Shape, Shape]:
    """The two halves of what `NearPairs.colliders` returns."""
    half = both.body.shape[0] // 2
    return jax.tree.map(lambda x: x[..., :half, :], both), jax.tree.map(lambda x: x[..., half:, :], both)


class Slots(struct.PyTreeNode):
    """The selected pairs of one kind, those of a lane in the order of their gaps."""

    layout: Layout
    pairs: NearPairs  # of all kinds, but for `start`
    contact: Array  # (16 or more, S, L) of all kinds: what a contact takes over, both bodies, then `Pairs.parameters`


def poses_for(layout: Layout, kin: Kinematics) -> Array:
    """(T, 14, 12, L) positions and matrices of the bodies of this tile, or of all tiles where pairs are packed."""
    poses = jnp.concatenate([kin.xpos, kin.xmat.reshape(kin.xmat.shape[0], 9, -1)], axis=1)
    return all_tiles(poses, layout)


def _body_poses(xpos: Array, xmat: Array, body: Array) -> tuple[Array, Array]:
    """Poses (3, n, L) and (3, 3, n, L) of bodies (n, L) out of those (14, ..., L) of the same lanes."""
    # Six selects vectorize over the lanes, a gather with an index per lane would not.
    body_pos = jnp.zeros((3, *body.shape), xpos.dtype)
    body_mat = jnp.broadcast_to(jnp.eye(3, dtype=xmat.dtype)[:, :, None, None], (3, 3, *body.shape))
    for b in _COLLIDING_BODIES:
        body_pos = jnp.where(body == b, xpos[b][:, None], body_pos)
        body_mat = jnp.where(body == b, xmat[b][:, :, None], body_mat)
    return barrier(body_pos, body_mat)


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


def place(pairs: NearPairs, poses: Array, layout: Layout) -> tuple[Shape, Shape]:
    """Both shapes of pairs in the world frame."""
    both = pairs.colliders()
    if layout.is_packed:
        found = barrier(take(poses, both.body, jnp.concatenate([pairs.lane, pairs.lane])))
        body_pos, body_mat = found[:3], found[3:].reshape(3, 3, *both.body.shape)
    else:
        body_pos, body_mat = _body_poses(poses[0, :, :3], poses[0, :, 3:].reshape(14, 3, 3, -1), both.body)
    pos, mat = body_pos + spatial.rotate(body_mat, both.pos), spatial.matmul(body_mat, both.mat)
    pos, mat = barrier(pos, mat)
    return sides(both.replace(pos=pos, mat=mat))
