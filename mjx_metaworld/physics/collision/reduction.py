"""From the contact points of all kinds to the few that the solver gets."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Slots
from mjx_metaworld.physics.groups import for_groups, highest, put_rows
from mjx_metaworld.physics.model import CONTACTS_PER_GROUP, Contacts, PhysicsConfig

Array = jax.Array

# Halvings of the depth range when more points touch than fit: the deepest are kept to 1/512 of the range.
_BISECTIONS = 9
_BLOCK = 16


def reduce(found: list[tuple[Slots, Points]], config: PhysicsConfig) -> Contacts:
    """Keep the `config.max_contacts` deepest active points, in groups of `CONTACTS_PER_GROUP`."""
    count = config.max_contacts
    dist = jnp.concatenate([_of_lanes(s, p.dist) for s, p in found])
    pos, normal = _flat([p.pos for _, p in found]), _flat([p.normal for _, p in found])
    contact = _flat([found[0][0].contact[:, None]])  # which all kinds share
    entries = spatial.fence(jnp.concatenate([s.layout.entry for s, _ in found]))
    origin = _origins(found)
    # Pairs beyond the near ones were not looked at.
    visited = [jax.lax.broadcasted_iota(jnp.int32, s.layout.entry.shape, 0) < s.layout.near for s, _ in found]
    active = spatial.fence(jnp.concatenate(visited)[origin.slot] & (dist < 0.5 * NO_CONTACT))
    dist = jnp.where(active, dist, 0.0)

    total = jnp.sum(active, axis=0, dtype=jnp.int32)
    chosen = spatial.fence(active & (dist <= _threshold(dist, active, total, config)))
    before = spatial.fence(_cumulative(chosen.astype(jnp.int32)))
    num_contacts = before[-1]

    def pick(first: Array | int) -> Array:
        wanted = first + jnp.arange(1, CONTACTS_PER_GROUP + 1, dtype=jnp.int32)[:, None]
        index = spatial.fence(_find(before, wanted))
        slot, at_pos, at_normal, at_contact = (jnp.asarray(x, jnp.int32)[index] for x in origin)
        entry = jnp.take_along_axis(entries, slot, axis=0)
        at_pos, at_normal, at_contact = spatial.fence(at_pos + entry, at_normal + entry, at_contact + entry)
        direction = _at(normal, at_normal)
        # Unused rows keep a unit normal, so that what follows stays finite.
        axis = jnp.array([1.0, 0.0, 0.0], direction.dtype)[:, None, None]
        direction = spatial.fence(jnp.where(wanted <= num_contacts, direction, axis))
        frame = _frames(direction)
        columns = (
            jnp.take_along_axis(dist, index, axis=0)[:, None],
            jnp.swapaxes(_at(pos, at_pos), 0, 1),
            frame.reshape(frame.shape[0], 9, -1),
            jnp.swapaxes(_at(contact, at_contact), 0, 1),
        )
        return spatial.fence(jnp.concatenate(columns, axis=1))

    def add_group(first: Array | int, rows: Array) -> Array:
        return put_rows(rows, pick(first), first)

    none = jnp.zeros((count, 13 + contact.shape[0], dist.shape[-1]), dist.dtype)
    rows = for_groups(count, CONTACTS_PER_GROUP, num_contacts, config, add_group, none)
    return _unpack(rows, jnp.arange(1, count + 1, dtype=jnp.int32)[:, None] <= num_contacts)


def _unpack(rows: Array, active: Array) -> Contacts:
    dist, pos, frame, body1, body2, margin, torsional, touch, friction, solref, solimp, invweight = jnp.split(
        rows, (1, 4, 13, 14, 15, 16, 17, 18, 20, 22, 27), axis=1
    )
    return Contacts(
        active=active,
        dist=dist[:, 0],
        pos=pos,
        frame=frame.reshape(frame.shape[0], 3, 3, -1),
        body1=body1[:, 0].astype(jnp.int32),
        body2=body2[:, 0].astype(jnp.int32),
        margin=margin[:, 0],
        friction=friction,
        torsional=torsional[:, 0] > 0,
        solref=solref,
        solimp=solimp,
        invweight=invweight,
        touch=touch[:, 0].astype(jnp.int32),
    )


def _of_lanes(slots: Slots, dist: Array) -> Array:
    """(N S, L) the distances (N, A, B) of the lanes' slots."""
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


