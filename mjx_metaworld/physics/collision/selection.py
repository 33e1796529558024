"""Selection of the deepest contact points of all kinds, as the contacts that the solver gets."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Slots
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.groups import contacts_at_once, for_groups
from mjx_metaworld.physics.model import Contacts
from mjx_metaworld.physics.slices import take, update_at
from mjx_metaworld.physics.tiles import highest

Array = jax.Array

# Halvings of the depth range when more points touch than fit: the deepest are kept to 1/512 of the range.
_BISECTIONS = 9
# Where no loop ends early, it is divided twice into so many parts, to 1/529: few kernels instead of a loop of them.
_PARTS = 23
# Chosen points are bits of words, which are counted and found without tables.
_WORD, _HALVES = 32, (16, 8, 4, 2, 1)


def select_contacts(found: list[tuple[Slots, Points]], config: EngineConfig) -> Contacts:
    """Keep the `config.accuracy.max_contacts` deepest active points."""
    count = config.accuracy.max_contacts
    size = contacts_at_once(count, config.execution)
    dists = [_of_lanes(s, p.dist) for s, p in found]
    if not config.execution.early_exit:
        # Or XLA's GPU backend would compute the ends of all kinds in one kernel of branches.
        dists = jax.lax.optimization_barrier(dists)
    dist = jnp.concatenate(dists)
    pos, normal = _flat([p.pos for _, p in found]), _flat([p.normal for _, p in found])
    contact = _flat([found[0][0].contact[:, None]])  # which all kinds share
    entries = barrier(jnp.concatenate([s.layout.entry for s, _ in found]))
    source = _point_sources(found)
    # Pairs beyond the near ones were not looked at.
    near = take(jnp.stack([s.layout.near for s, _ in found]), source.kind, 0)
    active = barrier((source.number[:, None] < near) & (dist < 0.5 * NO_CONTACT))
    dist = jnp.where(active, dist, 0.0)

    total = jnp.sum(active, axis=0, dtype=jnp.int32)
    chosen = barrier(active & (dist <= _threshold(dist, active, total, config)))
    words = barrier(_words(chosen))
    ends = barrier(jnp.stack(list(itertools.accumulate(jax.lax.population_count(words).astype(jnp.int32)))))
    num_contacts = ends[-1]

    def pick(first: Array | int) -> Array:
        wanted = first + jnp.arange(1, size + 1, dtype=jnp.int32)[:, None]
        index = barrier(jnp.minimum(_find(words, ends, wanted), len(dist) - 1))
        places = (source.slot, source.pos, source.normal, source.contact)
        slot, at_pos, at_normal, at_contact = (jnp.asarray(x, jnp.int32)[index] for x in places)
        entry = jnp.take_along_axis(entries, slot, axis=0)
        at_pos, at_normal, at_contact = barrier(at_pos + entry, at_normal + entry, at_contact + entry)
        direction = _at(normal, at_normal)
        # Unused rows keep a unit normal, so that what follows stays finite.
        axis = jnp.array([1.0, 0.0, 0.0], direction.dtype)[:, None, None]
        active = wanted <= num_contacts
        direction = barrier(jnp.where(active, direction, axis))
        frame = _frames(direction)
        columns = (
            jnp.take_along_axis(dist, index, axis=0)[:, None],
            jnp.swapaxes(_at(pos, at_pos), 0, 1),
            frame.reshape(frame.shape[0], 9, -1),
            jnp.swapaxes(_at(contact, at_contact), 0, 1),
            active[:, None].astype(dist.dtype),
        )
        return barrier(jnp.concatenate(columns, axis=1))

    def add_group(first: Array | int, rows: Array) -> Array:
        return update_at(rows, pick(first), first)

    columns = 1 + 3 + 9 + len(contact) + 1  # as `pick` sets them side by side
    none = jnp.zeros((count, columns, dist.shape[-1]), dist.dtype)
    return Contacts(for_groups(count, size, num_contacts, config.execution, add_group, none))


def _of_lanes(slots: Slots, dist: Array) -> Array:
    """(N S, L) distances of the lanes' slots from (N, A, B)."""
    lanes = slots.layout.near.shape[0]
    if slots.layout.is_packed:
        dist = dist.reshape(dist.shape[0], -1)[:, slots.layout.entry]
    return dist.reshape(-1, lanes)


def _flat(arrays: list[Array]) -> Array:
    """(c, sum of N A B) from (c, N, A, B) of every kind."""
    return jnp.concatenate([a.reshape(a.shape[0], -1) for a in arrays], axis=1)


