"""How the selected pairs of a kind are laid out: slot by slot for every lane, or packed across the lanes of a chunk.

Lanes differ much in how many of their pairs are near, and a loop over slots that ends at the largest count still visits
more than twice what there is. So, where loops may end early (`PhysicsConfig.adaptive`), the near pairs of all lanes of
a chunk stand side by side, lane after lane, in blocks that fill the vector registers. Both layouts end in two axes:
slots and lanes, or blocks and entries of a block; what works on single pairs need not know which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mjx_metaworld.physics.groups import TILES, put_rows, rows_at
from mjx_metaworld.physics.model import PhysicsConfig
from mjx_metaworld.physics.spatial import fence

Array = jax.Array
Result = TypeVar("Result")


@struct.dataclass
class Layout:
    """Where the near pairs of a kind stand; arrays of pairs end in two axes (A, B)."""

    entry: Array  # (S, L) where a lane's slot stands in the flattened axes (A, B)
    near: Array  # (L,) int32: slots from this one on cannot touch within the control step
    starts: Array | None  # (T * L,) first entry of every lane of the chunk, where packed
    total: Array | None  # () entries in use, where packed
    blocks: int = struct.field(pytree_node=False)  # A
    width: int = struct.field(pytree_node=False)  # B

    @property
    def is_packed(self) -> bool:
        """Whether entries of all lanes of the chunk stand side by side."""
        return self.total is not None


def lay_out(near: Array, slots: int, config: PhysicsConfig) -> Layout:
    """Lay out up to `slots` pairs for each lane, of which the first `near` (L,) count."""
    lanes = near.shape[0]
    rows = jax.lax.broadcasted_iota(jnp.int32, (slots, lanes), 0)
    if not config.adaptive:
        entry = rows * lanes + jnp.arange(lanes, dtype=jnp.int32)
        return Layout(entry, near, None, None, blocks=slots, width=lanes)
    counts = jax.lax.all_gather(near, TILES).reshape(-1)
    width = min(config.pair_group, slots * counts.size)
    blocks = -(-slots * counts.size // width)
    ends = jnp.cumsum(counts, dtype=jnp.int32)
    starts = fence(ends - counts)
    first = jax.lax.dynamic_slice_in_dim(starts, jax.lax.axis_index(TILES) * lanes, lanes)
    entry = jnp.minimum(first + rows, blocks * width - 1)
    return Layout(fence(entry), near, starts, ends[-1], blocks=blocks, width=width)


def owners(layout: Layout, entry: Array) -> tuple[Array, Array]:
    """For entries (A, B) of a packed layout, the lane of the chunk and the slot of that lane."""
    assert layout.starts is not None
    lane = jnp.zeros_like(entry)
    lanes = layout.starts.shape[0]
    step = 1 << (max(lanes - 1, 1).bit_length() - 1)
    while step:
        probe = jnp.minimum(lane + step, lanes - 1)
        lane = jnp.where(layout.starts[probe] <= entry, probe, lane)
        step >>= 1
    return fence(lane, jnp.clip(entry - layout.starts[lane], 0, layout.entry.shape[0] - 1))


def all_tiles(x: Array, layout: Layout) -> Array:
    """(T, ...) an array of all tiles of the chunk where entries may be of any of them, else this tile's alone."""
    return jax.lax.all_gather(x, TILES) if layout.is_packed else x[None]


def take(x: Array, row: Array, lane: Array) -> Array:
    """Rows of lanes: from (T, n, ..., L) the (..., A, B) entries at rows (A, B) of lanes (A, B) of the chunk."""
    rows, *inner, lanes = x.shape[1:]
    size = math.prod(inner)
    first = (lane // lanes * rows + row) * (size * lanes) + lane % lanes
    index = fence(first + (np.arange(size, dtype=np.int32) * lanes)[:, None, None])
    found = x.reshape(-1).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return found.reshape(*inner, *row.shape)


def by_block(layout: Layout, fn: Callable[[Any], Result], pairs: Any) -> Result:
    """Apply a function of pairs to those in use.

    Args:
        layout: of the pairs.
        fn: from a pytree like `pairs`, with any number of blocks or slots, to one whose arrays end in the same axes.
        pairs: pytree of arrays that end in the layout's two axes.

    Returns:
        The function's results; zeros where a packed layout has no pairs.
    """
    if not layout.is_packed:
        return fn(pairs)
    leaves, structure = jax.tree.flatten(pairs)
    of_block = jax.jit(lambda block: fn(jax.tree.unflatten(structure, block)))  # traced once, for shapes and results

    def add(i: Array, found: Result) -> Result:
        block = rows_at(i, 1, *leaves, axis=-2)
        results = of_block(list(block) if len(leaves) > 1 else [block])
        return jax.tree.map(lambda x, rows: put_rows(x, rows, i, axis=-2), found, results)

    shapes = jax.eval_shape(of_block, [jax.ShapeDtypeStruct((*x.shape[:-2], 1, x.shape[-1]), x.dtype) for x in leaves])
    none = jax.tree.map(lambda x: jnp.zeros((*x.shape[:-2], layout.blocks, x.shape[-1]), x.dtype), shapes)
    assert layout.total is not None
    return jax.lax.fori_loop(0, -(-layout.total // layout.width), add, none)
