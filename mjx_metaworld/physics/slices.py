"""Slices and updates of rows at a dynamic index that is the same for all lanes and tiles.

`jax.lax.dynamic_slice` and `jax.lax.dynamic_update_slice` turn into a gather and a scatter when they are mapped, even
where the place is not, and each of those brings the small kernels that bound its indices. The primitives here stay the
slices that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from mjx_metaworld.physics.barrier import barrier

Array = jax.Array


def slice_at(first: Array | int, size: int, *arrays: Array, axis: int = 0) -> Any:
    """Slice `size` rows of each array, from `first` on; a tuple, or the only array.

    They are behind a barrier: a slice at a moving place that is fused into arithmetic is slow.
    """
    return barrier(*(_slice(x, first, size, axis) for x in arrays))


def index_at(x: Array, row: Array) -> Array:
    """One row of an array, without the axis."""
    return _slice(x, row, 1, 0)[0]


def update_at(x: Array, rows: Array, first: Array | int, axis: int = 0, column: int = 0) -> Array:
    """Replace rows of an array, from `first` on; `column` is the first that they cover of the axis behind."""
    if isinstance(first, int) and rows.shape == x.shape:
        return rows
    axis %= x.ndim
    starts = [0] * x.ndim
    if column:
        starts[axis + 1] = column
    return _put_p.bind(x, rows, jnp.asarray(first, jnp.int32), axis=axis, starts=tuple(starts))[0]


def take(x: Array, rows: np.ndarray, axis: int) -> Array:
    """Gather rows of an array along an axis at constant indices, none of them negative."""
    places = (slice(None),) * axis + (jnp.asarray(rows, jnp.int32),)
    return x.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _slice(x: Array, first: Array | int, size: int, axis: int) -> Array:
    if isinstance(first, int) and size == x.shape[axis]:
        return x
    return _slice_p.bind(x, jnp.asarray(first, jnp.int32), size=size, axis=axis % x.ndim)[0]


def _places(starts: Sequence[int], axis: int, first: Array) -> list[Array]:
    return [first if i == axis else jnp.asarray(start, first.dtype) for i, start in enumerate(starts)]


# Places count from the start: wrapping negative ones would be two more small kernels for every slice.
def _sliced(x: Array, first: Array, *, size: int, axis: int) -> list[Array]:
    return [jax.lax.dynamic_slice_in_dim(x, first, size, axis, allow_negative_indices=False)]


def _put(x: Array, rows: Array, first: Array, *, axis: int, starts: tuple[int, ...]) -> list[Array]:
    places = _places(starts, axis, first)
    return [jax.lax.dynamic_update_slice(x, rows, places, allow_negative_indices=False)]


_slice_p = Primitive("slice_at")
_slice_p.multiple_results = True
_slice_p.def_impl(_sliced)
mlir.register_lowering(_slice_p, mlir.lower_fun(_sliced, multiple_results=True))


@_slice_p.def_abstract_eval
def _(x, first, *, size, axis):
    return [jax.core.ShapedArray((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)]


def _batch_slice(operands, dims, *, size, axis):
    (x, first), (dim, first_dim) = operands, dims
    if first_dim is not None:
        return jax.vmap(lambda x, first: _sliced(x, first, size=size, axis=axis), in_axes=dims)(x, first), [0]
    return _slice_p.bind(jnp.moveaxis(x, dim, 0), first, size=size, axis=axis + 1), [0]


def _jvp_slice(primals, tangents, **params):
    (x, first), (x_dot, _) = primals, tangents
    out = _slice_p.bind(x, first, **params)
    if type(x_dot) is ad.Zero:
        return out, [ad.Zero.from_primal_value(y) for y in out]  # pyright: ignore[reportAttributeAccessIssue] - untyped
    return out, _slice_p.bind(x_dot, first, **params)


def _transpose_slice(cotangents, x, first, *, size, axis):
    (ct,) = cotangents
    if type(ct) is ad.Zero:
        return [ad.Zero(x.aval), None]
    return [update_at(jnp.zeros(x.aval.shape, ct.dtype), ct, first, axis), None]


batching.primitive_batchers[_slice_p] = _batch_slice
ad.primitive_jvps[_slice_p] = _jvp_slice
ad.primitive_transposes[_slice_p] = _transpose_slice


_put_p = Primitive("update_at")
_put_p.multiple_results = True
_put_p.def_impl(_put)
mlir.register_lowering(_put_p, mlir.lower_fun(_put, multiple_results=True))


@_put_p.def_abstract_eval
def _(x, rows, first, *, axis, starts):
    return [jax.core.ShapedArray(x.shape, x.dtype)]


def _batch_put(operands, dims, *, axis, starts):
    (x, rows, first), first_dim = operands, dims[2]
    if first_dim is not None:
        put = jax.vmap(lambda x, rows, first: _put(x, rows, first, axis=axis, starts=starts), in_axes=tuple(dims))
        return put(x, rows, first), [0]
    size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True) if dim is not None)
    x, rows = batching.bdim_at_front(x, dims[0], size), batching.bdim_at_front(rows, dims[1], size)
    return _put_p.bind(x, rows, first, axis=axis + 1, starts=(0, *starts)), [0]


def _jvp_put(primals, tangents, **params):
    x, rows, first = primals
    out = _put_p.bind(x, rows, first, **params)
    if all(type(t) is ad.Zero for t in tangents[:2]):
        return out, [ad.Zero.from_primal_value(y) for y in out]  # pyright: ignore[reportAttributeAccessIssue] - untyped
    x_dot, rows_dot = (ad.instantiate_zeros(t) for t in tangents[:2])
    return out, _put_p.bind(x_dot, rows_dot, first, **params)


def _transpose_put(cotangents, x, rows, first, *, axis, starts):
    (ct,) = cotangents
    x_aval, rows_aval = (a.aval if ad.is_undefined_primal(a) else jax.typeof(a) for a in (x, rows))
    if type(ct) is ad.Zero:
        return [ad.Zero(x_aval), ad.Zero(rows_aval), None]
    covered = jnp.zeros(rows_aval.shape, ct.dtype)
    of_rows = jax.lax.dynamic_slice(ct, _places(starts, axis, first), rows_aval.shape)
    return [
        _put_p.bind(ct, covered, first, axis=axis, starts=starts)[0] if ad.is_undefined_primal(x) else None,
        of_rows if ad.is_undefined_primal(rows) else None,
        None,
    ]


batching.primitive_batchers[_put_p] = _batch_put
ad.primitive_jvps[_put_p] = _jvp_put
ad.primitive_transposes[_put_p] = _transpose_put
