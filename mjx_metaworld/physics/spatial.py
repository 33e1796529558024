"""Small vector, matrix and quaternion algebra on component-first, lanes-last arrays.

Every array here has its components on the leading axes and any number of lane axes behind them: a vector is
`(3, *lanes)`, a matrix `(3, 3, *lanes)`, a quaternion `(4, *lanes)` in MuJoCo's order w, x, y, z. Writing the
components out keeps the lanes on the innermost axis, where the compiler vectorises, and never calls a batched matrix
product, which on CPU costs several times more at these sizes. What a step calls often is wrapped in `jax.jit`, so that
it is traced once a shape; the compiler inlines it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array


def fold(fn: Callable[[Array, Array], Array], x: Array) -> Array:
    """The rows of an array combined one after the other, from the first on.

    Written out, it vectorizes over the lanes and fuses with what stands before, where a reduction would not. Rows keep
    their axis until the end, because XLA's simplification moves one such axis a round through chains like this.
    """
    return functools.reduce(fn, [x[i : i + 1] for i in range(len(x))])[0]


@jax.jit
def apply(mat: Array, v: Array) -> Array:
    """`mat @ v` for a matrix `(m, n, *lanes)` and a vector `(n, *lanes)`."""
    total = mat[:, 0:1] * v[0:1]
    for i in range(1, mat.shape[1]):
        total = total + mat[:, i : i + 1] * v[i : i + 1]
    return total[:, 0]


@jax.custom_jvp
def sqrt(x: Array) -> Array:
    """Square root whose derivative at zero counts as zero; infinite, it would make NaN of whatever it multiplies."""
    return jnp.sqrt(x)


@sqrt.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = jnp.sqrt(primals[0])
    return root, jnp.where(root > 0, 0.5 * tangents[0] / jnp.where(root > 0, root, 1.0), 0.0)


@jax.jit
def dot(a: Array, b: Array) -> Array:
    """Inner product of two vectors `(n, *lanes)`, summed from the first component on."""
    if a.ndim == b.ndim:
        products = a * b  # fewer instructions to trace, the same arithmetic
        return fold(operator.add, products)
    return functools.reduce(operator.add, [a[i] * b[i] for i in range(len(a))])


@jax.jit
def norm(a: Array) -> Array:
    """Euclidean length of a vector `(n, *lanes)`."""
    return sqrt(dot(a, a))


@jax.jit
def normalize(a: Array, eps: float = 1e-15) -> Array:
    """`a` divided by its length; the zero vector stays zero (MuJoCo returns the x axis there)."""
    return a / jnp.maximum(norm(a), eps)


@jax.jit
def cross(a: Array, b: Array) -> Array:
    """Cross product of two vectors `(3, *lanes)`."""
    (a0, a1, a2), (b0, b1, b2) = a, b
    return jnp.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0])


def rotate(mat: Array, v: Array) -> Array:
    """`mat @ v` for a matrix `(3, 3, *lanes)` and a vector `(3, *lanes)`."""
    return apply(mat, v)


@jax.jit
def rotate_back(mat: Array, v: Array) -> Array:
    """`mat.T @ v` for a matrix `(3, 3, *lanes)` and a vector `(3, *lanes)`."""
    return (mat[0:1] * v[0:1] + mat[1:2] * v[1:2] + mat[2:3] * v[2:3])[0]


@jax.jit
def matmul(a: Array, b: Array) -> Array:
    """`a @ b` for matrices `(3, 3, *lanes)`."""
    return a[:, 0:1] * b[0:1] + a[:, 1:2] * b[1:2] + a[:, 2:3] * b[2:3]


@jax.jit
def matmul_tn(a: Array, b: Array) -> Array:
    """`a.T @ b` for matrices `(3, 3, *lanes)`."""
    return a[0, :, None] * b[0:1] + a[1, :, None] * b[1:2] + a[2, :, None] * b[2:3]


@jax.jit
def quat_mul(a: Array, b: Array) -> Array:
    """Hamilton product of quaternions `(4, *lanes)`."""
    return jnp.stack(
        [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ]
    )


def quat_conj(q: Array) -> Array:
    """Conjugate of a quaternion `(4, *lanes)`."""
    return jnp.stack([q[0], -q[1], -q[2], -q[3]])


@jax.jit
def quat_to_mat(q: Array) -> Array:
    """Rotation matrix `(3, 3, *lanes)` of a unit quaternion `(4, *lanes)`."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    ww, xx, yy, zz = w * w, x * x, y * y, z * z
    return jnp.stack(
        [
            jnp.stack([ww + xx - yy - zz, 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            jnp.stack([2 * (x * y + w * z), ww - xx + yy - zz, 2 * (y * z - w * x)]),
            jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), ww - xx - yy + zz]),
        ]
    )


@jax.jit
def axis_angle_to_quat(axis: Array, angle: Array) -> Array:
    """Quaternion `(4, *lanes)` of a turn by `angle` radians about the unit vector `axis`."""
    half = 0.5 * angle
    s = jnp.sin(half)
    return jnp.stack([jnp.cos(half), axis[0] * s, axis[1] * s, axis[2] * s])
