"""Operations of one environment that see their whole batch: they stay one operation until a program is lowered.

`jax.vmap` of an ordinary function unfolds it at once, so that a loop, a branch or a sort over the batch has to be
written for the innermost `vmap`, and a second one, or a batch of one inside, turns branches into selections. An
operation from `batched` is unfolded by no transformation: its batching rule adds an axis and leaves it what it is.
Only when it is lowered are all axes that were added flattened into one, and the program of a flat batch is laid out.
So any number of `vmap`s, `scan`, and a `shard_map` with JAX's own checks all reach the same program.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from mjx_metaworld.physics.promotion import default_promotion

Tree = TypeVar("Tree")


@dataclass(frozen=True, eq=False)
class Operation:
    """The two forms of an operation; equal to itself alone, so that JAX's caches know it again."""

    name: str
    of_batch: Callable[..., Any]  # of arrays with one leading axis, the environments
    of_one: Callable[..., Any]  # of the arrays of one environment
    shapes: Callable[..., Any]  # of one environment's arguments, the shapes and types of its result
    # What it was compiled to where it was called outside any `jit`; kept here, to be freed with the operation.
    compiled: dict[Any, Callable[..., Any]] = field(default_factory=dict)


def batched(
    name: str,
    of_batch: Callable[..., Any],
    *,
    of_one: Callable[..., Any] | None = None,
    shapes: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """A function of one environment's pytrees from one of a batch's. It has no derivative of its own.

    Args:
        name: shown where a derivative is asked for.
        of_batch: of pytrees whose arrays have a leading axis of environments.
        of_one: computes the same for a single environment, without that axis. None: by a batch of one.
        shapes: of the arguments of one environment (anything with shape and dtype), the result's `ShapeDtypeStruct`s,
            so that a trace need not trace what is inside. None: by tracing it.
    """

    def batch_of_one(*args: Any) -> Any:
        return jax.tree.map(lambda x: x[0], of_batch(*jax.tree.map(lambda x: x[None], args)))

    alone = of_one or batch_of_one
    operation = Operation(name, of_batch, alone, shapes or functools.partial(jax.eval_shape, alone))

    def call(*args: Any) -> Any:
        args = varying_alike(jax.tree.map(jnp.asarray, args))
        leaves, structure = jax.tree.flatten(args)
        found, out_structure = jax.tree.flatten(operation.shapes(*args))
        # Arrays that nobody reads tell JAX the types of the results; inside `jax.shard_map` these are more than shapes.
        types = varying_alike(([jnp.zeros(x.shape, x.dtype) for x in found], leaves))[0]
        out = _operation_p.bind(*leaves, *types, operation=operation, structure=structure, depth=0)
        return jax.tree.unflatten(out_structure, out)

    return call


def varying_alike(tree: Tree) -> Tree:
    """The same arrays, which inside `jax.shard_map` all vary over the mesh axes over which any of them does."""
    leaves, structure = jax.tree.flatten(tree)
    axes = frozenset().union(*map(varying_axes, leaves))
    if not axes:
        return tree
    missing = [tuple(axes - varying_axes(x)) for x in leaves]
    cast = [jax.lax.pcast(x, m, to="varying") if m else x for x, m in zip(leaves, missing, strict=True)]
    return jax.tree.unflatten(structure, cast)


def varying_axes(x: jax.Array) -> frozenset[str]:
    """The mesh axes of an enclosing `jax.shard_map` over which an array varies."""
    kind = jax.typeof(x)  # JAX 0.10 has renamed `vma`
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma


_operation_p = Primitive("batched_operation")
_operation_p.multiple_results = True


@default_promotion
def _compute(*operands, operation: Operation, structure, depth: int):
    leaves = operands[: structure.num_leaves]
    if depth == 0:
        return jax.tree.leaves(operation.of_one(*jax.tree.unflatten(structure, leaves)))
    lead = leaves[0].shape[:depth]
    flat = [x.reshape(math.prod(lead), *x.shape[depth:]) for x in leaves]
    out = operation.of_batch(*jax.tree.unflatten(structure, flat))
    return [x.reshape(*lead, *x.shape[1:]) for x in jax.tree.leaves(out)]


@_operation_p.def_impl
def _impl(*operands, operation: Operation, structure, depth: int):
    compiled = operation.compiled
    if (structure, depth) not in compiled:
        compute = functools.partial(_compute, operation=operation, structure=structure, depth=depth)
        compiled[structure, depth] = jax.jit(compute)
    return compiled[structure, depth](*operands)


@_operation_p.def_abstract_eval
def _abstract_eval(*avals, operation: Operation, structure, depth: int):
    return avals[structure.num_leaves :]


def _batching_rule(operands, dims, *, operation: Operation, structure, depth: int):
    size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True) if dim is not None)
    front = [batching.bdim_at_front(x, dim, size) for x, dim in zip(operands, dims, strict=True)]
    out = _operation_p.bind(*front, operation=operation, structure=structure, depth=depth + 1)
    return out, [0] * len(out)


batching.primitive_batchers[_operation_p] = _batching_rule


def _no_derivative(primals, tangents, *, operation: Operation, structure, depth: int):
    raise NotImplementedError(
        f"{operation.name!r} has no derivative here: a step has one, in reverse mode and of first order, of its "
        "state and action; see docs/guides/gradients.md"
    )


ad.primitive_jvps[_operation_p] = _no_derivative

_lower_local = mlir.lower_fun(_compute, multiple_results=True)


def _lowering(ctx, *operands, **params):
    # What is inside computes one device's share and needs no notion of what varies between devices: loops in it start
    # from constants, which JAX's check would have to be told of one by one.
    local = [ShapedArray(x.shape, x.dtype) for x in ctx.avals_in]
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
        return _lower_local(ctx.replace(avals_in=local), *operands, **params)


mlir.register_lowering(_operation_p, _lowering)
