"""Small symmetric positive definite systems, written out on component-first, lanes-last arrays.

`jax.lax.linalg`'s batched routines are out of reach here: on CPU they call LAPACK matrix by matrix, and two of them
running at once can wait for each other for good. Elimination in 3x3 pivot blocks is made of few, wide array
operations, so it compiles quickly and keeps the lanes on the innermost axis.
"""

from __future__ import annotations

import functools

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.sums import sum_product

Array = jax.Array


def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solve `matrix @ x = rhs` for symmetric positive definite matrices by block elimination and back substitution.

    No pivoting is needed, and scaling rows and columns by powers of two changes nothing, so bodies of a few grams
    next to a robot of many kilograms do no harm.

    Args:
        matrix: (n, n, L) with n a multiple of 3, symmetric also where it is differentiated.
        rhs: (n, L).

    Returns:
        x, (n, L).

    Raises:
        ValueError: for other shapes.
    """
    size = len(rhs)
    if size % 3 or matrix.shape != (size, *rhs.shape):
        raise ValueError(f"no square systems of a multiple of 3 rows: {matrix.shape} and {rhs.shape}")
    return _solve_p.bind(matrix, rhs, batch=0)


def _solve(size: int, matrix: Array, rhs: Array) -> Array:
    """Solve by pivot blocks of `size` rows; the last block takes what is left."""
    # Single rows and columns keep their axes, see `sums.py`.
    rest = jnp.concatenate([matrix, rhs[:, None]], axis=1)
    eliminated = []
    while len(rest) > size:
        solved = barrier(_solve_pivot(rest[:size, :size], rest[:size, size:]))
        eliminated.append(solved)
        column, rest = rest[size:, :size], rest[size:, size:]
        for k in range(size):
            rest = rest - column[:, k : k + 1] * solved[k : k + 1]
        rest = barrier(rest)

    x = barrier(_solve_pivot(rest[:, :-1], rest[:, -1:]))
    for solved in reversed(eliminated):
        block = solved[:, -1:]
        for i in range(len(x)):
            block = block - solved[:, i : i + 1] * x[i : i + 1]
        x = barrier(jnp.concatenate([block, x]))
    return x[:, 0]


def _solve_pivot(block: Array, rows: Array) -> Array:
    """The inverse of a symmetric block (n, n, L) times rows (n, m, L)."""
    n = len(block)
    # Block = F D F^T with F lower triangular and ones on its diagonal; `scaled` is F D. Only the reciprocals of D are
    # kept apart; the factors are products with them, cheap enough to repeat.
    inverse: list[Array] = []
    factor: list[list[Array]] = []
    scaled: list[list[Array]] = []
    for i in range(n):
        factor.append([])
        scaled.append([])
        for j in range(i + 1):
            scaled[i].append(_less(block[i, j], factor[i][:j], scaled[j]))
            if j < i:
                factor[i].append(scaled[i][j] * inverse[j])
        inverse.append(barrier(1 / scaled[i][i]))

    y: list[Array] = []
    for i in range(n):
        y.append(_less(rows[i : i + 1], factor[i], y))
    x = [each * reciprocal for each, reciprocal in zip(y, inverse, strict=True)]
    for i in reversed(range(n)):
        x[i] = _less(x[i], [factor[k][i] for k in range(i + 1, n)], x[i + 1 :])
    return jnp.concatenate(x)


def _less(value: Array, a: list[Array], b: list[Array]) -> Array:
    """Subtract the products of `a` and the leading entries of `b` from a value, one after the other."""
    for x, y in zip(a, b, strict=False):
        value = value - x * y
    return value


def _batched(size: int, matrix: Array, rhs: Array, *, batch: int) -> Array:
    solve = functools.partial(_solve, size)
    for _ in range(batch):
        solve = jax.vmap(solve)
    return solve(matrix, rhs)


# A primitive, so that how the elimination is written out may depend on the platform, and is traced for that one alone.
# On CPU a barrier after each block of 3 keeps the work of a block from being repeated; elsewhere XLA makes few kernels
# of a block of 9 in which every lane's numbers stay in registers, and more of any other size (benchmarks/LOG.md,
# section 20).
_solve_p = Primitive("solve_spd")
_solve_p.def_impl(jax.jit(functools.partial(_batched, 3), static_argnames="batch"))
mlir.register_lowering(_solve_p, mlir.lower_fun(functools.partial(_batched, 9), multiple_results=False))
mlir.register_lowering(_solve_p, mlir.lower_fun(functools.partial(_batched, 3), multiple_results=False), platform="cpu")


@_solve_p.def_abstract_eval
def _(matrix, rhs, *, batch):
    return jax.core.ShapedArray(rhs.shape, rhs.dtype)


def _batching_rule(operands, dims, *, batch):
    size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True) if dim is not None)
    matrix, rhs = (batching.bdim_at_front(x, dim, size) for x, dim in zip(operands, dims, strict=True))
    return _solve_p.bind(matrix, rhs, batch=batch + 1), 0


def _jvp(primals, tangents, *, batch):
    (matrix, rhs), (matrix_dot, rhs_dot) = primals, tangents
    x = _solve_p.bind(matrix, rhs, batch=batch)
    rhs_dot = ad.instantiate_zeros(rhs_dot)
    if type(matrix_dot) is not ad.Zero:
        rhs_dot = rhs_dot - sum_product(matrix_dot, jnp.expand_dims(x, batch), batch + 1)
    return x, _solve_p.bind(matrix, rhs_dot, batch=batch)


def _transpose(cotangent, matrix, rhs, *, batch):
    assert not ad.is_undefined_primal(matrix)
    if type(cotangent) is ad.Zero:
        return [None, ad.Zero(rhs.aval)]
    return [None, _solve_p.bind(matrix, cotangent, batch=batch)]


batching.primitive_batchers[_solve_p] = _batching_rule
ad.primitive_jvps[_solve_p] = _jvp
ad.primitive_transposes[_solve_p] = _transpose
