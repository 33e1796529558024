"""Broad phase: of all pairs of a scene, the few nearest of each kind.

The bound on a pair's distance is the gap between the world-aligned bounding boxes of the two colliders. On states
along the scripted experts it ranks the touching pairs as well as the separation of the oriented boxes does, since the
hand keeps its orientation, and it needs no gather: it is computed for all collider combinations at once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.convex import find_start
from mjx_metaworld.physics.collision.geometry import Bounds, Geometry, PairRows
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.packing import Layout, all_tiles, by_block, lay_out, look_up, take, take_shared
from mjx_metaworld.physics.collision.shapes import (
    NearPairs,
    Slots,
    WarmStart,
    collider_table,
    place,
    poses_for,
    world_poses,
)
from mjx_metaworld.physics.collision.weights import scale
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.groups import for_groups
from mjx_metaworld.physics.model import PAIR_KINDS, Kinematics
from mjx_metaworld.physics.slices import update_at

Array = jax.Array

_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)
# The rank of padding in m: behind all pairs, but before the infinity that marks those already chosen.
_NEVER = 1e9


class Candidates(struct.PyTreeNode):
    """Pairs for the narrow phase, by kind in the order of `PAIR_KINDS`; None where no scene has such pairs."""

    plane: Slots | None
    sphere: Slots | None
    capsule: Slots | None
    box: Slots | None
    cylinder_box: Slots | None
    convex: Slots | None
    hulls: HullTable = struct.field(pytree_node=False)  # of the meshes among their colliders

    @property
    def start(self) -> WarmStart | None:
        """Start of the convex kind's narrow phase; None where there is no such pair."""
        return None if self.convex is None else self.convex.pairs.start

    def going_on(self, start: WarmStart | None) -> Candidates:
        """The same pairs, from another start."""
        return self if self.convex is None else self.replace(convex=_started(self.convex, start))


class ChosenPairs(NamedTuple):
    """The nearest pairs of each kind that has slots."""

    indices: list[Array]  # (S, L) int32 rows of the lanes' pairs, the nearest first
    near: list[Array]  # (L,) int32 how many of them may touch before the next selection


def broadphase(geometry: Geometry, kin: Kinematics, config: EngineConfig, reach: Array | float = 0.0) -> Candidates:
    """Select the nearest pairs of each kind; all arrays lanes last.

    Args:
        geometry: colliders and pairs of the lanes' scenes.
        kin: poses.
        config: how many pairs of each kind.
        reach: (L,) metres by which bounding boxes may come closer to each other before the next selection.
    """
    chosen = choose_pairs(geometry, kin, config, reach)
    return find_starts(look_up_pairs(geometry, chosen, config), kin, config)


def slots_of(geometry: Geometry, config: EngineConfig) -> tuple[int, ...]:
    """Slots of each kind of pair: as many as are tested, or as there are."""
    return tuple(min(most, rows) for most, rows in zip(config.accuracy.pairs, geometry.pairs.counts, strict=True))


def choose_pairs(geometry: Geometry, kin: Kinematics, config: EngineConfig, reach: Array | float) -> ChosenPairs:
    """Choose the nearest pairs of each kind that has slots; the arguments are those of `broadphase`."""
    bounds, pairs, rows_of_kinds = geometry.bounds(), geometry.pair_rows(), geometry.pairs.counts
    pos, mat = world_poses(kin, bounds.body, bounds.pos, bounds.mat)
    half = _half_extents(bounds, mat)
    pos, mat, half = barrier(pos, mat, half)
    gap = barrier(_gaps(pos, half))

    ranks = _look_up(gap, pairs)
    if planes := rows_of_kinds[PAIR_KINDS.index("plane")]:
        ranks = jnp.concatenate([_heights(pairs, planes, pos, mat, half), ranks[planes:]])
    ranks = barrier(jnp.where(pairs.place >= 0, ranks, _NEVER))
    counts = slots_of(geometry, config)
    firsts = np.cumsum((0, *rows_of_kinds[:-1])).tolist()
    close = barrier(ranks < pairs.margin + reach)
    indices, near = [], []
    for first, rows, count in zip(firsts, rows_of_kinds, counts, strict=True):
        if count:
            kind = slice(first, first + rows)
            near.append(barrier(jnp.minimum(jnp.sum(close[kind], axis=0, dtype=jnp.int32), count)))
            indices.append(first + _smallest(ranks[kind], count, near[-1], config.execution))
    return ChosenPairs(indices, near)


def look_up_pairs(geometry: Geometry, chosen: ChosenPairs, config: EngineConfig) -> Candidates:
    """Colliders and parameters of chosen pairs, for the narrow phase, but for the start of its search."""
    layouts = lay_out(chosen.near, [len(x) for x in chosen.indices], config.execution)
    known = _look_up_pairs(geometry, layouts, barrier(jnp.concatenate(chosen.indices)))
    selected = iter(layouts)
    slots = [Slots(next(selected), *known) if count else None for count in slots_of(geometry, config)]
    return Candidates(*slots, hulls=geometry.hulls)


def find_starts(candidates: Candidates, kin: Kinematics, config: EngineConfig) -> Candidates:
    """Search the start of the convex pairs' narrow phase, from scratch."""
    slots = candidates.convex
    if slots is None:
        return candidates
    poses, search = poses_for(slots.layout, kin), (config.accuracy.convex_search_iterations, config.execution.kernels)

    def of_pairs(pairs: NearPairs) -> WarmStart:
        return barrier(find_start(*place(pairs, poses, slots.layout), candidates.hulls, *search))

    return candidates.going_on(by_block(slots.layout, of_pairs, slots.pairs))


