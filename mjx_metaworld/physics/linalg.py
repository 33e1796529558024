"""Small symmetric positive definite systems, written out on component-first, lanes-last arrays.

`jax.lax.linalg`'s batched routines are out of reach here: on CPU they call LAPACK matrix by matrix, and two of them
running at once can wait for each other for good. Elimination in 3x3 pivot blocks is made of few, wide array
operations, so it compiles quickly and keeps the lanes on the innermost axis.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.fence import fence

Array = jax.Array


@jax.jit
def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solve `matrix @ x = rhs` for symmetric positive definite matrices by block elimination and back substitution.

    No pivoting is needed, and scaling rows and columns by powers of two changes nothing, so bodies of a few grams
    next to a robot of many kilograms do no harm.

    Args:
        matrix: (n, n, L) with n a multiple of 3.
        rhs: (n, L).

    Returns:
        x, (n, L).
    """
    # Single rows and columns keep their axes, see `spatial.fold`.
    rest = jnp.concatenate([matrix, rhs[:, None]], axis=1)
    eliminated = []
    while len(rest) > 3:
        solved = fence(_solve_pivot(rest[:3, :3], rest[:3, 3:]))
        eliminated.append(solved)
        column, rest = rest[3:, :3], rest[3:, 3:]
        for k in range(3):
            rest = rest - column[:, k : k + 1] * solved[k : k + 1]
        rest = fence(rest)

    x = fence(_solve_pivot(rest[:, :3], rest[:, 3:]))
    for solved in reversed(eliminated):
        block = solved[:, -1:]
        for i in range(len(x)):
            block = block - solved[:, i : i + 1] * x[i : i + 1]
        x = fence(jnp.concatenate([block, x]))
    return x[:, 0]


def _solve_pivot(block: Array, rows: Array) -> Array:
    """The inverse of a symmetric block (3, 3, L) times rows (3, m, L)."""
    (b00, _, _), (b10, b11, _), (b20, b21, b22) = ([block[i, j] for j in range(3)] for i in range(3))
    # Only the reciprocals of the pivots are kept apart; the factors are products with them, cheap enough to repeat.
    i0 = fence(1 / b00)
    l10, l20 = b10 * i0, b20 * i0
    i1 = fence(1 / (b11 - l10 * b10))
    e21 = b21 - l20 * b10
    l21 = e21 * i1
    i2 = fence(1 / (b22 - l20 * b20 - l21 * e21))

    r0, r1, r2 = rows[0:1], rows[1:2], rows[2:3]
    y1 = r1 - l10 * r0
    x2 = (r2 - l20 * r0 - l21 * y1) * i2
    x1 = y1 * i1 - l21 * x2
    x0 = r0 * i0 - l10 * x1 - l20 * x2
    return jnp.concatenate([x0, x1, x2])
