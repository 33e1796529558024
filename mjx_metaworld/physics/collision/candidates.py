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
from mjx_metaworld.physics.collision.shapes import Group, Shape, Slots, Start, by_group, place, world_poses
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
    selected = iter(_gather(colliders, pairs, indices, ranks, near))
    slots = [next(selected) if count else None for count in counts]
    if (convex := slots[-1]) is not None:
        slots[-1] = convex.replace(start=_starts(convex, kin, config))
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


def _gather(colliders: Colliders, pairs: Pairs, indices: list[Array], ranks: Array, near: list[Array]) -> list[Slots]:
    """The chosen rows of the pairs, by kind, with the colliders of each."""
    # All kinds and both sides at once: a gather costs the compiler more than what it moves costs the machine.
    index = spatial.fence(jnp.concatenate(indices))
    total = index.shape[0]
    geoms, parameters, gaps = spatial.fence(
        _take_rows(_pack((pairs.geom1, pairs.geom2), jnp.int32), index),
        _take_rows(pairs.parameters, index),
        jnp.take_along_axis(ranks, index, axis=0),
    )
    shapes = _shapes(colliders, jnp.concatenate([geoms[:, 0], geoms[:, 1]]))
    bodies = jnp.stack([shapes.body[:total], shapes.body[total:]], axis=1).astype(parameters.dtype)
    contact = spatial.fence(jnp.concatenate([bodies, parameters], axis=1))
    selected, first = [], 0
    for rows, num_near in zip(indices, near, strict=True):
        last = first + rows.shape[0]
        selected.append(
            Slots(
                shape1=jax.tree.map(lambda x, a=first, b=last: x[..., a:b, :], shapes),
                shape2=jax.tree.map(lambda x, a=total + first, b=total + last: x[..., a:b, :], shapes),
                valid=gaps[first:last] < _NEVER,
                margin=parameters[first:last, 0],
                contact=contact[first:last],
                near=num_near,
            )
        )
        first = last
    return spatial.fence(tuple(selected))


def _shapes(colliders: Colliders, index: Array) -> Shape:
    """The collider rows (S, L) of an index."""
    kinds = spatial.fence(_take_rows(_pack((colliders.body, colliders.type, colliders.hull), jnp.int32), index))
    mat = colliders.mat.reshape(colliders.mat.shape[0], 9, -1)
    frames = _take_rows(_pack((colliders.pos, mat, colliders.size), colliders.pos.dtype), index)
    pos, mat, size = jnp.split(spatial.fence(jnp.moveaxis(frames, 1, 0)), (3, 12))
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
