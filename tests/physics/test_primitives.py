"""Our own primitives and look-ups against plain JAX: values, batches, derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.selection import _find, _words
from mjx_metaworld.physics.layout import components_first
from mjx_metaworld.physics.lookup import rows_of_lanes, take_row
from mjx_metaworld.physics.slices import index_at, slice_at, update_at

RNG = np.random.default_rng(0)
X, ROWS = jnp.asarray(RNG.normal(size=(3, 6, 5))), jnp.asarray(RNG.normal(size=(3, 2, 3)))


def test_rows_at():
    first = jnp.int32(3)
    np.testing.assert_array_equal(slice_at(first, 2, X[0]), X[0, 3:5])
    np.testing.assert_array_equal(slice_at(first, 2, X[0], axis=-1), X[0, :, 3:5])
    np.testing.assert_array_equal(jax.vmap(lambda x: slice_at(first, 2, x))(X), X[:, 3:5])
    last = jnp.int32(2)
    np.testing.assert_array_equal(jax.vmap(lambda x: index_at(x, last), in_axes=2, out_axes=1)(X), X[2])
    firsts = jnp.array([0, 4, 2])  # a place of their own for each
    expected = np.stack([X[i, first : first + 2] for i, first in enumerate(firsts)])
    np.testing.assert_array_equal(jax.vmap(lambda x, first: slice_at(first, 2, x))(X, firsts), expected)


def put(x, rows, first):
    x = np.array(x)
    x[first : first + 2, 1:4] = rows
    return x


def test_put_rows():
    def ours(x, rows, first):
        return update_at(x, rows, first, column=1)

    first, firsts = jnp.int32(3), jnp.array([0, 4, 2])
    np.testing.assert_array_equal(ours(X[0], ROWS[0], first), put(X[0], ROWS[0], 3))
    expected = np.stack([put(x, rows, 3) for x, rows in zip(X, ROWS, strict=True)])
    np.testing.assert_array_equal(jax.vmap(ours, in_axes=(0, 0, None))(X, ROWS, first), expected)
    expected = np.stack([put(x, ROWS[0], 3) for x in X])
    np.testing.assert_array_equal(jax.vmap(ours, in_axes=(0, None, None))(X, ROWS[0], first), expected)
    expected = np.stack([put(X[0], rows, 3) for rows in ROWS])
    np.testing.assert_array_equal(jax.vmap(ours, in_axes=(None, 0, None))(X[0], ROWS, first), expected)
    expected = np.stack([put(x, rows, at) for x, rows, at in zip(X, ROWS, firsts, strict=True)])
    np.testing.assert_array_equal(jax.vmap(ours)(X, ROWS, firsts), expected)


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 0)])
def test_derivatives(in_axes):
    def fn(x, rows):
        x = update_at(jnp.sin(x), rows * rows, jnp.int32(2), column=1)
        return components_first({"x": barrier(slice_at(jnp.int32(1), 3, x)) ** 2, "of": index_at(x, jnp.int32(4))})

    with jax.enable_x64(True):
        x, rows = np.asarray(X, np.float64), np.asarray(ROWS, np.float64)
        args = tuple(a if axis == 0 else a[0] for a, axis in zip((x, rows), in_axes, strict=True))
        check_grads(jax.jit(jax.vmap(fn, in_axes=in_axes)), args, order=1, modes=["fwd", "rev"])


def test_components_first_changes_nothing_but_the_layout():
    tree = {"flag": jnp.array([True, False, True]), "x": X, "count": jnp.array([7, 0, 123456])}
    found = jax.jit(jax.vmap(components_first))(tree)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, tree)
    jax.tree.map(np.testing.assert_array_equal, found, tree)


def test_tables_looked_up_at_once():
    tables = {"flag": RNG.random(7) > 0.5, "mat": RNG.normal(size=(7, 3, 3)), "count": RNG.integers(-9, 99999, (7, 2))}
    lanes = jnp.array([6, 0, 3, 3])
    found = rows_of_lanes(tables, lanes)
    for name, table in tables.items():
        np.testing.assert_array_equal(found[name], np.moveaxis(jnp.asarray(table)[lanes], 0, -1))
        np.testing.assert_array_equal(take_row(tables, jnp.int32(3))[name], jnp.asarray(table)[3])
        assert found[name].dtype == jnp.asarray(table).dtype


@pytest.mark.parametrize("total", [1, 31, 32, 33, 110])
def test_the_nth_bit_is_found(total):
    chosen = RNG.random((total, 50)) < RNG.random(50)
    words = _words(jnp.asarray(chosen))
    ends = jnp.cumsum(jax.lax.population_count(words).astype(jnp.int32), axis=0)
    np.testing.assert_array_equal(ends[-1], chosen.sum(0))
    places = np.asarray(jax.jit(_find)(words, ends, np.arange(1, total + 1, dtype=np.int32)[:, None]))
    for lane in range(chosen.shape[1]):
        expected = np.flatnonzero(chosen[:, lane])
        np.testing.assert_array_equal(places[: len(expected), lane], expected)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_fences_keep_lanes_last_off_cpu(platform):
    """They ask for a layout there and nothing else; on a CPU, for a call that is not inlined."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((3, 6, 5), (2, 5))]

    def lowered(platform: str) -> str:
        return jax.jit(barrier).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()

    module = lowered(platform)
    # Of the three axes alone, the last varies fastest; two are what XLA keeps by itself.
    assert module.count("@LayoutConstraint") == 1
    assert "result_layouts = [dense<[2, 1, 0]>" in module
    assert "inlineable" not in module
    assert "@LayoutConstraint" not in (on_cpu := lowered("cpu"))
    assert on_cpu.count('inlineable = "false"') == 1
    assert "tensor<3x6x1x5xf32>" in on_cpu  # no result there has its operand's shape, so none is computed in its place