def _half_extents(bounds: Bounds, mat: Array) -> Array:
    """(3, C, L) half-extents of the colliders' world-aligned bounding boxes.

    Capsules get their own, not that of the box around them: rings of slanted capsules lie close to each other, and
    loose boxes would crowd the touching ones out of the slots.
    """
    extent = bounds.extent
    radius, length = extent[0], extent[2] - extent[0]
    half = spatial.rotate(jnp.abs(mat), extent)
    return jnp.where(bounds.type == _CAPSULE, radius + jnp.abs(mat[:, 2]) * length, half)


def _started(slots: Slots, start: WarmStart | None) -> Slots:
    return slots.replace(pairs=slots.pairs.replace(start=start))


def _gaps(pos: Array, half: Array) -> Array:
    """(C, C, L) gap between the world-aligned bounding boxes of all colliders, negative where they overlap."""
    gap = jnp.abs(pos[0][:, None] - pos[0]) - half[0][:, None] - half[0]
    for axis in (1, 2):
        gap = jnp.maximum(gap, jnp.abs(pos[axis][:, None] - pos[axis]) - half[axis][:, None] - half[axis])
    return gap


def _look_up(gap: Array, pairs: PairRows) -> Array:
    """(P, L) entries of (C, C, L) for the pairs of a scene; any for padding."""
    return jnp.take_along_axis(gap.reshape(-1, gap.shape[-1]), jnp.maximum(pairs.place, 0), axis=0)


def _heights(pairs: PairRows, count: int, pos: Array, mat: Array, half: Array) -> Array:
    """(count, L) height of the second collider above the plane, in the first pairs, which are those with a plane."""
    geom1, geom2 = jnp.divmod(jnp.maximum(pairs.place[None, :count], 0), pos.shape[1])
    plane_pos, normal = jnp.take_along_axis(pos, geom1, axis=1), jnp.take_along_axis(mat[:, 2], geom1, axis=1)
    other_pos, other_half = jnp.take_along_axis(pos, geom2, axis=1), jnp.take_along_axis(half, geom2, axis=1)
    return spatial.dot(normal, other_pos - plane_pos) - spatial.dot(jnp.abs(normal), other_half)


def _smallest(rank: Array, count: int, needed: Array, execution: Execution) -> Array:
    """(count, L) indices of the smallest entries of (P, L) in rising order, at least the first `needed` (L,)."""
    rows = jax.lax.broadcasted_iota(jnp.int32, rank.shape, 0)
    if not execution.early_exit:  # by counting, which is two kernels instead of some to each pair
        # Behind a barrier: XLA's GPU backend would turn arrays around so that what is summed lies side by side.
        before = rank[:, None], rows[:, None]
        smaller = barrier((before[0] < rank) | ((before[0] == rank) & (before[1] < rows)))
        place = barrier(jnp.sum(smaller, axis=0, dtype=jnp.int32))
        wanted = np.arange(count, dtype=np.int32)[:, None]
        chosen = barrier(jnp.where(place[:, None] == wanted, rows[:, None], 0))
        # NaN ranks may share a place; the bound keeps the row a valid one.
        return jnp.minimum(jnp.sum(chosen, axis=0, dtype=jnp.int32), rank.shape[0] - 1)

    def pick(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rank, order = carry
        best = jnp.min(jnp.where(rank == jnp.min(rank, axis=0), rows, rank.shape[0]), axis=0)
        # NaN ranks compare equal to nothing; the bound keeps the index a valid row.
        best = jnp.minimum(best, rank.shape[0] - 1)
        return jnp.where(rows == best, jnp.inf, rank), update_at(order, best[None], first)

    order = jnp.zeros((count, rank.shape[1]), jnp.int32)
    return for_groups(count, 1, needed, execution, pick, (rank, order))[1]


def _look_up_pairs(geometry: Geometry, layouts: list[Layout], index: Array) -> tuple[NearPairs, Array]:
    """The pairs of all kinds with their colliders, at the rows (S, L) of the lanes' pairs."""
    rows, scenes = all_tiles(index, layouts[0]), all_tiles(geometry.scene, layouts[0]).reshape(-1)
    factors = jax.tree.map(lambda x: all_tiles(x, layouts[0]).reshape(-1), geometry.factors)
    shares = geometry.invweights
    num_colliders, num_pairs = geometry.colliders.body.shape[1], geometry.pairs.valid.shape[1]
    colliders, pairs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (geometry.colliders, geometry.pairs))
    table = collider_table(colliders)
    pair_table = np.concatenate([pairs.geom1[:, None], pairs.geom2[:, None], pairs.parameters], axis=1)

    def of_slots(slot: Array, lane: Array) -> tuple[NearPairs, Array]:
        scene = scenes[lane]
        number = barrier(scene * num_pairs + take(rows, slot, lane))
        pair = take_shared(pair_table, number)
        geoms, parameters = pair[:2].astype(jnp.int32), pair[2:]
        if factors is not None:
            own = None if shares is None else take_shared(shares, number)
            parameters = scale(parameters, jax.tree.map(lambda x: x[lane], factors), own)
        row = barrier((scene * num_colliders + geoms).reshape(-1, scene.shape[-1]))
        both = take_shared(table, row).reshape(-1, 2, *scene.shape)
        known = NearPairs.of(both, parameters[0], lane), jnp.concatenate([both[0], parameters])
        return barrier(known)

    return look_up(layouts, of_slots)
