"""Exchange among the tiles of a block: the largest entry, all tiles' arrays, a tile's own number.

The physics is written for one tile and mapped over the tiles of a block (`batching.py`). JAX's collectives over a
mapped axis do the same but are typed by the axis where JAX checks what varies between devices, and a program that is
laid out while it is lowered inside `jax.shard_map` is checked so. These are operations whose batching rule answers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

Array = jax.Array

# The name of the axis of tiles over which `batching.py` maps the physics.
TILES = "tiles"


def highest(count: Array) -> Array:
    """() the largest entry of all lanes of all tiles."""
    return _highest_p.bind(jnp.max(count))


def all_tiles(x: Array) -> Array:
    """(tiles, ...) the arrays (...) of all tiles."""
    return _gather_p.bind(x, tiles=jax.lax.axis_size(TILES))


def tile_index(own: Array) -> Array:
    """() int32 number of the tile to which an array belongs."""
    return _index_p.bind(own)


_highest_p = Primitive("highest_of_tiles")
_highest_p.def_impl(lambda x: x)
_highest_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(_highest_p, lambda ctx, x: [x])
batching.primitive_batchers[_highest_p] = lambda args, dims: (_highest_p.bind(jnp.max(args[0], dims[0])), None)

_gather_p = Primitive("all_tiles")
_gather_p.def_abstract_eval(lambda x, tiles: ShapedArray((tiles, *x.shape), x.dtype))
# Only arrays that are the same for all tiles get so far.
mlir.register_lowering(
    _gather_p,
    mlir.lower_fun(lambda x, tiles: jnp.broadcast_to(x, (tiles, *x.shape)), multiple_results=False),
)
batching.primitive_batchers[_gather_p] = lambda args, dims, tiles: (jnp.moveaxis(args[0], dims[0], 0), None)

_index_p = Primitive("tile_index")
_index_p.def_abstract_eval(lambda x: ShapedArray((), jnp.int32))
batching.primitive_batchers[_index_p] = lambda args, dims: (jnp.arange(args[0].shape[dims[0]], dtype=jnp.int32), 0)
