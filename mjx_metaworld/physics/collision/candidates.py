"""Broad phase: of all pairs of a scene, the few nearest of each kind.

The bound on a pair's distance is the gap between the world-aligned bounding boxes of the two colliders. On states
along the scripted experts it ranks the touching pairs as well as the separation of the oriented boxes does, since the
hand keeps its orientation, and it needs no gather: it is computed for all collider combinations at once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.convex import find_start
from mjx_metaworld.physics.collision.shapes import Group, Shape, Slots, Start, by_group, place, world_poses
from mjx_metaworld.physics.model import Colliders, Kinematics, PairTable, PhysicsConfig, Scene

Array = jax.Array

_CAPSULE, _CYLINDER, _BOX = (
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_BOX),
)


@struct.dataclass
class Candidates:
    """Pairs for the narrow phase, by routine; None where no scene has such pairs."""

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
    pos, half = spatial.fence(pos, half)
    gap = spatial.fence(_gaps(pos, half))

    def nearest(table: PairTable, count: int, mask: Array | bool = True) -> Slots | None:
        count = min(count, table.geom1.shape[0])
        if count == 0:
            return None
        rank = jnp.where(table.valid & mask, _look_up(gap, table), jnp.inf)
        return _gather(colliders, table, _smallest(rank, count), rank, reach)

    is_cylinder_box = _cylinder_box(colliders, pairs.convex)
    convex = nearest(pairs.convex, config.convex_pairs, ~is_cylinder_box)
    if convex is not None:
        convex = convex.replace(start=_starts(convex, kin, config))
    return Candidates(
        plane=_planes(colliders, pairs.plane, pos, mat, half, config.plane_pairs, reach),
        sphere=nearest(pairs.sphere, config.sphere_pairs),
        capsule=nearest(pairs.capsule, config.capsule_pairs),
        box=nearest(pairs.box, config.box_pairs),
        cylinder_box=nearest(pairs.convex, config.cylinder_box_pairs, is_cylinder_box),
        convex=convex,
    )


def _half_extents(colliders: Colliders, mat: Array) -> Array:
    """(3, C, L) half-extents of the colliders' world-aligned bounding boxes.

    Capsules get their own, not that of the box around them: rings of slanted capsules lie close to each other, and
    loose boxes would crowd the touching ones out of the slots.
    """
    extent = jnp.moveaxis(colliders.extent, 1, 0)
    radius, length = extent[0], extent[2] - extent[0]
    half = spatial.rotate(jnp.abs(mat), extent)
    return jnp.where(colliders.type == _CAPSULE, radius + jnp.abs(mat[:, 2]) * length, half)


def num_near(candidates: Candidates) -> Array:
    """(L,) int32 pairs of the costly kinds that may touch."""
    kinds = (candidates.box, candidates.cylinder_box, candidates.convex)
    return sum((slots.near for slots in kinds if slots is not None), jnp.zeros((), jnp.int32))


def _starts(slots: Slots, kin: Kinematics, config: PhysicsConfig) -> Start:
    """Where the narrow phase of the convex pairs starts."""

    def search(group: Group) -> Start:
        shape1, shape2 = spatial.fence(place(group.shape1, kin), place(group.shape2, kin))
        return spatial.fence(find_start(shape1, shape2, config.convex_search_iterations))

    return by_group(slots, config.pair_group, config, search)


def _matrices_first(mat: Array) -> Array:
    """(n, 3, 3, L) to (3, 3, n, L)."""
    return jnp.moveaxis(mat, 0, 2)


def _gaps(pos: Array, half: Array) -> Array:
    """(C, C, L) gap between the world-aligned bounding boxes of all colliders, negative where they overlap."""
    gap = jnp.abs(pos[0][:, None] - pos[0]) - half[0][:, None] - half[0]
    for axis in (1, 2):
        gap = jnp.maximum(gap, jnp.abs(pos[axis][:, None] - pos[axis]) - half[axis][:, None] - half[axis])
    return gap


def _look_up(gap: Array, table: PairTable) -> Array:
    """(P, L) entries of (C, C, L) for the pairs of a table."""
    flat = gap.reshape(-1, gap.shape[-1])
    return jnp.take_along_axis(flat, table.geom1 * gap.shape[0] + table.geom2, axis=0)


def _cylinder_box(colliders: Colliders, table: PairTable) -> Array:
    """(P, L) whether a pair is a cylinder with a box."""
    if table.geom1.shape[0] == 0:
        return jnp.zeros(table.geom1.shape, bool)
    type1 = jnp.take_along_axis(colliders.type, table.geom1, axis=0)
    type2 = jnp.take_along_axis(colliders.type, table.geom2, axis=0)
    return (type1 == _CYLINDER) & (type2 == _BOX)


def _planes(
    colliders: Colliders, table: PairTable, pos: Array, mat: Array, half: Array, count: int, reach: Array | float
) -> Slots | None:
    """The pairs with a plane (always the pair's first collider) whose second collider reaches lowest."""
    count = min(count, table.geom1.shape[0])
    if count == 0:
        return None
    plane_pos = jnp.take_along_axis(pos, table.geom1[None], axis=1)
    normal = jnp.take_along_axis(mat[:, 2], table.geom1[None], axis=1)
    other_pos = jnp.take_along_axis(pos, table.geom2[None], axis=1)
    other_half = jnp.take_along_axis(half, table.geom2[None], axis=1)
    height = spatial.dot(normal, other_pos - plane_pos) - spatial.dot(jnp.abs(normal), other_half)
    rank = jnp.where(table.valid, height, jnp.inf)
    return _gather(colliders, table, _smallest(rank, count), rank, reach)


def _smallest(rank: Array, count: int) -> Array:
    """(count, L) indices of the smallest entries of (P, L) in rising order."""
    rows = jax.lax.broadcasted_iota(jnp.int32, rank.shape, 0)

    def pick(rank, _):
        best = jnp.min(jnp.where(rank == jnp.min(rank, axis=0), rows, rank.shape[0]), axis=0)
        # NaN ranks compare equal to nothing; the bound keeps the index a valid row.
        best = jnp.minimum(best, rank.shape[0] - 1)
        return jnp.where(rows == best, jnp.inf, rank), best

    _, order = jax.lax.scan(pick, rank, length=count)
    return order


def _gather(colliders: Colliders, table: PairTable, index: Array, rank: Array, reach: Array | float) -> Slots:
    """The chosen rows of a pair table, with the colliders of each."""
    dtype = colliders.pos.dtype
    columns = (table.margin, table.friction, table.torsional, table.solref, table.solimp, table.invweight, table.touch)
    geoms, parameters, ranks = spatial.fence(
        _take_rows(_pack((table.geom1, table.geom2), jnp.int32), index),
        _take_rows(_pack(columns, dtype), index),
        jnp.take_along_axis(rank, index, axis=0),
    )
    margin, friction, torsional, solref, solimp, invweight, touch = jnp.split(
        jnp.moveaxis(parameters, 1, 0), (1, 3, 4, 6, 11, 13)
    )
    slots = Slots(
        shape1=_shape(colliders, geoms[:, 0]),
        shape2=_shape(colliders, geoms[:, 1]),
        valid=jnp.isfinite(ranks),  # masked rows rank at infinity
        margin=margin[0],
        friction=friction,
        torsional=torsional[0] > 0,
        solref=solref,
        solimp=solimp,
        invweight=invweight,
        touch=touch[0].astype(jnp.int32),
        near=jnp.sum(ranks < margin[0] + reach, axis=0, dtype=jnp.int32),
    )
    return spatial.fence(slots)


def _shape(colliders: Colliders, index: Array) -> Shape:
    """The collider rows (S, L) of an index."""
    kinds = spatial.fence(_take_rows(_pack((colliders.body, colliders.type, colliders.hull), jnp.int32), index))
    mat = colliders.mat.reshape(colliders.mat.shape[0], 9, -1)
    frames = _take_rows(_pack((colliders.pos, mat, colliders.size), colliders.pos.dtype), index)
    pos, mat, size = jnp.split(jnp.moveaxis(spatial.fence(frames), 1, 0), (3, 12))
    return Shape(
        body=kinds[:, 0],
        type=kinds[:, 1],
        pos=pos,
        mat=mat.reshape(3, 3, *mat.shape[1:]),
        size=size,
        hull=kinds[:, 2],
    )


def _pack(columns: tuple[Array, ...], dtype) -> Array:
    """(n, c, L) all columns side by side, so that one gather takes them all; small integers are exact as floats."""
    return jnp.concatenate([x.astype(dtype).reshape(x.shape[0], -1, x.shape[-1]) for x in columns], axis=1)


def _take_rows(packed: Array, index: Array) -> Array:
    """(S, c, L) rows of (n, c, L) by an index (S, L)."""
    return jnp.take_along_axis(packed, index[:, None], axis=0)
