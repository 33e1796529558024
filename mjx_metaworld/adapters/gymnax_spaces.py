"""Spaces that clients of gymnax take for gymnax's, and those of gymnasium for gymnasium's."""

from __future__ import annotations

import functools
import operator
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Dict


class JaxBox(Box):
    """A gymnasium `Box` that also does what gymnax's does: draw from a key, and test arrays that JAX traces."""

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw a point: in JAX where the first argument is a key, of either kind; else as gymnasium does."""
        if not isinstance(mask, jax.Array):
            return super().sample(mask, probability)
        # As gymnasium draws: uniformly between two bounds, exponentially from one, and normally without.
        low, high = (np.where(np.isfinite(bound), bound, 0.0) for bound in (self.low, self.high))
        outwards = jax.random.exponential(mask, self.shape)
        from_one = jnp.where(self.bounded_below, low + outwards, high - outwards)
        from_none = jax.random.normal(mask, self.shape)
        uniform = jax.random.uniform(mask, self.shape, minval=low, maxval=np.maximum(low, high))
        open_box = jnp.where(self.bounded_below | self.bounded_above, from_one, from_none)
        return jnp.where(self.bounded_below & self.bounded_above, uniform, open_box).astype(self.dtype)

    def contains(self, x: Any) -> Any:
        """True if a point lies inside; of an array of JAX's, an array."""
        if not isinstance(x, jax.Array):
            return super().contains(x)
        return jnp.all(x >= self.low) & jnp.all(x <= self.high) if x.shape == self.shape else jnp.zeros((), bool)


def as_jax_box(space: Box) -> JaxBox:
    """A box with the bounds of another; an instance of gymnax's own class too, where gymnax has been loaded.

    Whoever asks for that class has loaded it. To import it here would take seconds, and gymnax is not needed.
    """
    gymnax = sys.modules.get("gymnax.environments.spaces")
    box = JaxBox if gymnax is None else _box_of_both(gymnax.Box)
    return box(space.low, space.high, dtype=np.dtype(space.dtype).type)


class JaxDict(Dict):
    """A gymnasium `Dict` of such boxes, which draws from a key and tests arrays that JAX traces, too."""

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw a point: in JAX where the first argument is a key, of either kind; else as gymnasium does."""
        if not isinstance(mask, jax.Array):
            return super().sample(mask, probability)
        keys = jax.random.split(mask, len(self.spaces))
        return {name: space.sample(key) for (name, space), key in zip(self.spaces.items(), keys, strict=True)}

    def contains(self, x: Any) -> Any:
        """True if all parts of a point lie inside; of arrays of JAX's, an array."""
        if not isinstance(x, dict) or x.keys() != self.spaces.keys():
            return False
        return functools.reduce(operator.and_, (space.contains(x[name]) for name, space in self.spaces.items()))


def _pickled(box: JaxBox) -> tuple[Any, ...]:
    return as_jax_box, (Box(box.low, box.high, dtype=np.dtype(box.dtype).type),)


@functools.cache
def _box_of_both(gymnax_box: type) -> type[JaxBox]:
    return type("JaxBox", (JaxBox, gymnax_box), {"__doc__": JaxBox.__doc__, "__reduce__": _pickled})
