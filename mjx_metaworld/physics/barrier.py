"""Optimization barrier, as a primitive of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def barrier(*arrays: Any) -> Any:
    """Optimization barrier: keep XLA from recomputing the arrays inside every consumer.

    XLA's CPU backend duplicates a producer into every consumer that it fuses with; in a chain of small dependent
    steps the duplication is exponential. It drops `optimization_barrier` before it fuses (jaxlib 0.10.2), but does not
    fuse across a call that it may not inline. Elsewhere nothing is kept apart: XLA's GPU backend bounds what it
    duplicates, and barriers would cost it kernels and memory traffic (benchmarks/LOG.md, section 18). It is only asked
    to keep arrays as they are written, lanes last, where it would turn them around for a gather or a sum and back
    (section 20). Every stage boundary calls this one function, so that the choice stands in one place. Returns its
    arguments (one value when called with one).
    """
    leaves, structure = jax.tree.flatten(arrays)
    kept = jax.tree.unflatten(structure, _barrier_p.bind(*leaves))
    return kept[0] if len(arrays) == 1 else kept


# A primitive rather than a call within `jax.lax.platform_dependent`, which is six operations to trace and lower at each
# of three hundred places (benchmarks/LOG.md, sections 16 and 19).
_barrier_p = Primitive("optimization_barrier")
_barrier_p.multiple_results = True


@_barrier_p.def_impl
def _impl(*arrays):
    return arrays


@_barrier_p.def_abstract_eval
def _abstract_eval(*avals):
    return avals


def _call(*arrays):
    """Pass arrays through a call that XLA may not inline.

    With an axis of one more, so that no result has the shape of what it is computed from: XLA would let some results
    overwrite an operand, as its buffers happen to fall, and a loop that overwrites what it reads does not vectorize (5
    times as slow; benchmarks/LOG.md, section 26).
    """
    wide = [jnp.expand_dims(x, -2) if x.ndim > 1 else x for x in arrays]
    with set_xla_metadata(inlineable="false"):
        kept = _identity(*wide)
    return [k.reshape(x.shape) for k, x in zip(kept, arrays, strict=True)]


@jax.jit
def _identity(*arrays):
    return arrays


def _lanes_last(*arrays):
    """Fix the arrays' layout: the last axis is contiguous in memory."""
    return [with_layout_constraint(x, Layout(tuple(range(x.ndim)))) if x.ndim > 2 else x for x in arrays]


mlir.register_lowering(_barrier_p, mlir.lower_fun(_lanes_last, multiple_results=True))
mlir.register_lowering(_barrier_p, mlir.lower_fun(_call, multiple_results=True), platform="cpu")


def _batching_rule(arrays, axes):
    return _barrier_p.bind(*arrays), axes


batching.primitive_batchers[_barrier_p] = _batching_rule


def _barrier_linear(values):
    """Put a barrier on tangents or cotangents; symbolic zeros stay what they are."""
    kept = iter(_barrier_p.bind(*(v for v in values if type(v) is not ad.Zero)))
    return [v if type(v) is ad.Zero else next(kept) for v in values]


ad.primitive_jvps[_barrier_p] = lambda primals, tangents: (_barrier_p.bind(*primals), _barrier_linear(tangents))
ad.primitive_transposes[_barrier_p] = lambda cotangents, *arrays: _barrier_linear(cotangents)
