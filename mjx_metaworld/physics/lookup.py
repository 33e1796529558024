"""Look-up of rows in constant tables, all of them in one gather."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def take_row(tables: Any, row: Array) -> Any:
    """One row () of tables: a pytree of (...) from one of (n, ...), of numbers, booleans and small integers."""
    table, divide = _side_by_side(tables)
    return divide(jnp.asarray(table)[row])


def rows_of_lanes(tables: Any, row: Array) -> Any:
    """The rows (L,) that lanes have in tables: a pytree of (..., L) from one of (n, ...), as `take_row` takes it."""
    table, divide = _side_by_side(tables)
    return divide(jnp.asarray(table).at[row].get(mode="promise_in_bounds", wrap_negative_indices=False).T)


def _side_by_side(tables: Any) -> tuple[np.ndarray, Callable[[Array], Any]]:
    """Concatenate all leaves into one (n, columns) table; also the function that splits a row into the pytree again."""
    leaves, structure = jax.tree.flatten(tables)
    table = np.concatenate([np.asarray(x).reshape(len(x), -1) for x in leaves], axis=1)
    ends = np.cumsum([math.prod(x.shape[1:]) for x in leaves]).tolist()

    def divide(found: Array) -> Any:
        """Tables of (..., *lanes) from (columns, *lanes)."""
        columns = jnp.split(found, ends[:-1])
        return jax.tree.unflatten(structure, [_like(x, c) for x, c in zip(leaves, columns, strict=True)])

    return table, divide


def _like(x: np.ndarray, columns: Array) -> Array:
    shaped = columns.reshape(*x.shape[1:], *columns.shape[1:])
    return shaped.astype(jax.dtypes.canonicalize_dtype(x.dtype))
