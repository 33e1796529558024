"""Sharding of a train state over several devices: the environments' lanes divided, all else whole on each.

What an algorithm computes from the lanes is divided as they are, by jit's own partitioning. All functions take `lanes`,
which says how a leading axis of lanes lies on the devices (`VectorEnv.sharding`); None is one device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from mjx_metaworld.training.state_arrays import is_key, key_impl

Tree = TypeVar("Tree")
Out = TypeVar("Out")
Params = TypeVar("Params")
Rows = TypeVar("Rows")


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
    """The rows of a traced function's arrays divided among the devices; a number that does not divide stays whole.

    Each device makes all of them before it takes its share: of a sample that is needed in shares alone, the partitioner
    would divide what it is drawn from, and copy half of a replay buffer in every iteration.
    """
    if lanes is None or jax.tree.leaves(rows)[0].shape[0] % lanes.mesh.size:
        return rows
    return jax.lax.with_sharding_constraint(gather(rows, lanes), lanes)


def gradient(
    loss: Callable[[Params, Rows], tuple[Array, Out]], params: Params, rows: Rows, lanes: NamedSharding | None
) -> tuple[Params, Out]:
    """Gradient of a loss that is a mean over rows, and the figures beside it, means too.

    Each device takes a share of the rows where their number divides. What the devices exchange is one array: among
    processes each exchange costs the time of a message, and the partitioner makes one of every parameter.
    """
    of_rows = jax.grad(loss, has_aux=True)
    if lanes is None or jax.tree.leaves(rows)[0].shape[0] % lanes.mesh.size:
        return of_rows(params, rows)

    def of_share(params: Params, share: Rows) -> tuple[Params, Out]:
        found, restore = ravel_pytree(of_rows(params, share))
        return restore(jax.lax.pmean(found, lanes.mesh.axis_names))

    whole = PartitionSpec()
    divided = jax.shard_map(of_share, mesh=lanes.mesh, in_specs=(whole, lanes.spec), out_specs=whole, check_vma=False)
    return divided(params, rows)


def by_device(fn: Callable[[Tree], Out], lanes: NamedSharding | None) -> Callable[[Tree], Out]:
    """A function of arrays with a leading axis of lanes that each device computes for its own, such as their pictures.

    The partitioner cannot divide what is no operation of XLA's; it would gather all lanes on every device.
    """
    if lanes is None:
        return fn
    return jax.shard_map(fn, mesh=lanes.mesh, in_specs=lanes.spec, out_specs=lanes.spec, check_vma=False)


def reports(lanes: NamedSharding | None) -> NamedSharding | None:
    """Sharding of what a program reports to the host: of several processes' devices whole on each, else any."""
    if lanes is None or lanes.is_fully_addressable:
        return None
    return NamedSharding(lanes.mesh, PartitionSpec())


def place(tree: Tree, places: Any) -> Tree:
    """Put arrays on devices, also of other processes, where all processes have the same arrays.

    Args:
        tree: arrays of this process.
        places: a sharding, or one for each leaf.
    """
    if all(sharding.is_fully_addressable for sharding in jax.tree.leaves(places)):
        return jax.device_put(tree, places)
    if isinstance(places, NamedSharding):
        places = jax.tree.map(lambda _: places, tree)
    return jax.tree.map(_place_leaf, tree, places)


def _place_leaf(leaf: Array, sharding: NamedSharding) -> Array:
    if is_key(leaf):
        words = _place_leaf(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=key_impl(leaf))
    numbers = np.asarray(leaf)
    return jax.make_array_from_callback(numbers.shape, sharding, lambda part: numbers[part])


def fetch(tree: Tree) -> Tree:
    """Arrays without typed keys on the host, whole in every process, wherever they lie."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return jax.device_get(jax.tree.map(_own_part, _made_whole(tree)))


def own_part(tree: Tree) -> Tree:
    """Arrays that are whole on every device, as this process has them on its first."""
    return jax.tree.map(_own_part, tree)


def _own_part(leaf: Array) -> Array:
    return leaf if leaf.is_fully_addressable else leaf.addressable_data(0)


def _made_whole(tree: Tree) -> Tree:
    """Gather what is divided among processes, in one program."""
    leaves, structure = jax.tree.flatten(tree)
    divided = [i for i, leaf in enumerate(leaves) if not leaf.is_fully_addressable and not leaf.is_fully_replicated]
    if divided:
        whole = NamedSharding(leaves[divided[0]].sharding.mesh, PartitionSpec())
        gathered = _gathering(whole)([leaves[i] for i in divided])
        for i, leaf in zip(divided, gathered, strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


@functools.cache
def _gathering(whole: NamedSharding) -> Callable[[list[Array]], list[Array]]:
    return jax.jit(lambda leaves: leaves, out_shardings=whole)
