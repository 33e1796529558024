"""Small vector, matrix and quaternion algebra on component-first, lanes-last arrays.

Every array here has its components on the leading axes and any number of lane axes behind them: a vector is
`(3, *lanes)`, a matrix `(3, 3, *lanes)`, a quaternion `(4, *lanes)` in MuJoCo's order w, x, y, z. Writing the
components out keeps the lanes on the innermost axis, where the compiler vectorises, and never calls a batched matrix
product, which on CPU costs several times more at these sizes. What a step calls often is wrapped in `jax.jit`, so that
it is traced once a shape; the compiler inlines it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.slices import take
from mjx_metaworld.physics.sums import reduce_axis, sum_product

Array = jax.Array


def apply(mat: Array, v: Array) -> Array:
    """`mat @ v` for a matrix `(m, n, *lanes)` and a vector `(n, *lanes)`."""
    return sum_product(mat, v[None], 1)


@jax.custom_jvp
def sqrt(x: Array) -> Array:
    """Square root whose derivative at zero counts as zero; infinite, it would make NaN of whatever it multiplies."""
    return jnp.sqrt(x)


@sqrt.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = jnp.sqrt(primals[0])
    return root, jnp.where(root > 0, 0.5 * tangents[0] / jnp.where(root > 0, root, 1.0), 0.0)


def dot(a: Array, b: Array) -> Array:
    """Inner product of two vectors `(n, *lanes)`, summed from the first component on."""
    if a.ndim == b.ndim:
        return reduce_axis("add", a * b)
    axes = max(a.ndim, b.ndim)
    return sum_product(with_axes(a, axes), with_axes(b, axes), 0)


def with_axes(v: Array, axes: int) -> Array:
    """A vector `(n, *lanes)` with so many axes in all, new ones after the first."""
    return v.reshape(len(v), *[1] * (axes - v.ndim), *v.shape[1:])


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


def plane_components(v: Array) -> tuple[Array, Array]:
    """Of vectors `(3, ...)` the components i + 1 and i + 2 for i = 0, 1, 2, each `(3, ...)`."""
    return take(v, np.array([1, 2, 0]), 0), take(v, np.array([2, 0, 1]), 0)


def from_plane_components(first: Array, second: Array) -> Array:
    """Vectors `(3, 3, ...)`, i = 0, 1, 2 along the second axis, with components i + 1 and i + 2 `(3, ...)`, else 0."""
    component, i = (x.reshape(*x.shape, *[1] * (first.ndim - 1)) for x in np.ogrid[:3, :3])
    rest = jnp.where(component == (i + 2) % 3, second, 0.0)
    return jnp.where(component == (i + 1) % 3, first, rest)


def to_plane_components(vectors: Array) -> tuple[Array, Array]:
    """The components i + 1 and i + 2, each `(3, ...)`, of vectors `(3, 3, ...)` with i along the second axis."""
    component, i = (x.reshape(*x.shape, *[1] * (vectors.ndim - 2)) for x in np.ogrid[:3, :3])
    first, second = (reduce_axis("add", jnp.where(component == (i + k) % 3, vectors, 0.0)) for k in (1, 2))
    return first, second


def axes_cross(v: Array) -> Array:
    """The cross products `(3, 3, ...)` of the coordinate axes i, along the second axis, with vectors `(3, ...)`."""
    first, second = plane_components(v)
    return from_plane_components(-second, first)


def rotate(mat: Array, v: Array) -> Array:
    """`mat @ v` for a matrix `(3, 3, *lanes)` and a vector `(3, *lanes)`."""
    return apply(mat, v)


def rotate_back(mat: Array, v: Array) -> Array:
    """`mat.T @ v` for a matrix `(3, 3, *lanes)` and a vector `(3, *lanes)`."""
    return sum_product(mat, v[:, None], 0)


def matmul(a: Array, b: Array) -> Array:
    """`a @ b` for matrices `(3, 3, *lanes)`."""
    return sum_product(a[:, :, None], b[None], 1)


def matmul_tn(a: Array, b: Array) -> Array:
    """`a.T @ b` for matrices `(3, 3, *lanes)`."""
    return sum_product(a[:, :, None], b[:, None], 0)


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
