"""Checks of integers: what counts as one, and what the message says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.physics.checks import as_integer, as_numbers, check_boolean, check_integer


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), np.array(3), jnp.asarray(3)])
def test_whatever_python_takes_as_an_index_is_an_integer(value):
    number = as_integer(value)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None, [3]])
def test_nothing_else_is(value):
    assert as_integer(value) is None


def test_nor_is_a_traced_array():
    def double(x):
        assert as_integer(x) is None
        return 2 * x

    assert jax.jit(double)(3) == 6


@pytest.mark.parametrize(
    ("value", "low", "high", "message"),
    [
        (0, 1, None, "size must be a positive integer, got 0"),
        (True, 1, None, "size must be a positive integer, got True"),
        (2.5, 1, None, r"size must be a positive integer, got 2\.5"),
        (-1, 0, None, "size must be an integer >= 0, got -1"),
        (np.int64(9), 1, 8, r"size must be an integer from 1 to 8, got .*9"),
    ],
)
def test_messages_name_the_value_and_what_is_allowed(value, low, high, message):
    with pytest.raises(ValueError, match=message):
        check_integer("size", value, low, high)


@pytest.mark.parametrize("value", [True, np.True_])
def test_booleans_are_pythons_or_numpys(value):
    assert check_boolean("depth", value) is True


@pytest.mark.parametrize("value", ["no", 1, None, np.ones(2, bool)])
def test_nothing_else_is_a_boolean(value):
    with pytest.raises(ValueError, match="depth must be True or False, got"):
        check_boolean("depth", value)


@pytest.mark.parametrize("value", [(1, 2.5), [1, np.float32(2.5)], np.array([1, 2.5]), jnp.array([1.0, 2.5])])
def test_sequences_of_numbers_become_floats(value):
    assert repr(as_numbers(value)) == "(1.0, 2.5)"


@pytest.mark.parametrize("value", [1.0, None, "12", ("1", "2"), [[1.0]], [1, [2]], [True], [np.nan], [np.inf], [None]])
def test_other_values_are_no_numbers(value):
    assert as_numbers(value) is None


def test_nor_are_numbers_that_jax_is_tracing():
    jax.eval_shape(lambda x: [x, as_numbers(x)], jnp.ones(3))
    assert as_numbers(()) == ()
