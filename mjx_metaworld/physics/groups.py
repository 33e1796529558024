"""Loops over groups of contacts or pairs whose trip count is the largest that an environment at hand needs.

Most environments have few contacts while a few have dozens. A batch is laid out so that environments with alike costs
share a chunk and a tile (see `batching.py`), and a loop over groups then ends at the largest count in its chunk, or in
its tile where a stage runs tile by tile. That needs a trip count that depends on data, which serial hardware likes;
elsewhere all groups are visited (`Execution.early_exit`), or all contacts are one group (`contact_group`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.slices import index_at
from mjx_metaworld.physics.tiles import all_tiles, highest, tile_index

Carry = TypeVar("Carry")
Args = TypeVar("Args")
Result = TypeVar("Result")


def contacts_at_once(total: int, execution: Execution) -> int:
    """Contacts, of `total`, that are worked on together."""
    return execution.contact_group or total


def for_groups(
    total: int,
    size: int,
    needed: Array,
    execution: Execution,
    body: Callable[[Array, Carry], Carry],
    start: Carry,
) -> Carry:
    """Fold `body(first, carry)` over the groups that start at 0, size, 2 size, ...

    Args:
        total: number of rows.
        size: rows in a group; must divide `total`.
        needed: (L,) rows that each lane needs, counted from the first.
        execution: `early_exit` says whether groups beyond the largest need are left out.
        body: gets the first row of its group.
        start: the first carry.
    """
    if total % size:
        raise ValueError(f"groups of {size} do not make up {total} rows")
    count = -(-highest(needed) // size) if execution.early_exit else total // size
    if isinstance(count, int) and count == 1:
        return body(0, start)
    return jax.lax.fori_loop(0, count, lambda i, carry: body(i * size, carry), start)


def repeat(
    body: Callable[[Carry], Carry], start: Carry, finished: Callable[[Carry], Array], limit: int, ends_early: bool
) -> Carry:
    """Apply `body` `limit` times, or where `ends_early` until all lanes at hand have `finished` (L,)."""
    if not ends_early:
        return jax.lax.fori_loop(0, limit, lambda _, s: body(s), start)

    def unfinished(carry: tuple[Array, Array, Carry]) -> Array:
        count, pending, _ = carry
        return (count < limit) & pending

    def step(carry: tuple[Array, Array, Carry]) -> tuple[Array, Array, Carry]:
        count, _, s = carry
        s = body(s)
        return count + 1, highest(~finished(s)), s

    return jax.lax.while_loop(unfinished, step, (0, jnp.array(True), start))[2]


def tile_by_tile(
    fn: Callable[[Array, Array | int, Args], Result], shared: Array, args: Args, execution: Execution
) -> Result:
    """Apply a function to one tile after the other, so that its loops end with the busiest environment of a tile.

    Without `early_exit` it is applied to all tiles of the chunk at once.

    Args:
        fn: from rows, the first of them that is a tile's own, and the tile's part of `args`.
        shared: (K, ...) of a tile; too many to be copied for the few that are needed.
        args: pytree of arrays of a tile.
        execution: `early_exit`.
    """
    if not execution.early_exit:
        return fn(shared, 0, args)
    all_shared, all_args = jax.tree.map(all_tiles, (shared, args))
    leaves, structure = jax.tree.flatten(all_args)
    tiles, count, *shape = all_shared.shape
    flat = all_shared.reshape(tiles * count, *shape)

    def of_tile(tile: Array) -> Result:
        own = jax.tree.leaves(barrier(*(index_at(x, tile) for x in leaves)))  # one barrier for all of them
        return fn(flat, tile * count, jax.tree.unflatten(structure, own))

    found = jax.lax.map(of_tile, jnp.arange(tiles, dtype=jnp.int32))
    own = tile_index(shared)
    return jax.tree.map(lambda x: x[own], found)
