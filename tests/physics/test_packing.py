"""Near pairs packed across the environments of a chunk: none is lost, none is somebody else's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.physics.collision.packing import by_block, lay_out, look_up, take
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.tiles import TILES, all_tiles

TILES_OF_CHUNK, LANES = 3, 5
SLOTS = (4, 1, 6)
NEVER, ALL = "no pair is near", "all pairs are near"


def counts(which: int | str) -> list[np.ndarray]:
    """(T, L) near pairs of every kind."""
    shape = (TILES_OF_CHUNK, LANES)
    if isinstance(which, str):
        return [np.full(shape, slots if which == ALL else 0, np.int32) for slots in SLOTS]
    rng = np.random.default_rng(which)
    return [rng.integers(0, slots + 1, shape).astype(np.int32) for slots in SLOTS]


@pytest.mark.parametrize("early_exit", [False, True])
@pytest.mark.parametrize("width", [4, 64])
@pytest.mark.parametrize("which", [0, 1, NEVER, ALL])
def test_every_near_pair_meets_its_own_row(which, width, early_exit):
    """Every slot of every lane holds a number of its own; what comes back to the lanes is a function of theirs."""
    execution = Execution(early_exit=early_exit, pair_group=width)
    near = counts(which)
    total = sum(SLOTS)
    rows = np.arange(TILES_OF_CHUNK * total * 2 * LANES, dtype=np.float32).reshape(TILES_OF_CHUNK, total, 2, LANES)

    def of_tile(rows, *near):
        layouts = lay_out(list(near), list(SLOTS), execution)
        table = all_tiles(rows) if early_exit else rows[None]
        known = look_up(layouts, lambda slot, lane: take(table, slot, lane))
        found = []
        for layout in layouts:
            doubled = by_block(layout, lambda x: 2.0 * x, known)
            found.append(doubled.reshape(2, -1)[:, layout.entry])
        return found

    found = jax.jit(jax.vmap(of_tile, axis_name=TILES))(jnp.asarray(rows), *near)
    first = 0
    for ours, count, slots in zip(found, near, SLOTS, strict=True):
        theirs = np.moveaxis(2.0 * rows[:, first : first + slots], 2, 1)
        used = np.broadcast_to(np.arange(slots)[:, None] < count[:, None], theirs[:, 0].shape)
        np.testing.assert_array_equal(np.moveaxis(np.asarray(ours), 1, 0)[:, used], np.moveaxis(theirs, 1, 0)[:, used])
        first += slots
