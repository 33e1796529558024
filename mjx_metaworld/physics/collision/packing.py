"""Layout of the selected pairs of a kind: slot by slot for every lane, or packed across the lanes of a chunk.

Lanes differ much in how many of their pairs are near, and a loop over slots that ends at the largest count still visits
more than twice what there is. So, where loops may end early (`Execution.early_exit`), the near pairs of all lanes of
a chunk stand side by side, lane after lane, in blocks that fill the vector registers. Both layouts end in two axes:
slots and lanes, or blocks and entries of a block; what works on single pairs need not know which. What is known of a
pair is kept in arrays that all kinds share, one kind's blocks after the other's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from mjx_metaworld.physics import tiles
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.slices import slice_at, update_at

Array = jax.Array
Result = TypeVar("Result")


class Layout(struct.PyTreeNode):
    """Indices of the near pairs of a kind; arrays of pairs end in two axes (A, B)."""

    entry: Array  # (S, L) index of a lane's slot in the flattened axes (A, B)
    near: Array  # (L,) int32: slots from this one on cannot touch within the control step
    starts: Array | None  # (T * L,) first entry of every lane of the chunk, where packed
    total: Array | None  # () entries in use, where packed
    first: int = struct.field(pytree_node=False)  # the kind's place along A in arrays that all kinds share
    blocks: int = struct.field(pytree_node=False)  # A
    width: int = struct.field(pytree_node=False)  # B

    @property
    def is_packed(self) -> bool:
        """True if entries of all lanes of the chunk stand side by side."""
        return self.total is not None

    def place_of(self, x: Array) -> int:
        """First block of this kind in an array of this kind's pairs or of all kinds'."""
        return 0 if x.shape[-2] == self.blocks else self.first


def lay_out(near: list[Array], slots: list[int], execution: Execution) -> list[Layout]:
    """Lay out, for every kind, up to `slots` pairs for each lane, of which the first `near` (L,) count."""
    if execution.early_exit:
        return _packed(near, slots, execution)
    firsts = np.cumsum([0, *slots[:-1]]).tolist()
    return [_by_lane(*each) for each in zip(near, slots, firsts, strict=True)]


def _by_lane(near: Array, slots: int, first: int) -> Layout:
    lanes = near.shape[0]
    entry = jax.lax.broadcasted_iota(jnp.int32, (slots, lanes), 0) * lanes + jnp.arange(lanes, dtype=jnp.int32)
    return Layout(entry, near, None, None, first, blocks=slots, width=lanes)


def _packed(near: list[Array], slots: list[int], execution: Execution) -> list[Layout]:
    lanes, width = near[0].shape[0], execution.pair_group
    counts = jnp.moveaxis(tiles.all_tiles(jnp.stack(near)), 0, 1).reshape(len(near), -1)
    blocks = [-(-count * counts.shape[1] // width) for count in slots]
    first_blocks, first_slots = (np.cumsum([0, *x]).tolist() for x in (blocks, slots))
    ends = jnp.cumsum(counts, axis=1, dtype=jnp.int32)
    starts = barrier(ends - counts)
    own = slice_at(tiles.tile_index(near[0]) * lanes, lanes, starts, axis=1)
    # Row by row for the slots of all kinds: its kind, its number within the kind, and the kind's last entry.
    kind = np.repeat(np.arange(len(slots)), slots)
    number = (np.arange(len(kind)) - np.array(first_slots)[kind]).astype(np.int32)
    last = (np.array(blocks)[kind] * width - 1).astype(np.int32)
    entry = barrier(jnp.minimum(own[kind] + number[:, None], last[:, None]))
    entries = jnp.split(entry, first_slots[1:-1])
    return [
        Layout(entries[i], near[i], starts[i], ends[i, -1], first_blocks[i], blocks[i], width) for i in range(len(near))
    ]


def look_up(layouts: list[Layout], fn: Callable[[Array, Array], Result]) -> Result:
    """Gather the data of the pairs of all kinds into arrays that they share.

    Args:
        layouts: of the kinds.
        fn: from slots (A, B), counted through all kinds, and their lanes of the chunk (A, B) to arrays that end in the
            same axes.
    """
    counts = [layout.entry.shape[0] for layout in layouts]
    if not layouts[0].is_packed:
        slot = jax.lax.broadcasted_iota(jnp.int32, (sum(counts), layouts[0].width), 0)
        return fn(slot, jax.lax.broadcasted_iota(jnp.int32, slot.shape, 1))
    width = layouts[0].width
    # One loop over the blocks in use of one kind after the other: for each kind a loop of its own compiles longer.
    used = barrier(jnp.stack([-(-jnp.asarray(layout.total) // width) for layout in layouts]))
    ends = jnp.cumsum(used, dtype=jnp.int32)
    starts = jnp.stack([jnp.asarray(layout.starts) for layout in layouts])
    first_blocks, first_slots = (
        np.asarray(x, np.int32) for x in ([x.first for x in layouts], np.cumsum([0, *counts[:-1]]))
    )

    def block(kind: Array, number: Array) -> Result:
        entry = number * width + jnp.arange(width, dtype=jnp.int32)[None]
        lane, slot = _owners(starts[kind], entry, jnp.asarray(counts, jnp.int32)[kind])
        return fn(barrier(slot + jnp.asarray(first_slots)[kind]), lane)

    def add(i: Array, found: Result) -> Result:
        kind = jnp.sum(i >= ends, dtype=jnp.int32)
        number = i - (ends - used)[kind]
        place = jnp.asarray(first_blocks)[kind] + number
        return jax.tree.map(lambda x, rows: update_at(x, rows, place, axis=-2), found, block(kind, number))

    total = layouts[-1].first + layouts[-1].blocks
    shapes = jax.eval_shape(block, *[jax.ShapeDtypeStruct((), jnp.int32)] * 2)
    none = jax.tree.map(lambda x: jnp.zeros((*x.shape[:-2], total, x.shape[-1]), x.dtype), shapes)
    return jax.lax.fori_loop(0, ends[-1], add, none)


def _owners(starts: Array, entry: Array, slots: Array) -> tuple[Array, Array]:
    """Lane of the chunk, and slot of that lane, of packed entries (A, B); `starts` holds the lanes' first entries."""
    lane = jnp.searchsorted(starts, entry, side="right", method="scan_unrolled") - 1
    return barrier(lane, jnp.clip(entry - starts[lane], 0, slots - 1))


