"""Choice among branches in a batch: all of them run, and each lane keeps the result of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mjx_metaworld.physics.promotion import default_promotion


def switch(index: Int[Array, ""], branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`jax.lax.switch` without the selections with which it guards every operand of every branch.

    In a batch `jax.lax.switch` cuts a branch's operands off from derivatives in the lanes that did not choose it, so
    that infinite slopes do no harm. With fifty branches of sixteen operands those selections are a sixth of what there
    is to trace in a step, and they are needed for derivatives alone: that is where they are made.

    Args:
        index: of the branch; of no account where there is one only.
        branches: functions of the operands, whose results have the same structure, shapes and types.
        operands: pytrees of arrays.
    """
    if len(branches) == 1:
        return branches[0](*operands)
    return _chooser(tuple(branches))(index, *operands)


@functools.lru_cache(maxsize=256)  # what is made anew is compiled anew
def _chooser(branches: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    @jax.custom_jvp
    def chosen(index: Array, *operands: Any) -> Any:
        outcomes = [branch(*operands) for branch in branches]
        return jax.tree.map(functools.partial(_select, index), *outcomes)

    @chosen.defjvp
    @default_promotion
    def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        index, *operands = primals
        moved = list(tangents[1:])
        # Backward, what an infinite slope of another branch makes of a cotangent of zero ends at the mask.
        outcomes = [
            jax.jvp(branch, operands, jax.tree.map(functools.partial(_where, index == i), moved))
            for i, branch in enumerate(branches)
        ]
        return jax.tree.map(functools.partial(_select, index), *outcomes)

    return jax.jit(chosen)


def _where(mask: Array, tangent: Any) -> Any:
    """A tangent, or zero where the mask is off; integers have tangents of no type."""
    return tangent if tangent.dtype == jax.dtypes.float0 else jnp.where(mask, tangent, 0.0)


def _select(index: Array, *cases: Any) -> Any:
    return cases[0] if cases[0].dtype == jax.dtypes.float0 else jax.lax.select_n(index, *cases)
