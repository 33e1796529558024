"""Faults of a user's own code, told in one line with the place of the fault."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from mjx_metaworld.inputs.faults import described, place_of

T = TypeVar("T")


def blamed(call: Callable[[], T], what: str) -> T:
    """Call a user's code.

    Args:
        call: calls it.
        what: names it in the error.

    Raises:
        ValueError: if it raises anything, with the reason and the user's line.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise ValueError(f"{what}: {described(error)}{place_of(error)}") from error


def defined_at(function: Any) -> str:
    """The file and line where a function begins, in brackets; empty of one that Python did not compile."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"
