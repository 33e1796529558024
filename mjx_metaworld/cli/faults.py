"""Faults of a user's own code, told in one line with the place of the fault."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_LONGEST = 300  # characters of an error; JAX's explain themselves for pages


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
        raise ValueError(f"{what}: {_described(error)}{_place(error)}") from error


def defined_at(function: Any) -> str:
    """The file and line where a function begins, in brackets; empty of one that Python did not compile."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"


def _described(error: BaseException) -> str:
    text = str(error).strip()
    first = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} ..."
    if isinstance(error, FileNotFoundError | ImportError | ValueError) and text:
        return first
    return f"{type(error).__name__}: {first}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """The line of the user's file that failed, if it got that far."""
    frames = traceback.extract_tb(error.__traceback__)
    not_theirs = ("site-packages", "<", str(Path(__file__).parents[1]), importlib.__path__[0])
    theirs = [frame for frame in frames if not any(part in frame.filename for part in not_theirs)]
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
