"""Short reductions, written out where that makes them vectorize and left to the compiler elsewhere.

Sums over a handful of rows are most of the arithmetic here. XLA's CPU backend makes a reduction a loop of its own that
neither vectorizes over the lanes nor fuses with what stands before, so rows are added one by one there; its GPU backend
fuses a short reduction like any other operation, but makes kernels of the slices of a sum that is written out
(benchmarks/LOG.md, section 20). Which of both it is, is decided when the program is lowered for a platform.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from mjx_metaworld.physics.operation import varying_axes

Array = jax.Array
Operation = Literal["add", "max", "and"]

# More rows than these are not worth writing out, and are kernels of their own in XLA's GPU backend.
_SHORT = 32

_PAIRWISE: dict[Operation, Callable[[Array, Array], Array]] = {
    "add": jax.lax.add,
    "max": jax.lax.max,
    "and": jax.lax.bitwise_and,
}
_REDUCTIONS: dict[Operation, Callable[..., Array]] = {"add": jnp.sum, "max": jnp.max, "and": jnp.all}


def reduce_axis(op: Operation, x: Array, axis: int = 0) -> Array:
    """Reduce an array along an axis by `op`; a short axis is written out on CPU, from the first row on."""
    return _bind(x, op=op, axis=axis % x.ndim)


def sum_product(a: Array, b: Array, axis: int) -> Array:
    """The sum of `a * b` along an axis that both have; the other axes broadcast.

    Args:
        a: array.
        b: array with as many axes.
        axis: the one that is summed over and left out.

    Raises:
        ValueError: if there is no such axis.
    """
    if a.ndim != b.ndim or a.shape[axis] != b.shape[axis]:
        raise ValueError(f"shapes {a.shape} and {b.shape} have no axis {axis} of one size in common")
    return _bind(a, b, op="add", axis=axis % a.ndim)


def _bind(*factors: Array, op: Operation, axis: int) -> Array:
    if any(varying_axes(x) for x in factors):  # code of others inside a `jax.shard_map`, whose types JAX checks
        return _reduced(*factors, op=op, axis=axis)
    return _reduce_p.bind(*factors, op=op, axis=axis)


def _written_out(*factors: Array, op: Operation, axis: int) -> Array:
    # Rows keep their axis until the end, because XLA's simplification moves one such axis a round through chains.
    rows = range(factors[0].shape[axis])
    if len(rows) > _SHORT:
        return _REDUCTIONS[op](_product(factors), axis=axis)
    products = (_product([jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for x in factors]) for i in rows)
    return jax.lax.squeeze(functools.reduce(_PAIRWISE[op], products), (axis,))


def _reduced(*factors: Array, op: Operation, axis: int) -> Array:
    return _REDUCTIONS[op](_product(factors), axis=axis)


def _product(factors: Sequence[Array]) -> Array:
    return functools.reduce(operator.mul, factors)


_reduce_p = Primitive("reduce_axis")
_reduce_p.def_impl(jax.jit(_written_out, static_argnames=("op", "axis")))
mlir.register_lowering(_reduce_p, mlir.lower_fun(_reduced, multiple_results=False))
mlir.register_lowering(_reduce_p, mlir.lower_fun(_written_out, multiple_results=False), platform="cpu")


@_reduce_p.def_abstract_eval
def _(*factors, op, axis):
    shape = list(jnp.broadcast_shapes(*(x.shape for x in factors)))
    del shape[axis]
    return jax.core.ShapedArray(tuple(shape), jnp.result_type(*factors))


def _batching_rule(factors, dims, *, op, axis):
    moved = [
        jax.lax.expand_dims(x, (0,)) if dim is None else batching.bdim_at_front(x, dim, x.shape[dim])
        for x, dim in zip(factors, dims, strict=True)
    ]
    return _reduce_p.bind(*moved, op=op, axis=axis + 1), 0


def _jvp(primals, tangents, *, op, axis):
    if op != "add":
        combine = functools.partial(_written_out, op=op, axis=axis)
        return jax.jvp(combine, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))
    terms = [
        _reduce_p.bind(*primals[:i], tangent, *primals[i + 1 :], op=op, axis=axis)
        for i, tangent in enumerate(tangents)
        if type(tangent) is not ad.Zero
    ]
    return _reduce_p.bind(*primals, op=op, axis=axis), functools.reduce(operator.add, terms)


def _transpose(cotangent, *factors, op, axis):
    """Cotangent of the one unknown factor, in which the sum is linear."""
    if type(cotangent) is ad.Zero:
        return [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in factors]
    known = [x for x in factors if not ad.is_undefined_primal(x)]
    spread = _product([jnp.expand_dims(cotangent, axis), *known])

    def to_shape(shape: tuple[int, ...]) -> Array:
        summed = [i for i, size in enumerate(shape) if size == 1 and spread.shape[i] > 1]
        return jnp.broadcast_to(jnp.sum(spread, summed, keepdims=True) if summed else spread, shape)

    return [to_shape(x.aval.shape) if ad.is_undefined_primal(x) else None for x in factors]


batching.primitive_batchers[_reduce_p] = _batching_rule
ad.primitive_jvps[_reduce_p] = _jvp
ad.primitive_transposes[_reduce_p] = _transpose
