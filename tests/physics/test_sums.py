"""Sums and linear systems that are written out by platform: values in both forms, batches, derivatives."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mjx_metaworld.physics import linalg, spatial, sums
from mjx_metaworld.physics.collision.points import least
from mjx_metaworld.physics.slices import take

RNG = np.random.default_rng(0)
REDUCTIONS = {"add": np.sum, "max": np.max, "and": np.all}


def both_forms(op, *factors, axis):
    """What is lowered for a CPU and for other platforms."""
    return [form(*factors, op=op, axis=axis) for form in (sums._written_out, sums._reduced)]


@pytest.mark.parametrize("op", ["add", "max", "and"])
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_fold(op, axis):
    x = RNG.random((3, 4, 2, 5)) > 0.3 if op == "and" else RNG.normal(size=(3, 4, 2, 5)).astype(np.float32)
    expected = REDUCTIONS[op](x, axis=axis)
    for found in (sums.reduce_axis(op, jnp.asarray(x), axis), *both_forms(op, jnp.asarray(x), axis=axis % 4)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    mapped = jax.vmap(lambda x: sums.reduce_axis(op, x), in_axes=2, out_axes=1)(jnp.asarray(x))
    np.testing.assert_allclose(mapped, REDUCTIONS[op](x, axis=0), rtol=1e-5, atol=1e-6)


def test_contract():
    a, b = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((2, 3, 1, 5), (1, 3, 4, 5)))
    expected = np.einsum("ikl,kjl->ijl", a[:, :, 0], b[0])
    for found in (sums.sum_product(a, b, 1), *both_forms("add", a, b, axis=1)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    mapped = jax.vmap(lambda a: sums.sum_product(a, b, 1), in_axes=3)(jnp.stack([a, 2 * a], axis=3))
    np.testing.assert_allclose(mapped, np.stack([expected, 2 * expected]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no axis 0"):
        sums.sum_product(a, b, 0)


def test_derivatives_of_sums():
    def fn(a, b):
        return sums.sum_product(jnp.sin(a), b * b, 1) + sums.reduce_axis("add", a, 1) * sums.reduce_axis("max", b, 1)

    with jax.enable_x64(True):
        a, b = RNG.normal(size=(2, 3, 1, 5)), RNG.normal(size=(1, 3, 4, 5))
        check_grads(jax.jit(fn), (a, b), order=1, modes=["fwd", "rev"])
        mapped = jax.jit(jax.vmap(fn, in_axes=(0, None)))
        check_grads(mapped, (np.stack([a, 2 * a]), b), order=1, modes=["fwd", "rev"])


def systems(size):
    half = RNG.normal(size=(2, size, size, 4))
    matrix = np.einsum("tijl,tkjl->tikl", half, half) + np.eye(size)[:, :, None]
    return matrix, RNG.normal(size=(2, size, 4))


@pytest.mark.parametrize("size", [3, 6, 9, 18])
def test_solve_spd(size):
    matrix, rhs = systems(size)
    expected = np.linalg.solve(np.moveaxis(matrix, -1, 1), np.moveaxis(rhs, -1, 1)[..., None])[..., 0].swapaxes(1, 2)
    with jax.enable_x64(True):
        for block in (3, 9):  # of the CPU's form, and of the other platforms'
            found = jax.jit(functools.partial(linalg._batched, block, batch=1))(matrix, rhs)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(jax.jit(jax.vmap(linalg.solve_spd))(matrix, rhs), expected, rtol=1e-10, atol=1e-10)
        shared = jax.jit(jax.vmap(linalg.solve_spd, in_axes=(None, 0)))(matrix[0], rhs)
        np.testing.assert_allclose(shared[0], expected[0], rtol=1e-10, atol=1e-10)


def test_derivatives_of_solve_spd():
    def fn(matrix, rhs):
        return linalg.solve_spd(matrix + jnp.swapaxes(matrix, 0, 1), rhs * rhs)

    with jax.enable_x64(True):
        matrix, rhs = systems(6)
        check_grads(jax.jit(jax.vmap(fn)), (matrix, rhs), order=1, modes=["fwd", "rev"])


def test_solve_spd_refuses_what_it_cannot_solve():
    with pytest.raises(ValueError, match="multiple of 3"):
        linalg.solve_spd(jnp.zeros((4, 4, 2)), jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match="multiple of 3"):
        linalg.solve_spd(jnp.zeros((6, 6, 2)), jnp.zeros((3, 2)))


def test_both_forms_lower_for_another_platform():
    """The text for a GPU, without one: reductions there, none on a CPU."""
    fn = functools.partial(sums.sum_product, axis=0)
    x = jax.ShapeDtypeStruct((3, 8), jnp.float32)
    gpu, cpu = (jax.jit(fn).trace(x, x).lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "cpu"))
    assert "stablehlo.reduce" in gpu
    assert "stablehlo.reduce" not in cpu


def test_least_is_the_first_of_the_smallest():
    score = jnp.asarray(RNG.integers(0, 3, (7, 2, 50)), jnp.float32)
    values = jnp.asarray(RNG.normal(size=(3, 7, 2, 50)), jnp.float32)
    best, number, value = least(score, values)
    np.testing.assert_array_equal(best, score.min(0))
    np.testing.assert_array_equal(number, score.argmin(0))
    np.testing.assert_array_equal(value, np.take_along_axis(values, np.asarray(number)[None, None], 1)[:, 0])


def test_take():
    x = jnp.asarray(RNG.normal(size=(2, 5, 4)), jnp.float32)
    rows = np.array([[4, 0], [2, 2]])
    np.testing.assert_array_equal(take(x, rows, 1), np.asarray(x)[:, rows])
    np.testing.assert_array_equal(take(x, rows[1], 2), np.asarray(x)[:, :, rows[1]])


def test_plane_components():
    v = RNG.normal(size=(3, 2, 5)).astype(np.float32)
    crossed = spatial.axes_cross(jnp.asarray(v))
    for i in range(3):
        np.testing.assert_array_equal(crossed[:, i], np.cross(np.eye(3)[i], v, axisb=0, axisc=0))
    first, second = spatial.to_plane_components(crossed)
    np.testing.assert_array_equal(spatial.from_plane_components(first, second), crossed)