class _Origins(NamedTuple):
    """Of every point of a lane, N S of each kind, where it is from: its slot, and what to add to the slot's entry."""

    slot: np.ndarray  # among the slots of all kinds
    pos: np.ndarray  # the place in the flat positions, less the entry
    normal: np.ndarray  # in the flat normals
    contact: np.ndarray  # in the flat parameters


def _origins(found: list[tuple[Slots, Points]]) -> _Origins:
    rows, first = [], np.zeros(3, int)
    for slots, p in found:
        points, normals, pairs, num_slots = p.dist.shape[0], p.normal.shape[1], p.dist[0].size, len(slots.layout.entry)
        point, slot = (x.ravel() for x in np.meshgrid(np.arange(points), np.arange(num_slots), indexing="ij"))
        shared = np.minimum(point, normals - 1)
        contact = np.full_like(slot, slots.layout.place_of(slots.contact) * slots.layout.width)
        rows.append(np.stack([first[0] + slot, first[1] + point * pairs, first[2] + shared * pairs, contact]))
        first += (num_slots, points * pairs, normals * pairs)
    return _Origins(*np.concatenate(rows, axis=1))


def _threshold(dist: Array, active: Array, total: Array, config: PhysicsConfig) -> Array:
    """A distance below which at most `max_contacts` active points lie, and at which just that many would."""
    count = config.max_contacts
    low = jnp.min(dist, axis=0)
    high = jnp.max(dist, axis=0)

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        fits = jnp.sum(active & (dist <= middle), axis=0) <= count
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    bisections = jnp.where(highest(total) > count, _BISECTIONS, 0) if config.adaptive else _BISECTIONS
    low, _ = jax.lax.fori_loop(0, bisections, halve, (low, high))
    return jnp.where(total <= count, high, low)


def _find(before: Array, wanted: Array) -> Array:
    """For running counts (M, L) the first index (n, L) at which `wanted` (n, 1) have been seen, or the last one."""
    total, lanes = before.shape
    index = jnp.zeros((wanted.shape[0], lanes), jnp.int32)
    step = 1 << (max(total - 1, 1).bit_length() - 1)
    while step:
        probe = index + step
        seen = jnp.take_along_axis(before, jnp.minimum(probe, total) - 1, axis=0)
        index = jnp.where((probe < total) & (seen < wanted), probe, index)
        step >>= 1
    return jnp.minimum(index, total - 1)


def _cumulative(values: Array) -> Array:
    """Running sums of (M, L) along the first axis, in blocks: two short chains of vectorized additions."""
    total, lanes = values.shape
    blocks = -(-total // _BLOCK)
    padded = jnp.concatenate([values, jnp.zeros((blocks * _BLOCK - total, lanes), values.dtype)])
    rows = jnp.swapaxes(padded.reshape(blocks, _BLOCK, lanes), 0, 1)
    sums = [rows[0]]
    for row in rows[1:]:
        sums.append(sums[-1] + row)
    offsets = [jnp.zeros_like(values[0])]
    for block in sums[-1][:-1]:
        offsets.append(offsets[-1] + block)
    within = jnp.stack(sums, axis=1) + jnp.stack(offsets)[:, None]
    return within.reshape(-1, lanes)[:total]


def _frames(normal: Array) -> Array:
    """(K, 3, 3, L) rows normal and two tangents from (3, K, L), by MuJoCo's rule."""
    along_y = jnp.abs(normal[1]) < 0.5
    axis = jnp.stack([jnp.zeros_like(normal[0]), along_y.astype(normal.dtype), (~along_y).astype(normal.dtype)])
    tangent = spatial.normalize(axis - normal * spatial.dot(axis, normal))
    return jnp.moveaxis(jnp.stack([normal, tangent, spatial.cross(normal, tangent)]), 2, 0)
