"""Operations that are a kernel in C++ where the device is a CPU, and XLA's program of the same elsewhere.

An operation takes and returns arrays whose last axis are the lanes. Mapped over tiles, it is still one call: the tiles
are the arrays' first axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.core
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from mjx_metaworld.physics.tiles import TILES
from mjx_metaworld.processes.native import NativeKernel

Array = jax.Array
Shapes = list[jax.ShapeDtypeStruct]


CPP = Path(__file__).with_name("cpp")  # the kernels' sources and headers


def kernel_of(name: str) -> NativeKernel:
    """The kernel of a source in `cpp/`."""
    return NativeKernel(CPP / f"{name}.cpp")


def laned(lanes: int, *axes: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
    """Shape and type of an array with the lanes behind its other axes."""
    return jax.ShapeDtypeStruct((*axes, lanes), dtype)


def kernel_operation(
    name: str,
    *,
    shapes: Callable[..., Shapes],
    in_kernel: Callable[..., Sequence[Array]],
    by_xla: Callable[..., Sequence[Array]],
) -> Callable[..., list[Array]]:
    """Make an operation of the arrays and (hashable) options that all three functions take.

    Args:
        name: of the operation in traced programs.
        shapes: of the results, for a single tile.
        in_kernel: calls the kernel; takes one argument more in front, the results' shapes, and perhaps arrays with an
            axis of tiles in front.
        by_xla: computes the same for a single tile.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def all_shapes(*operands: Any, tiled: bool, **options: Any) -> Shapes:
        if not tiled:
            return shapes(*operands, **options)
        single = shapes(*(jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in operands), **options)
        tiles = operands[0].shape[0]
        return [jax.ShapeDtypeStruct((tiles, *x.shape), x.dtype) for x in single]

    def abstract(*avals: Any, **params: Any) -> list[jax.core.ShapedArray]:
        return [jax.core.ShapedArray(x.shape, x.dtype) for x in all_shapes(*avals, **params)]

    def call(*operands: Array, tiled: bool, **options: Any) -> Sequence[Array]:
        return in_kernel(all_shapes(*operands, tiled=tiled, **options), *operands, **options)

    def program(*operands: Array, tiled: bool, **options: Any) -> list[Array]:
        def of_tile(*tile: Array) -> list[Array]:
            return list(by_xla(*tile, **options))

        return list((jax.vmap(of_tile, axis_name=TILES) if tiled else of_tile)(*operands))

    def batch(operands: Any, dims: Any, *, tiled: bool, **options: Any) -> tuple[list[Array], list[int]]:
        size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True) if dim is not None)
        front = [batching.bdim_at_front(x, dim, size) for x, dim in zip(operands, dims, strict=True)]
        if tiled:  # a further axis joins that of the tiles
            front = [x.reshape(-1, *x.shape[2:]) for x in front]
        found = primitive.bind(*front, tiled=True, **options)
        if tiled:
            found = [x.reshape(size, -1, *x.shape[1:]) for x in found]
        return found, [0] * len(found)

    @functools.cache
    def compiled(**params: Any) -> Callable[..., list[Array]]:
        return jax.jit(functools.partial(primitive.bind, **params))

    primitive.def_abstract_eval(abstract)

    def eagerly(*operands: Array, **params: Any) -> list[Array]:
        with jax.disable_jit(False):  # under which the compiled call would bind, and come here again
            return compiled(**params)(*operands)

    primitive.def_impl(eagerly)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(program, multiple_results=True))
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=True), platform="cpu")

    def operation(*operands: Array, **options: Any) -> list[Array]:
        return primitive.bind(*operands, tiled=False, **options)

    return operation
