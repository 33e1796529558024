"""Sharding of a train state over several devices: the environments' lanes divided, all else whole on each.

What an algorithm computes from the lanes is divided as they are, by jit's own partitioning. All functions take `lanes`,
which says how a leading axis of lanes lies on the devices (`VectorEnv.sharding`); None is one device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

Tree = TypeVar("Tree")
Out = TypeVar("Out")


def placement(state: Any, lanes: NamedSharding | None) -> Any:
    """The sharding of every leaf of a train state, or of its shapes, whose field `env_state` holds the lanes."""
    if lanes is None:
        here = jnp.zeros(()).sharding  # the default device
        return jax.tree.map(lambda _: here, state)
    whole = NamedSharding(lanes.mesh, PartitionSpec())
    env_state = jax.tree.map(lambda _: lanes, state.env_state)
    return jax.tree.map(lambda _: whole, state).replace(env_state=env_state)


def gather(tree: Tree, lanes: NamedSharding | None) -> Tree:
    """The arrays of a traced function, whole on every device."""
    if lanes is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(lanes.mesh, PartitionSpec()))


def divide(rows: Tree, lanes: NamedSharding | None) -> Tree:
    """The rows of a traced function's arrays divided among the devices; a number that does not divide stays whole."""
    if lanes is None or jax.tree.leaves(rows)[0].shape[0] % lanes.mesh.size:
        return rows
    return jax.lax.with_sharding_constraint(rows, lanes)


def by_device(fn: Callable[[Tree], Out], lanes: NamedSharding | None) -> Callable[[Tree], Out]:
    """A function of arrays with a leading axis of lanes that each device computes for its own, such as their pictures.

    The partitioner cannot divide what is no operation of XLA's; it would gather all lanes on every device.
    """
    if lanes is None:
        return fn
    return jax.shard_map(fn, mesh=lanes.mesh, in_specs=lanes.spec, out_specs=lanes.spec, check_vma=False)
