"""Small symmetric positive definite systems, written out on component-first, lanes-last arrays.

`jax.lax.linalg`'s batched routines are out of reach here: on CPU they call LAPACK matrix by matrix, and two of them
running at once can wait for each other for good. Elimination in 3x3 pivot blocks is made of few, wide array
operations, so it compiles quickly and keeps the lanes on the innermost axis. 3 divides all sizes that occur (18, 9,
6, 3).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.spatial import fence

Array = jax.Array


def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solve `matrix @ x = rhs` for symmetric positive definite matrices by Gauss-Jordan elimination.

    No pivoting is needed, and scaling rows and columns by powers of two changes nothing, so bodies of a few grams
    next to a robot of many kilograms do no harm.

    Args:
        matrix: (n, n, L) with n a multiple of 3.
        rhs: (n, L).

    Returns:
        x, (n, L).
    """
    rest = jnp.concatenate([matrix, rhs[:, None]], axis=1)
    for row in range(0, matrix.shape[0], 3):
        solved = fence(_solve_pivot(rest[row : row + 3]))
        eliminated = rest[:, 3:] - rest[:, 0, None] * solved[0] - rest[:, 1, None] * solved[1]
        eliminated = eliminated - rest[:, 2, None] * solved[2]
        rest = fence(jnp.concatenate([eliminated[:row], solved, eliminated[row + 3 :]]))
    return rest[:, 0]


def _solve_pivot(rows: Array) -> Array:
    """Multiply rows (3, 3 + m, L) by the inverse of their leading 3x3 block; return the (3, m, L) that is left."""
    l10 = rows[1, 0] / rows[0, 0]
    l20 = rows[2, 0] / rows[0, 0]
    d1 = rows[1, 1] - l10 * rows[1, 0]
    e21 = rows[2, 1] - l20 * rows[1, 0]
    l21 = e21 / d1
    d2 = rows[2, 2] - l20 * rows[2, 0] - l21 * e21
    l10, l20, l21, i0, i1, i2 = fence(l10, l20, l21, 1 / rows[0, 0], 1 / d1, 1 / d2)

    r0, r1, r2 = rows[:, 3:]
    y1 = r1 - l10 * r0
    x2 = (r2 - l20 * r0 - l21 * y1) * i2
    x1 = y1 * i1 - l21 * x2
    x0 = r0 * i0 - l10 * x1 - l20 * x2
    return jnp.stack([x0, x1, x2])
