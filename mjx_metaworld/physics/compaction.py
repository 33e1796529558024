"""Compaction of unconverged environments: gather them into sub-batches, the packs, and solve only those.

On hardware that runs all side by side a loop ends when the slowest of thousands of environments has finished, and all
pay for its length. So all environments get what nearly all of them need, and those that need more are solved in packs,
as many as it takes: nobody's result depends on how many others are in need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.tiles import highest

Array = jax.Array
Args = TypeVar("Args")
Result = TypeVar("Result")

# Lanes in a pack below which packs are not worth their loops.
_LEAST = 64


def compacted_size(lanes: int, execution: Execution) -> int:
    """Size of the sub-batch in which unconverged environments are solved; 0 solves the whole batch at once."""
    share = execution.compaction
    return lanes // share if share and not execution.early_exit and lanes >= _LEAST * share else 0


def apply_compacted(fn: Callable[[Args], Result], pending: Array, args: Args, found: Result, size: int) -> Result:
    """Replace the results of pending lanes by those of `fn`, one sub-batch after another.

    Args:
        fn: from the arguments of `size` lanes to their results.
        pending: (L,) bool.
        args: pytree of arrays (..., L).
        found: pytree of results (..., L), those of the lanes that are not pending.
        size: lanes in a pack.
    """

    def has_more(carry: tuple[Array, Array, Result]) -> Array:
        return carry[0]

    def add_sub_batch(carry: tuple[Array, Array, Result]) -> tuple[Array, Array, Result]:
        _, pending, found = carry
        number = jnp.cumsum(pending, dtype=jnp.int32)  # of a pending lane among such, from 1
        # Found by counting, which is one kernel. What is left of a pack repeats the last lane of all.
        members = jnp.sum(number <= np.arange(size, dtype=np.int32)[:, None], axis=1, dtype=jnp.int32)
        members = jnp.minimum(members, len(pending) - 1)
        results = fn(jax.tree.map(lambda x: _at(x, members), args))
        chosen = pending & (number <= size)
        place = jnp.clip(number - 1, 0, size - 1)
        found = jax.tree.map(lambda old, new: jnp.where(chosen, _at(new, place), old), found, results)
        pending = pending & ~chosen
        return highest(pending), pending, found

    return jax.lax.while_loop(has_more, add_sub_batch, (highest(pending), pending, found))[2]


def _at(x: Array, lanes: Array) -> Array:
    """(..., n) of an array (..., L) at lanes (n,)."""
    return x.at[..., lanes].get(mode="promise_in_bounds", wrap_negative_indices=False)
