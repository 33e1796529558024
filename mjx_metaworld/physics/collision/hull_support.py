"""Support function of mesh hulls by table look-up; see `scenes.hulls` for the table."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.sums import fold
from mjx_metaworld.scenes.hulls import CANDIDATES, load_hulls

Array = jax.Array

_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
INDEX_BITS = (CANDIDATES - 1).bit_length()
# Added to reaches of at most 0.3 m before the low bits of the float give way to an index: what is left resolves
# 2^-20 m, so the vertex found is furthest to within a micrometre.
OFFSET = 0.5


class Hulls(NamedTuple):
    """Address of each slot's hull in the table (trailing axes (S, L))."""

    row: Array  # (S, L) int32 of its first cell
    resolution: Array  # (S, L) int32


def hulls_of(kind: Array, hull: Array) -> Hulls:
    """The hulls of shapes by their `type` and `hull`; those that are no mesh get the single point at the origin."""
    table = load_hulls()
    index = hull_index(kind, hull)
    return Hulls(jnp.asarray(table.first_row, jnp.int32)[index], jnp.asarray(table.resolution, jnp.int32)[index])


def hull_index(kind: Array, hull: Array) -> Array:
    """(S, L) row of the hull table."""
    return jnp.where(kind == _MESH, hull, len(load_hulls().first_row) - 1)


def furthest_vertex(hulls: Hulls, direction: Array) -> Array:
    """(3, S, L) the vertex furthest along a direction (3, S, L), both in the geom frame."""
    x, y, z = direction[0], direction[1], direction[2]
    ax, ay, az = jnp.abs(x), jnp.abs(y), jnp.abs(z)
    is_x = (ax >= ay) & (ax >= az)
    is_y = ~is_x & (ay >= az)
    major, u, v = (jnp.where(is_x, a, jnp.where(is_y, b, c)) for a, b, c in ((x, y, z), (y, z, x), (z, x, y)))
    face = jnp.where(is_x, 0, jnp.where(is_y, 2, 4)) + (major < 0)
    scale = 0.5 * hulls.resolution / jnp.maximum(jnp.abs(major), 1e-20)
    half = 0.5 * hulls.resolution
    i, j = (jnp.clip((w * scale + half).astype(jnp.int32), 0, hulls.resolution - 1) for w in (u, v))
    # Fenced, or every candidate would compute it anew.
    row = fence(hulls.row + (face * hulls.resolution + i) * hulls.resolution + j)

    # Float32 also where the rest is float64: the index shares the bits of the reach.
    table = load_hulls().candidates.astype(np.float32)
    cells = jnp.asarray(table).at[row].get(mode="promise_in_bounds", wrap_negative_indices=False)
    vertices = jnp.moveaxis(fence(cells), (-2, -1), (0, 1))  # (3, CANDIDATES, S, L)
    single = direction.astype(jnp.float32)
    reach = vertices[0] * single[0] + vertices[1] * single[1] + vertices[2] * single[2]
    number = jax.lax.broadcasted_iota(jnp.int32, reach.shape, 0)
    keys = (jax.lax.bitcast_convert_type(reach + OFFSET, jnp.int32) >> INDEX_BITS << INDEX_BITS) | number
    best = fold("max", keys)
    points = np.swapaxes(load_hulls().candidates, 1, 2).reshape(-1, 3)
    # Fenced, or it would be computed number by number for each coordinate that is looked up.
    chosen = fence(row * CANDIDATES + (best & ((1 << INDEX_BITS) - 1)))
    return jnp.moveaxis(jnp.asarray(points, direction.dtype)[chosen], -1, 0)
