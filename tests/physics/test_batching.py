"""The layout of a batch, on functions of a line: batches of no environment, and of any number of chunks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.physics.batching import lanes_last


@pytest.mark.parametrize("size", [0, 5, 33])
@pytest.mark.parametrize("sorts", [False, True])
@pytest.mark.parametrize(("lanes", "chunk"), [(4, 8), (16, None), (0, 8)])
def test_a_batch_of_any_size_is_computed_lane_by_lane(size, sorts, lanes, chunk):
    order = (lambda x: -x[:, 0]) if sorts else None
    double = lanes_last(lambda x: 2.0 * x, lanes=lanes, chunk=chunk, order=order)
    x = np.arange(3.0 * size, dtype=np.float32).reshape(size, 3)
    np.testing.assert_array_equal(jax.jit(jax.vmap(double))(jnp.asarray(x)), 2.0 * x)
