"""Layout of a batch while physics runs: environments divided into chunks of SIMD tiles, lanes on the last axis.

Physics stages work on component-first, lanes-last arrays. `lanes_last` wraps such a function as a function of one
environment; `jax.vmap` of the result does not map the stages one environment at a time but regroups the whole batch
into tiles `[tiles, ..., lanes]`. On CPU a tile of 16 lanes fills the vector registers and keeps a tile's arrays close
together; batches beyond `chunk` lanes run chunk after chunk so that the working set stays in the caches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from mjx_metaworld.physics.groups import TILES

# Tiles in a chunk below which the calls of its small operations cost more than their work.
_LEAST_TILES = 4


def lanes_last(
    fn: Callable[..., Any],
    *,
    lanes: int,
    chunk: int | None,
    order: Callable[..., jax.Array] | None = None,
    alone: Callable[..., Any] | None = None,
    shapes: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Wrap `fn`, which maps lanes-last pytrees to lanes-last pytrees, as a function of one environment.

    Args:
        fn: takes and returns pytrees of arrays whose last axis is the lane axis.
        lanes: lanes in a tile, or 0 to put the whole (chunk of the) batch into one tile.
        chunk: environments computed at a time; larger batches run in a sequential loop over chunks. None: no loop.
        order: of the same arguments, batched, the keys (batch,) by which environments are sorted into chunks, so that
            those of alike cost run together. None: in the order given.
        alone: computes the same as `fn` without needing the axis of tiles; takes its place for a single environment.
            None: `fn` in one tile.
        shapes: of the arguments of one environment, the shapes and types of its result, so that a batch can be traced
            without tracing a single environment first. None: by tracing that.

    Returns:
        A function of arrays without a lane axis, whose batching rule tiles the batch. It has no derivative.
    """

    def single(*args: Any) -> Any:
        if alone is None:
            out = _run(fn, jax.tree.map(lambda x: jnp.asarray(x)[None], args), 1, 1, None)
            return jax.tree.map(lambda x: x[0], out)
        out = alone(*jax.tree.map(lambda x: jnp.asarray(x)[..., None], args))
        return jax.tree.map(lambda x: x[..., 0], out)

    def batched(size: int, *args: Any) -> Any:
        if order is None or chunk is None:
            return _run(fn, args, size, lanes or size, chunk)
        # Small batches are divided, too, so that light environments need not wait for heavy ones.
        quarter = min(chunk, max(size // 4, _LEAST_TILES * lanes, 1))
        places = jnp.argsort(order(*args))
        out = _run(fn, jax.tree.map(lambda x: x[places], args), size, lanes or size, quarter)
        origins = jnp.zeros_like(places).at[places].set(jnp.arange(size, dtype=places.dtype))
        return jax.tree.map(lambda x: x[origins], out)

    def of_one(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, args))
        result, out_structure = jax.tree.flatten((shapes or functools.partial(jax.eval_shape, single))(*args))

        def flat(function: Callable[..., Any]) -> Callable[..., list[Any]]:
            return lambda *arrays: jax.tree.leaves(function(*jax.tree.unflatten(structure, arrays)))

        out = _lanes_p.bind(
            *leaves,
            single=flat(single),
            batched=lambda size, *arrays: flat(functools.partial(batched, size))(*arrays),
            result=tuple(jax.core.ShapedArray(x.shape, x.dtype) for x in result),
        )
        return jax.tree.unflatten(out_structure, out)

    return of_one


# A primitive of its own rather than `jax.custom_batching.custom_vmap`, which traces the single environment first even
# where only batches are used: a quarter of the time that tracing a step took (benchmarks/LOG.md, section 14).
_lanes_p = Primitive("lanes_last")
_lanes_p.multiple_results = True


@_lanes_p.def_impl
def _impl(*arrays, single, batched, result):
    return single(*arrays)


@_lanes_p.def_abstract_eval
def _abstract_eval(*avals, single, batched, result):
    return result


mlir.register_lowering(_lanes_p, mlir.lower_fun(_impl, multiple_results=True))


def _batching_rule(arrays, axes, *, single, batched, result):
    size = next(x.shape[axis] for x, axis in zip(arrays, axes, strict=True) if axis is not None)
    out = batched(size, *(batching.bdim_at_front(x, axis, size) for x, axis in zip(arrays, axes, strict=True)))
    return out, [0] * len(out)


batching.primitive_batchers[_lanes_p] = _batching_rule


class Division(NamedTuple):
    """Division of a batch: `size` environments, padded, into chunks of tiles of lanes."""

    size: int
    chunks: int
    tiles: int
    lanes: int

    @classmethod
    def of(cls, size: int, lanes: int, chunk: int | None) -> Division:
        """Tiles of `lanes`, in chunks of at most `chunk` environments unless that is None."""
        lanes = min(lanes, size)
        chunks = 1 if chunk is None else -(-size // chunk)
        return cls(size, chunks, -(-size // (chunks * lanes)), lanes)

    def divide(self, x: jax.Array) -> jax.Array:
        """Divide an array: (chunks, tiles, ..., lanes) from (size, ...)."""
        padding = self.chunks * self.tiles * self.lanes - self.size
        if padding:
            x = jnp.concatenate([x, jnp.broadcast_to(x[-1:], (padding, *x.shape[1:]))])
        return jnp.moveaxis(x.reshape(self.chunks, self.tiles, self.lanes, *x.shape[1:]), 2, -1)

    def join(self, x: jax.Array) -> jax.Array:
        """Join an array again: (size, ...) from (chunks, tiles, ..., lanes)."""
        x = jnp.moveaxis(x, -1, 2)
        return x.reshape(-1, *x.shape[3:])[: self.size]


def _run(fn: Callable[..., Any], args: Any, size: int, lanes: int, chunk: int | None) -> Any:
    division = Division.of(size, lanes, chunk)
    tiled = jax.tree.map(division.divide, args)
    run_chunk = jax.vmap(fn, axis_name=TILES)
    if division.chunks == 1:
        out = jax.tree.map(lambda x: x[None], run_chunk(*jax.tree.map(lambda x: x[0], tiled)))
    else:
        out = jax.lax.map(lambda chunk_args: run_chunk(*chunk_args), tiled)
    return jax.tree.map(division.join, out)
