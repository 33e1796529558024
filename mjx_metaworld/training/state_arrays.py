"""Train states as arrays by name, as checkpoints hold them and processes send them: typed keys as their words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key


class NamedArrays(NamedTuple):
    """Parts of a train state."""

    arrays: Mapping[str, Any]  # by their paths; without empty ones
    key_impls: Mapping[str, str]  # implementation of each random key, by its path


def take_apart(state: Any) -> NamedArrays:
    """The leaves of a state by path."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    impls = {jax.tree_util.keystr(path): key_impl(leaf) for path, leaf in leaves if is_key(leaf)}
    return NamedArrays(_arrays_of(state), impls)


def put_together(parts: NamedArrays, template: Any) -> Any:
    """The state that `take_apart` took apart.

    Args:
        parts: of the state.
        template: a state of the same shapes.
    """

    def leaf_of(path: Any, leaf: Any) -> Array:
        if not leaf.size:
            return jnp.zeros(leaf.shape, leaf.dtype)
        name = jax.tree_util.keystr(path)
        array = parts.arrays[name]
        return jax.random.wrap_key_data(array, impl=parts.key_impls.get(name)) if is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(leaf_of, template)


def shapes_of(template: Any, places: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a state's arrays, with the shardings that they are to have.

    Args:
        template: a state, or its shapes.
        places: a sharding for each of its leaves.
    """
    by_name = {jax.tree_util.keystr(path): place for path, place in jax.tree_util.tree_leaves_with_path(places)}
    arrays = jax.eval_shape(_arrays_of, template)
    return {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=by_name[name]) for name, array in arrays.items()
    }


def key_impl(key: Key[Array, ""]) -> str:
    """Name of a random key's implementation, as `jax.random.key` takes it."""
    return str(jax.random.key_impl(key))


def is_key(leaf: Any) -> bool:
    """True of typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _arrays_of(state: Any) -> dict[str, Array]:
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if is_key(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if leaf.size
    }
