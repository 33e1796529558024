"""A digest of code as it is in this process: of a function or constant that was replaced at run time it is another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGE = __name__.split(".")[0]
# What an environment is made of. Rooms above these compute nothing in it.
_ROOMS = ("physics", "tasks", "scenes", "build", "inputs", "randomise", "observation", "types", "compile")
_ROOMS += ("env", "vector")
_LIBRARY = str(Path(np.__file__).parents[1])
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...))


def digest_of_code() -> str:
    """Digest the functions, classes and constants of the loaded modules that an environment is made of."""
    digest = hashlib.sha256()
    for name in sorted(sys.modules):
        room = name.removeprefix(f"{_PACKAGE}.")
        if room != name and any(room == own or room.startswith(f"{own}.") for own in _ROOMS):
            digest.update("\0".join((*_of_namespace(vars(sys.modules[name]), name, set()), "")).encode())
    return digest.hexdigest()


def digest_of_value(value: Any) -> str:
    """Digest a value such as a declaration: the functions and numbers in it, but not what these functions look up."""
    return hashlib.sha256("\0".join(_of(value, set())).encode()).hexdigest()


def _of_namespace(namespace: Any, place: str, seen: set[int]) -> Iterator[str]:
    for name, value in sorted(namespace.items()):
        if not (name.startswith("__") and name.endswith("__")) or name in ("__call__", "__init__", "__post_init__"):
            yield f"{place}.{name}"
            yield from _of(value, seen)


def _of(value: Any, seen: set[int]) -> Iterator[str]:
    """Content of a value, without what differs from process to process, such as addresses and what caches hold."""
    yield type(value).__qualname__
    if isinstance(value, _CONSTANTS):
        yield repr(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _of(item, seen)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(repr(item) for item in value if isinstance(item, _CONSTANTS))
    elif isinstance(value, types.CodeType):
        yield from _of_code(value)
    elif isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    elif id(value) not in seen:
        seen.add(id(value))
        yield from _of_object(value, seen)


@functools.cache  # most of the time of a digest is for functions that nobody has replaced
def _of_code(code: types.CodeType) -> tuple[str, ...]:
    return code.co_code.hex(), repr(code.co_names), *_of(code.co_consts, set())


def _of_object(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, types.FunctionType):
        yield f"{value.__module__}.{value.__qualname__}"
        yield from _of(value.__code__, seen)
        if not _is_installed(value):
            yield from _of((value.__defaults__, sorted((value.__kwdefaults__ or {}).items())), seen)
            yield from _of([cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)], seen)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        if value.__module__.split(".")[0] == _PACKAGE:
            yield from _of_namespace(vars(value), value.__qualname__, seen)
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif dataclasses.is_dataclass(value):
        yield from _of([getattr(value, field.name) for field in dataclasses.fields(value)], seen)
    else:
        for name in ("__func__", "__wrapped__", "func", "fget", "args", "keywords"):
            if (part := getattr(value, name, None)) is not None:
                yield from _of(part if name != "keywords" else sorted(part.items()), seen)


def _is_installed(function: types.FunctionType) -> bool:
    """True for functions of other packages, such as JAX's, which their versions tell apart."""
    file = function.__code__.co_filename
    return function.__module__.split(".")[0] != _PACKAGE and file.startswith((_LIBRARY, "<frozen"))


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
