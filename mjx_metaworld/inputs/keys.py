"""Random keys: taken in either of JAX's forms, kept as words in a state.

JAX's typed keys (`jax.random.key`) are no numbers: NumPy, flax, `np.savez` and orbax cannot hold them. So a state keeps
the words of its key, as `jax.random.PRNGKey` gives them, and beside them, as a constant, the generator that they belong
to.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt

from mjx_metaworld.physics.checks import check_integer

# A key of one environment, typed or raw; a raw one is of the generator that `jax_default_prng_impl` names.
PRNGKey: TypeAlias = Key[Array, ""] | UInt[Array, " words"]


def is_typed(key: Any) -> bool:
    """True for keys of `jax.random.key`, False for the words of `jax.random.PRNGKey`."""
    return jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key)


def as_typed(key: Any, impl: Any = None) -> Array:
    """A typed key of a key of either form; batches, too.

    Args:
        key: typed, or the words.
        impl: the generator that words belong to; by default JAX's default.

    Raises:
        TypeError: if it is neither.
    """
    if hasattr(key, "dtype"):
        if is_typed(key):
            return key
        if key.dtype == jnp.uint32:
            return jax.random.wrap_key_data(jnp.asarray(key), impl=impl)
    got = f"an array of {key.dtype}" if hasattr(key, "dtype") else repr(key)
    raise TypeError(f"key must be a random key, as jax.random.key(0) or jax.random.PRNGKey(0) makes one, got {got}")


def one_key(key: Any) -> Array:
    """A single typed key of a key of either form.

    Raises:
        TypeError: if it is neither, or a batch of keys.
    """
    typed = as_typed(key)
    if typed.shape:
        raise TypeError(f"key must be one random key, got {typed.shape} of them; jax.vmap takes a batch")
    return typed


def key_of_seed(seed: Any, impl: Any = None) -> Array:
    """The typed key of a seed; a larger one would be that of another seed, as JAX takes 32 bits of it.

    Args:
        seed: at least 0 and less than 2^32.
        impl: the generator; by default JAX's default.

    Raises:
        ValueError: if the seed is no such integer.
    """
    return jax.random.key(check_integer("seed", seed, 0, 2**32 - 1), impl=impl)


def as_words(key: Any) -> tuple[Array, Any]:
    """The words (words,) uint32 of a typed key, and the name of its generator."""
    return jax.random.key_data(key), jax.random.key_impl(key)
