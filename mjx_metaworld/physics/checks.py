"""Checks of numbers that callers give, so that all parts, from the engine to the adapters, refuse them alike."""

from __future__ import annotations

import operator

import numpy as np


def as_integer(value: object) -> int | None:
    """An `int` of everything that Python takes as an index, such as a numpy integer; None of all else.

    A bool is no integer here, nor is an array that JAX is tracing.
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # what has no __index__ raises
    except TypeError:
        return None


def check_integer(name: str, value: object, low: int = 1, high: int | None = None) -> int:
    """An argument as an `int` within bounds.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.
        low: the smallest that is allowed.
        high: the largest, if there is one.

    Raises:
        ValueError: if it is no integer, or out of bounds.
    """
    number = as_integer(value)
    if number is not None and low <= number and (high is None or number <= high):
        return number
    if high is not None:
        allowed = f"an integer from {low} to {high}"
    else:
        allowed = "a positive integer" if low == 1 else f"an integer >= {low}"
    raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_boolean(name: str, value: object) -> bool:
    """An argument as a `bool`; a text such as "no" would count as True.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.

    Raises:
        ValueError: if it is neither Python's nor numpy's.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {value!r}")


def check_offers(name: str, value: object, kind: str, *attributes: str) -> None:
    """Check by its attributes that an argument is of a kind, which wrappers of a user's own may be, too.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.
        kind: what it has to be, for the message.
        attributes: what anything of this kind has.

    Raises:
        TypeError: if it lacks one of them.
    """
    if not all(hasattr(value, attribute) for attribute in attributes):
        got = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
        raise TypeError(f"{name} must be {kind}, got {got}")


def as_numbers(value: object) -> tuple[float, ...] | None:
    """A sequence of finite numbers, such as an array of one axis, as Python's floats; None of all else."""
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError):  # rows of several lengths, or an array that JAX is tracing
        return None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        return None
    return tuple(numbers.astype(float).tolist())
