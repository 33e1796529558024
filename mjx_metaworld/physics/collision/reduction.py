"""From the contact points of all kinds to the few that the solver gets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Slots
from mjx_metaworld.physics.model import Contacts

Array = jax.Array

# Bodies that only touch, as parts of a fixture do by design, must not make contact by rounding (of lengths of 1 m).
_ROUNDING = 3e-7
# Halvings of the depth range when more points touch than fit: the deepest are kept to 1/512 of the range.
_BISECTIONS = 9
_BLOCK = 16


def reduce(found: list[tuple[Slots, Points]], count: int) -> Contacts:
    """Keep the `count` deepest active points."""
    dist = _flat([p.dist for _, p in found], 0)
    pos = _flat([p.pos for _, p in found], 1)
    normal = _flat([p.normal for _, p in found], 1)
    margin = jnp.concatenate([s.margin for s, _ in found])
    slot_of, normal_of = _origins(found)
    valid = jnp.concatenate([s.valid for s, _ in found])
    active = spatial.fence(valid[slot_of] & (dist < margin[slot_of] - _ROUNDING))
    dist = jnp.where(active, dist, 0.0)

    chosen = spatial.fence(active & (dist <= _threshold(dist, active, count)))
    index, exists = _compact(chosen, count)
    slot = jnp.asarray(slot_of, jnp.int32)[index]

    def points(leaf: Array) -> Array:
        return jnp.take_along_axis(leaf, index, axis=0)

    def rows(pick) -> Array:
        return jnp.take_along_axis(jnp.concatenate([pick(s) for s, _ in found]), slot, axis=0)

    def vectors(pick) -> Array:
        leaf = jnp.concatenate([pick(s) for s, _ in found], axis=1)
        return jnp.moveaxis(jnp.take_along_axis(leaf, slot[None], axis=1), 0, 1)

    normal = jnp.take_along_axis(normal, jnp.asarray(normal_of, jnp.int32)[index][None], axis=1)
    # Unused rows keep a unit normal, so that what follows stays finite.
    normal = jnp.where(exists, normal, jnp.array([1.0, 0.0, 0.0], normal.dtype)[:, None, None])
    return Contacts(
        active=exists,
        dist=points(dist),
        pos=jnp.moveaxis(jnp.take_along_axis(pos, index[None], axis=1), 0, 1),
        frame=_frames(normal),
        body1=rows(lambda s: s.shape1.body),
        body2=rows(lambda s: s.shape2.body),
        margin=rows(lambda s: s.margin),
        friction=vectors(lambda s: s.friction),
        torsional=rows(lambda s: s.torsional),
        solref=vectors(lambda s: s.solref),
        solimp=vectors(lambda s: s.solimp),
        invweight=vectors(lambda s: s.invweight),
        touch=rows(lambda s: s.touch),
    )


def _flat(arrays: list[Array], axis: int) -> Array:
    """Merge the point and slot axes of every kind and concatenate the kinds."""
    return jnp.concatenate([a.reshape(*a.shape[:axis], -1, a.shape[-1]) for a in arrays], axis=axis)


def _origins(found: list[tuple[Slots, Points]]) -> tuple[np.ndarray, np.ndarray]:
    """For every merged point the row of its slot and of its normal."""
    slot_of, normal_of = [], []
    first_slot = first_normal = 0
    for _, p in found:
        points, slots, normals = p.dist.shape[0], p.dist.shape[1], p.normal.shape[1]
        slot = np.tile(np.arange(slots), points)
        group = np.repeat(np.arange(points), slots) if normals == points else 0
        slot_of.append(first_slot + slot)
        normal_of.append(first_normal + group * slots + slot)
        first_slot += slots
        first_normal += normals * slots
    return np.concatenate(slot_of), np.concatenate(normal_of)


def _threshold(dist: Array, active: Array, count: int) -> Array:
    """A distance below which at most `count` active points lie, and at which just that many would."""
    low = jnp.min(dist, axis=0)
    high = jnp.max(dist, axis=0)

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        fits = jnp.sum(active & (dist <= middle), axis=0) <= count
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return jnp.where(jnp.sum(active, axis=0) <= count, high, low)


def _compact(chosen: Array, count: int) -> tuple[Array, Array]:
    """Indices (count, L) of the first `count` chosen of (M, L), and whether there are as many."""
    total = chosen.shape[0]
    before = spatial.fence(_cumulative(chosen.astype(jnp.int32)))
    wanted = jnp.arange(1, count + 1, dtype=jnp.int32)[:, None]
    # Binary search for the first index at which `wanted` have been seen.
    index = jnp.zeros((count, chosen.shape[-1]), jnp.int32)
    step = 1 << (max(total - 1, 1).bit_length() - 1)
    while step:
        probe = index + step
        seen = jnp.take_along_axis(before, jnp.minimum(probe, total) - 1, axis=0)
        index = jnp.where((probe < total) & (seen < wanted), probe, index)
        step >>= 1
    return jnp.minimum(index, total - 1), wanted <= before[-1]


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
