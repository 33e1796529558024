"""Faults of a user's own code: the error in a few words, and the user's line that failed."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Collection
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_LIBRARY = Path(importlib.__path__[0]).parent  # Python's own modules
_INSTALLED = {"site-packages", "dist-packages"}
_LONGEST = 300  # characters of an error; JAX's explain themselves for pages


def described(error: BaseException) -> str:
    """The error's kind and what it says, shortened; no kind where the text alone tells."""
    text = str(error).strip()
    first = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} ..."
    if isinstance(error, FileNotFoundError | ImportError | ValueError) and text:
        return first
    return f"{type(error).__name__}: {first}" if text else type(error).__name__


def place_of(error: BaseException, packages: Collection[str] = ()) -> str:
    """The last line of the user's that an error passed, in brackets; empty if it passed none.

    Args:
        error: as it was caught.
        packages: names of the user's packages, which may be installed; other installed ones are not the user's.
    """
    steps = traceback.walk_tb(error.__traceback__)
    theirs = [(frame, line) for frame, line in steps if _is_theirs(frame.f_code.co_filename, frame.f_globals, packages)]
    if not theirs:
        return ""
    code, line = theirs[-1][0].f_code, theirs[-1][1]
    return f" ({code.co_filename}, line {line})"


def _is_theirs(file: str, names: dict[str, object], packages: Collection[str]) -> bool:
    """True of a user's code, by its file and the names of its module."""
    path = Path(file)
    if file.startswith("<") or path.is_relative_to(_PACKAGE):
        return False
    if str(names.get("__name__")).partition(".")[0] in packages:
        return True
    return not (path.is_relative_to(_LIBRARY) or _INSTALLED.intersection(path.parts))


def is_refusal(error: BaseException) -> bool:
    """True if a statement of this package raised the error, which then says what is wrong; no fault of its own."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return last is not None and Path(last.filename).is_relative_to(_PACKAGE) and (last.line or "").startswith("raise ")
