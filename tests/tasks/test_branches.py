"""The choice among branches, beside `jax.lax.switch`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.tasks.branches import switch

BRANCHES = (
    lambda x, flag: {"value": jnp.sum(x), "flag": flag},
    lambda x, flag: {"value": jnp.sqrt(x[0]) * x[1], "flag": ~flag},  # of infinite slope at zero
    lambda x, flag: {"value": 1.0 / x[0], "flag": flag | (x[1] > 1.0)},
)
X = jnp.array([[0.0, 2.0], [4.0, 3.0], [0.5, 1.0], [0.0, 1.5]])
INDEX = jnp.array([0, 1, 2, 0], jnp.int32)
FLAG = jnp.array([True, False, False, True])


@pytest.mark.parametrize("compile_with", [lambda fn: fn, jax.jit])
def test_each_lane_gets_its_own_branch(compile_with):
    def both(which):
        return compile_with(jax.vmap(lambda i, x, flag: which(i, BRANCHES, x, flag)))(INDEX, X, FLAG)

    for actual, expected in zip(jax.tree.leaves(both(switch)), jax.tree.leaves(both(jax.lax.switch)), strict=True):
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype


def test_infinite_slopes_of_other_branches_do_not_reach_a_derivative():
    def total(x):
        return jnp.sum(jax.vmap(lambda i, x, flag: switch(i, BRANCHES, x, flag)["value"])(INDEX, x, FLAG))

    expected = [[1.0, 1.0], [0.75, 2.0], [-4.0, 0.0], [1.0, 1.0]]
    np.testing.assert_allclose(jax.grad(total)(X), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(total, (X,), (jnp.ones_like(X),))[1], np.sum(expected), rtol=1e-6)