def _at(columns: Array, index: Array) -> Array:
    """(c, n, L) columns of (c, m) at (n, L)."""
    return columns.at[:, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


class _PointSource(NamedTuple):
    """Indices of every point of a lane, N S of each kind: its slot, and offsets to add to the slot's entry."""

    slot: np.ndarray  # among the slots of all kinds
    kind: np.ndarray
    number: np.ndarray  # of the slot within the kind
    pos: np.ndarray  # the place in the flat positions, less the entry
    normal: np.ndarray  # in the flat normals
    contact: np.ndarray  # in the flat parameters


def _point_sources(found: list[tuple[Slots, Points]]) -> _PointSource:
    rows, first = [], np.zeros(3, int)
    for kind, (slots, p) in enumerate(found):
        points, normals, pairs, num_slots = p.dist.shape[0], p.normal.shape[1], p.dist[0].size, len(slots.layout.entry)
        point, slot = (x.ravel() for x in np.meshgrid(np.arange(points), np.arange(num_slots), indexing="ij"))
        shared = np.minimum(point, normals - 1)
        contact = np.full_like(slot, slots.layout.place_of(slots.contact) * slots.layout.width)
        places = first[0] + slot, np.full_like(slot, kind), slot, first[1] + point * pairs, first[2] + shared * pairs
        rows.append(np.stack([*places, contact]))
        first += (num_slots, points * pairs, normals * pairs)
    return _PointSource(*np.concatenate(rows, axis=1))


def _threshold(dist: Array, active: Array, total: Array, config: EngineConfig) -> Array:
    """A distance below which at most `max_contacts` active points lie, and at which just that many would."""
    count = config.accuracy.max_contacts
    low = jnp.min(dist, axis=0)
    high = jnp.max(dist, axis=0)
    touching = barrier(jnp.where(active, dist, jnp.inf))

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        fits = jnp.sum(touching <= middle, axis=0) <= count
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    def divide(low: Array, high: Array) -> tuple[Array, Array]:
        parts = np.arange(1, _PARTS, dtype=dist.dtype)[:, None] / _PARTS
        levels = low + (high - low) * parts
        fits = jnp.sum(touching <= levels[:, None], axis=1) <= count
        return jnp.max(jnp.where(fits, levels, low), axis=0), jnp.min(jnp.where(fits, high, levels), axis=0)

    if config.execution.early_exit:
        bisections = jnp.where(highest(total) > count, _BISECTIONS, 0)
        lower, _ = jax.lax.fori_loop(0, bisections, halve, (low, high))
    else:
        lower, _ = divide(*divide(low, high))
    return jnp.where(total <= count, high, lower)


def _words(chosen: Array) -> Array:
    """(W, L) uint32 with a bit for each of (M, L) booleans, the first ones in the lowest bits of the first word."""
    total, lanes = chosen.shape
    words = -(-total // _WORD)
    padding = jnp.zeros((words * _WORD - total, lanes), bool)
    bits = jnp.concatenate([chosen, padding]).astype(jnp.uint32).reshape(words, _WORD, lanes)
    for half in _HALVES:
        bits = bits[:, :half] | (bits[:, half:] << half)
    return bits[:, 0]


def _find(words: Array, ends: Array, wanted: Array) -> Array:
    """The place (n, L) of the `wanted`-th (n, 1) bit that is set, counted from 1; any place where there are fewer.

    Args:
        words: (W, L) uint32.
        ends: (W, L) int32 bits set in a word and those before it.
        wanted: (n, 1) int32.
    """
    word, place, rank = words[0], jnp.zeros_like(wanted), wanted
    for number in range(1, len(words)):
        later = ends[number - 1] < wanted
        word = jnp.where(later, words[number], word)
        place = jnp.where(later, number * _WORD, place)
        rank = jnp.where(later, wanted - ends[number - 1], rank)
    for half in _HALVES:
        below = jax.lax.population_count(word & ((1 << half) - 1)).astype(jnp.int32)
        above = below < rank
        word = jnp.where(above, word >> half, word)
        place = jnp.where(above, place + half, place)
        rank = jnp.where(above, rank - below, rank)
    return place


def _frames(normal: Array) -> Array:
    """(K, 3, 3, L) rows normal and two tangents from (3, K, L), by MuJoCo's rule."""
    component = np.arange(3)[:, None, None]
    axis = (component == jnp.where(jnp.abs(normal[1]) < 0.5, 1, 2)).astype(normal.dtype)
    tangent = spatial.normalize(axis - normal * spatial.dot(axis, normal))
    return jnp.moveaxis(jnp.stack([normal, tangent, spatial.cross(normal, tangent)]), 2, 0)
