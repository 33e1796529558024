"""Layout of a batch while physics runs: environments divided into chunks of SIMD tiles, lanes on the last axis.

Physics stages work on component-first, lanes-last arrays. `lanes_last` wraps such a function as a function of one
environment; `jax.vmap` of the result does not map the stages one environment at a time but regroups the whole batch
into tiles `[tiles, ..., lanes]`. On CPU a tile of 16 lanes fills the vector registers and keeps a tile's arrays close
together; batches beyond `chunk` lanes run chunk after chunk so that the working set stays in the caches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from mjx_metaworld.physics.operation import batched
from mjx_metaworld.physics.tiles import TILES

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

    def of_batch(*args: Any) -> Any:
        size = len(jax.tree.leaves(args)[0])
        if order is None or chunk is None:
            return _run(fn, args, size, lanes or size, chunk)
        # Small batches are divided, too, so that light environments need not wait for heavy ones.
        quarter = min(chunk, max(size // 4, _LEAST_TILES * lanes, 1))
        places = jnp.argsort(order(*args))
        out = _run(fn, jax.tree.map(lambda x: x[places], args), size, lanes or size, quarter)
        origins = jnp.zeros_like(places).at[places].set(jnp.arange(size, dtype=places.dtype))
        return jax.tree.map(lambda x: x[origins], out)

    return batched("lanes_last", of_batch, of_one=single, shapes=shapes)


class Division(NamedTuple):
    """Division of a batch: `size` environments, padded, into chunks of tiles of lanes."""

    size: int
    chunks: int
    tiles: int
    lanes: int

    @classmethod
    def of(cls, size: int, lanes: int, chunk: int | None) -> Division:
        """Tiles of `lanes`, in chunks of at most `chunk` environments unless that is None; none of an empty batch."""
        lanes = max(1, min(lanes, size))
        chunks = 1 if chunk is None else max(1, -(-size // chunk))
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