def all_tiles(x: Array, layout: Layout) -> Array:
    """Gather an array from all tiles of the chunk, (T, ...), where pairs are packed; else add an axis, (1, ...)."""
    return tiles.all_tiles(x) if layout.is_packed else x[None]


def take(x: Array, row: Array, lane: Array) -> Array:
    """Gather rows of lanes: from (T, n, ..., L) the (..., A, B) at rows (A, B) of lanes (A, B) of the chunk."""
    rows, *inner, lanes = x.shape[1:]
    size = math.prod(inner)
    return _entries(x, (lane // lanes * rows + row) * (size * lanes) + lane % lanes, lanes, inner)


def take_shared(x: np.ndarray, row: Array) -> Array:
    """Gather rows of a table that all lanes share: from (n, ...) the (..., A, B) at rows (A, B)."""
    return _entries(jnp.asarray(x), row * math.prod(x.shape[1:]), 1, list(x.shape[1:]))


def _entries(x: Array, first: Array, stride: int, inner: list[int]) -> Array:
    """(*inner, A, B) entries of `x`, those of an entry (A, B) `stride` apart from `first` (A, B) on."""
    steps = np.arange(math.prod(inner), dtype=np.int32) * stride
    index = barrier(first + steps[:, None, None])
    found = x.reshape(-1).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return found.reshape(*inner, *first.shape)


def by_block(layout: Layout, fn: Callable[[Any], Result], pairs: Any) -> Result:
    """Apply a function of pairs to those in use of one kind.

    Args:
        layout: of the kind.
        fn: from a pytree like `pairs`, with any number of blocks or slots, to one whose arrays end in the same axes.
        pairs: pytree of arrays that end in the kind's two axes, or in those that all kinds share.

    Returns:
        The function's results, in the kind's two axes; zeros where a packed layout has no pairs.
    """
    leaves, structure = jax.tree.flatten(pairs)
    places = [layout.place_of(x) for x in leaves]
    if not layout.is_packed:
        own = [x[..., place : place + layout.blocks, :] for x, place in zip(leaves, places, strict=True)]
        return fn(jax.tree.unflatten(structure, own))
    of_block = jax.jit(lambda block: fn(jax.tree.unflatten(structure, block)))  # traced once, for shapes and results

    def add(i: Array, found: Result) -> Result:
        block = [slice_at(place + i, 1, x, axis=-2) for x, place in zip(leaves, places, strict=True)]
        return jax.tree.map(lambda x, rows: update_at(x, rows, i, axis=-2), found, of_block(block))

    shapes = jax.eval_shape(of_block, [jax.ShapeDtypeStruct((*x.shape[:-2], 1, x.shape[-1]), x.dtype) for x in leaves])
    none = jax.tree.map(lambda x: jnp.zeros((*x.shape[:-2], layout.blocks, x.shape[-1]), x.dtype), shapes)
    assert layout.total is not None
    return jax.lax.fori_loop(0, -(-layout.total // layout.width), add, none)
