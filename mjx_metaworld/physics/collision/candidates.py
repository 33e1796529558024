"""Broad phase: of all pairs of a scene, the few nearest of each kind.

The bound on a pair's distance is the gap between the world-aligned bounding boxes of the two colliders. On states
along the scripted experts it ranks the touching pairs as well as the separation of the oriented boxes does, since the
hand keeps its orientation, and it needs no gather: it is computed for all collider combinations at once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.convex import find_start
from mjx_metaworld.physics.collision.packing import Layout, all_tiles, by_block, lay_out, look_up, take
from mjx_metaworld.physics.collision.shapes import (
    NearPairs,
    Poses,
    Shape,
    Slots,
    Start,
    place,
    poses_for,
    world_poses,
)
from mjx_metaworld.physics.groups import for_groups, put_rows
from mjx_metaworld.physics.model import PAIR_KINDS, Colliders, Kinematics, Pairs, PhysicsConfig, Scene

Array = jax.Array

_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)
# The rank of padding in m: behind all pairs, but before the infinity that marks those already chosen.
_NEVER = 1e9


@struct.dataclass
class Candidates:
    """Pairs for the narrow phase, by kind in the order of `PAIR_KINDS`; None where no scene has such pairs."""

    plane: Slots | None
    sphere: Slots | None
    capsule: Slots | None
    box: Slots | None
    cylinder_box: Slots | None
    convex: Slots | None


def broadphase(scene: Scene, kin: Kinematics, config: PhysicsConfig, reach: Array | float = 0.0) -> Candidates:
    """Select the nearest pairs of each kind; all arrays lanes last.

    Args:
        scene: the lanes' scenes.
        kin: poses.
        config: how many pairs of each kind.
        reach: (L,) metres by which bounding boxes may come closer to each other before the next selection.
    """
    colliders, pairs = scene.colliders, scene.pairs
    pos, mat = world_poses(kin, colliders.body, jnp.moveaxis(colliders.pos, 1, 0), _matrices_first(colliders.mat))
    half = _half_extents(colliders, mat)
    pos, mat, half = spatial.fence(pos, mat, half)
    gap = spatial.fence(_gaps(pos, half))

    ranks = _look_up(gap, pairs)
    if planes := pairs.counts[PAIR_KINDS.index("plane")]:
        ranks = jnp.concatenate([_heights(pairs, planes, pos, mat, half), ranks[planes:]])
    ranks = spatial.fence(jnp.where(pairs.valid, ranks, _NEVER))
    wanted = (
        config.plane_pairs,
        config.sphere_pairs,
        config.capsule_pairs,
        config.box_pairs,
        config.cylinder_box_pairs,
        config.convex_pairs,
    )
    counts = [min(most, rows) for most, rows in zip(wanted, pairs.counts, strict=True)]
    firsts = np.cumsum((0, *pairs.counts[:-1])).tolist()
    close = spatial.fence(ranks < pairs.parameters[:, 0] + reach)
    indices, near = [], []
    for first, rows, count in zip(firsts, pairs.counts, counts, strict=True):
        if count:
            kind = slice(first, first + rows)
            near.append(spatial.fence(jnp.minimum(jnp.sum(close[kind], axis=0, dtype=jnp.int32), count)))
            indices.append(first + _smallest(ranks[kind], count, near[-1], config))
    layouts = lay_out(near, [len(x) for x in indices], config)
    known = _look_up_pairs(colliders, pairs, layouts, spatial.fence(jnp.concatenate(indices)))
    selected = iter(layouts)
    slots = [Slots(next(selected), *known) if count else None for count in counts]
    if (convex := slots[-1]) is not None:
        start = _starts(convex, poses_for(convex.layout, kin), config)
        slots[-1] = convex.replace(pairs=convex.pairs.replace(start=start))
    return Candidates(*slots)


def _half_extents(colliders: Colliders, mat: Array) -> Array:
    """(3, C, L) half-extents of the colliders' world-aligned bounding boxes.

    Capsules get their own, not that of the box around them: rings of slanted capsules lie close to each other, and
    loose boxes would crowd the touching ones out of the slots.
    """
    extent = jnp.moveaxis(colliders.extent, 1, 0)
    radius, length = extent[0], extent[2] - extent[0]
    half = spatial.rotate(jnp.abs(mat), extent)
    return jnp.where(colliders.type == _CAPSULE, radius + jnp.abs(mat[:, 2]) * length, half)


def _starts(slots: Slots, poses: Poses, config: PhysicsConfig) -> Start:
    """Where the narrow phase of the convex pairs starts."""

    def search(pairs: NearPairs) -> Start:
        return spatial.fence(find_start(*place(pairs, poses, slots.layout), config.convex_search_iterations))

    return by_block(slots.layout, search, slots.pairs)


def _matrices_first(mat: Array) -> Array:
    """(n, 3, 3, L) to (3, 3, n, L)."""
    return jnp.moveaxis(mat, 0, 2)


def _gaps(pos: Array, half: Array) -> Array:
    """(C, C, L) gap between the world-aligned bounding boxes of all colliders, negative where they overlap."""
    gap = jnp.abs(pos[0][:, None] - pos[0]) - half[0][:, None] - half[0]
    for axis in (1, 2):
        gap = jnp.maximum(gap, jnp.abs(pos[axis][:, None] - pos[axis]) - half[axis][:, None] - half[axis])
    return gap


def _look_up(gap: Array, pairs: Pairs) -> Array:
    """(P, L) entries of (C, C, L) for the pairs of a scene."""
    flat = gap.reshape(-1, gap.shape[-1])
    return jnp.take_along_axis(flat, pairs.geom1 * gap.shape[0] + pairs.geom2, axis=0)


def _heights(pairs: Pairs, count: int, pos: Array, mat: Array, half: Array) -> Array:
    """(count, L) how far the second collider of the first pairs, which are those with a plane, is above the plane."""
    geom1, geom2 = pairs.geom1[None, :count], pairs.geom2[None, :count]
    plane_pos, normal = jnp.take_along_axis(pos, geom1, axis=1), jnp.take_along_axis(mat[:, 2], geom1, axis=1)
    other_pos, other_half = jnp.take_along_axis(pos, geom2, axis=1), jnp.take_along_axis(half, geom2, axis=1)
    return spatial.dot(normal, other_pos - plane_pos) - spatial.dot(jnp.abs(normal), other_half)


def _smallest(rank: Array, count: int, needed: Array, config: PhysicsConfig) -> Array:
    """(count, L) indices of the smallest entries of (P, L) in rising order, at least the first `needed` (L,)."""
    rows = jax.lax.broadcasted_iota(jnp.int32, rank.shape, 0)

    def pick(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rank, order = carry
        best = jnp.min(jnp.where(rank == jnp.min(rank, axis=0), rows, rank.shape[0]), axis=0)
        # NaN ranks compare equal to nothing; the bound keeps the index a valid row.
        best = jnp.minimum(best, rank.shape[0] - 1)
        return jnp.where(rows == best, jnp.inf, rank), put_rows(order, best[None], first)

    order = jnp.zeros((count, rank.shape[1]), jnp.int32)
    return for_groups(count, 1, needed, config, pick, (rank, order))[1]


def _look_up_pairs(colliders: Colliders, pairs: Pairs, layouts: list[Layout], index: Array) -> tuple[NearPairs, Array]:
    """The pairs of all kinds with their colliders, at the rows (S, L) of the table of pairs."""
    rows, colliders, pairs = jax.tree.map(lambda x: all_tiles(x, layouts[0]), (index, colliders, pairs))

    def of_slots(slot: Array, lane: Array) -> tuple[NearPairs, Array]:
        row = spatial.fence(take(rows, slot, lane))
        geoms = (take(pairs.geom1, row, lane), take(pairs.geom2, row, lane))
        shape1, shape2 = (_shapes(colliders, geom, lane) for geom in geoms)
        parameters = take(pairs.parameters, row, lane)
        bodies = jnp.stack([shape1.body, shape2.body]).astype(parameters.dtype)
        return spatial.fence(NearPairs(shape1, shape2, parameters[0], lane), jnp.concatenate([bodies, parameters]))

    return look_up(layouts, of_slots)


def _shapes(colliders: Colliders, row: Array, lane: Array) -> Shape:
    """The colliders at rows of lanes."""
    return Shape(
        body=take(colliders.body, row, lane),
        type=take(colliders.type, row, lane),
        pos=take(colliders.pos, row, lane),
        mat=take(colliders.mat, row, lane),
        size=take(colliders.size, row, lane),
        hull=take(colliders.hull, row, lane),
    )
