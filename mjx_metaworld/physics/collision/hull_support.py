"""Support function of mesh hulls by table look-up.

The support function of a hull asks for the vertex furthest along a direction. Directions are sorted into the cells of
a grid on the faces of a cube, and for every cell the table lists the few vertices that can be furthest there, so that
one evaluation looks at `CANDIDATES` vertices, whatever the size of the hull.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.sums import reduce_axis

Array = jax.Array

_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
CANDIDATES = 12  # vertices listed for a cell
INDEX_BITS = (CANDIDATES - 1).bit_length()
# Added to reaches of at most 0.3 m before the low bits of the float give way to an index: what is left resolves
# 2^-20 m, so the vertex found is furthest to within a micrometre.
OFFSET = 0.5


@dataclass(frozen=True, eq=False)
class HullTable:
    """Support tables of H hulls, then of a hull that is the single point at the origin (numpy float64).

    The cell of a direction d: the axis k of its largest component, the sign, and the components k + 1 and k + 2
    divided by the largest one, on a grid of `resolution` squares. Tables become constants of a program, and compare by
    identity, so that one can be static data of a pytree.
    """

    candidates: np.ndarray  # (rows, 3, CANDIDATES) vertices in the frame of a geom that shows the mesh
    first_row: np.ndarray  # (H + 1,) row of a hull's first cell
    resolution: np.ndarray  # (H + 1,) cells along a side of a cube face
    reach: np.ndarray  # (H + 1, 26) support along `cube_directions`
    error: np.ndarray  # (H + 1,) largest shortfall of the support in m over the tested directions
    faces: np.ndarray | None = None  # (H + 1, F, 3) outward normals, zeros behind the last; None if none are tried

    def index(self, kind: Array, hull: Array) -> Array:
        """(S, L) hulls of shapes by their `type` and `hull`; of those that are no mesh the last one."""
        return jnp.where(kind == _MESH, hull, len(self.first_row) - 1)


def cube_directions() -> np.ndarray:
    """(26, 3) unit vectors to the faces, edges and corners of a cube."""
    grid = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.abs(grid).sum(1) > 0]
    return grid / np.linalg.norm(grid, axis=1, keepdims=True)


class Hulls(struct.PyTreeNode):
    """Hulls of the slots, as places in a table (trailing axes (S, L))."""

    row: Array  # (S, L) int32 of its first cell
    resolution: Array  # (S, L) int32
    table: HullTable = struct.field(pytree_node=False)

    @classmethod
    def of(cls, table: HullTable, kind: Array, hull: Array) -> Hulls:
        """The hulls of shapes by their `type` and `hull`; those that are no mesh get the single point at the origin."""
        index = table.index(kind, hull)
        first_row, resolution = (jnp.asarray(x, jnp.int32)[index] for x in (table.first_row, table.resolution))
        return cls(first_row, resolution, table)


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
    # Behind a barrier, or every candidate would compute it anew.
    row = barrier(hulls.row + (face * hulls.resolution + i) * hulls.resolution + j)

    # Float32 also where the rest is float64: the index shares the bits of the reach.
    candidates = hulls.table.candidates
    table = jnp.asarray(candidates.astype(np.float32))
    cells = table.at[row].get(mode="promise_in_bounds", wrap_negative_indices=False)
    vertices = jnp.moveaxis(barrier(cells), (-2, -1), (0, 1))  # (3, CANDIDATES, S, L)
    single = direction.astype(jnp.float32)
    reach = vertices[0] * single[0] + vertices[1] * single[1] + vertices[2] * single[2]
    number = jax.lax.broadcasted_iota(jnp.int32, reach.shape, 0)
    keys = (jax.lax.bitcast_convert_type(reach + OFFSET, jnp.int32) >> INDEX_BITS << INDEX_BITS) | number
    best = reduce_axis("max", keys)
    points = np.swapaxes(candidates, 1, 2).reshape(-1, 3)
    # Behind a barrier, or it would be computed number by number for each coordinate that is looked up.
    chosen = barrier(row * CANDIDATES + (best & ((1 << INDEX_BITS) - 1)))
    return jnp.moveaxis(jnp.asarray(points, direction.dtype)[chosen], -1, 0)
