"""JAX's default promotion of ranks and types for code of this package, whatever the caller asks for his own.

`jax_numpy_rank_promotion="raise"` and `jax_numpy_dtype_promotion="strict"` find mistakes in a program under
development. The physics broadcasts by rank throughout; what the flags say about it is nothing that its caller can mend.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def default_promotion(fn: Callable[P, T]) -> Callable[P, T]:
    """A function that is traced under JAX's default rules of promotion."""

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return fn(*args, **kwargs)

    return call
