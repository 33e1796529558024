"""Vector algebra on stacks of bodies: stack axes first, then components, the lanes last.

A vector is `(*stack, 3, L)`, a matrix `(*stack, 3, 3, L)`; stacks broadcast. Everything is written as sums of
broadcast products, without concatenating components and without matrix products, so that it compiles to a few loops
that are vectorized over the lanes, and so that the precision of the platform's matrix products does not matter. Most
are wrapped in `jax.jit`, for the reason given in `spatial.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.sums import reduce_axis, sum_product

Array = jax.Array

# [k][i, j]: minus the permutation symbol, so that sum_k SKEW[k] v[k] is the cross-product matrix of v.
_SKEW = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]], float
)


def constant(value: np.ndarray, dtype: jnp.dtype) -> Array:
    """A constant in the dtype of the computation, with an axis for the lanes."""
    return jnp.asarray(value, dtype)[..., None]


def _aligned(a: Array, b: Array) -> tuple[Array, Array]:
    """Both arrays with as many axes as the one that has more, new ones in front."""
    most = max(a.ndim, b.ndim)
    a, b = (x.reshape(*[1] * (most - x.ndim), *x.shape) for x in (a, b))
    return a, b


def dot(a: Array, b: Array) -> Array:
    """Inner products (*stack, L)."""
    return reduce_axis("add", a * b, -2)


@jax.jit
def cross(a: Array, b: Array) -> Array:
    """Cross products (*stack, 3, L)."""
    return rotate(skew(a), b)


@jax.jit
def rotate(mat: Array, v: Array) -> Array:
    """`mat @ v`, (*stack, 3, L)."""
    return sum_product(*_aligned(mat, v[..., None, :, :]), -2)


@jax.jit
def skew(v: Array) -> Array:
    """The matrices (*stack, 3, 3, L) whose product with a vector is the cross product with `v`."""
    return sum_product(*_aligned(constant(_SKEW, v.dtype), v[..., None, None, :]), -4)


@jax.jit
def congruence(mat: Array, inertia: Array) -> Array:
    """`mat @ inertia @ mat.T`, (*stack, 3, 3, L)."""
    half = sum_product(*_aligned(mat[..., :, None, :], inertia[..., None, :, :, :]), -3)
    return sum_product(*_aligned(half[..., None, :, :], mat[..., None, :, :, :]), -2)


@jax.jit
def steiner(v: Array) -> Array:
    """Inertia (*stack, 3, 3, L) of a unit point mass at `v` about the origin."""
    eye = constant(np.eye(3), v.dtype)
    return eye * dot(v, v)[..., None, None, :] - v[..., :, None, :] * v[..., None, :, :]


@jax.jit
def from_quat(quat: Array) -> Array:
    """Rotation matrices (*stack, 3, 3, L) of unit quaternions (*stack, 4, L)."""
    w, v = quat[..., 0, :], quat[..., 1:, :]
    diagonal = constant(np.eye(3), quat.dtype) * (w * w - dot(v, v))[..., None, None, :]
    return diagonal + 2 * (v[..., :, None, :] * v[..., None, :, :] + w[..., None, None, :] * skew(v))


def weighted_sums(weights: np.ndarray, x: Array) -> Array:
    """Sums over the first axis of `x` (m, ..., L) with constant weights (*stack, m): (*stack, ..., L)."""
    stack = weights.ndim - 1
    columns = jnp.asarray(weights.reshape(*weights.shape, *[1] * (x.ndim - 1)), x.dtype)
    return sum_product(*_aligned(columns, x), stack)
