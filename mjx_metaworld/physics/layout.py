"""Component-first, lanes-last layout, under `jax.vmap`, of arrays of single environments."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.flatten_util import ravel_pytree
from jax.interpreters import ad, batching, mlir

from mjx_metaworld.physics.barrier import barrier

Tree = TypeVar("Tree")


def components_first(tree: Tree) -> Tree:
    """Identity that `jax.vmap` maps to rows of one array, with the lanes contiguous in each row.

    Mapped as they come, the three numbers of a position lie next to each other, and code over lanes that reads them
    takes the compiler several times as many instructions to vectorize.
    """
    numbers, restore = ravel_pytree(tree)
    return restore(_components_first_p.bind(numbers))


_components_first_p = Primitive("components_first")
_components_first_p.def_impl(lambda x: x)
_components_first_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(_components_first_p, mlir.lower_fun(barrier, multiple_results=False))


def _batching_rule(operands: tuple[jax.Array], dims: tuple[int]) -> tuple[jax.Array, int]:
    (x,), (dim,) = operands, dims
    return _components_first_p.bind(jnp.moveaxis(x, dim, -1)), x.ndim - 1


batching.primitive_batchers[_components_first_p] = _batching_rule
ad.deflinear(_components_first_p, lambda cotangent: [_components_first_p.bind(cotangent)])
