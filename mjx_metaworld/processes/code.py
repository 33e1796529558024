"""A digest of code as it is in this process: of a function or constant that was replaced at run time it is another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_PACKAGE = __name__.split(".")[0]
# What an environment is made of. Rooms above these compute nothing in it.
_ROOMS = ("physics", "tasks", "scenes", "build", "inputs", "randomise", "observation", "types", "compile")
_ROOMS += ("env", "vector")
_LIBRARY = str(Path(np.__file__).parents[1])
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...))


class _Walk(NamedTuple):
    """A way through values that refer to one another."""

    seen: set[int]
    looks_up: bool  # whether what functions of others' modules look up there counts


def digest_of_code() -> str:
    """Digest the functions, classes and constants of the loaded modules that an environment is made of.

    Of a function from elsewhere that was put in the place of one of these, what it looks up in its own module counts,
    too: functions, numbers and arrays, and of other objects the class alone.
    """
    digest = hashlib.sha256()
    for name in sorted(sys.modules):
        room = name.removeprefix(f"{_PACKAGE}.")
        if room != name and any(room == own or room.startswith(f"{own}.") for own in _ROOMS):
            walk = _Walk(set(), looks_up=True)
            digest.update("\0".join((*_of_namespace(vars(sys.modules[name]), name, walk), "")).encode())
    return digest.hexdigest()


def digest_of_value(value: Any) -> str:
    """Digest a value such as a declaration: the functions and numbers in it, but not what these functions look up."""
    return hashlib.sha256("\0".join(_of(value, _Walk(set(), looks_up=False))).encode()).hexdigest()


def _of_namespace(namespace: Any, place: str, walk: _Walk) -> Iterator[str]:
    for name, value in sorted(namespace.items()):
        if not (name.startswith("__") and name.endswith("__")) or name in ("__call__", "__init__", "__post_init__"):
            yield f"{place}.{name}"
            yield from _of(value, walk)


def _of(value: Any, walk: _Walk) -> Iterator[str]:
    """Content of a value, without what differs from process to process, such as addresses and what caches hold."""
    yield type(value).__qualname__
    if isinstance(value, _CONSTANTS):
        yield repr(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _of(item, walk)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(repr(item) for item in value if isinstance(item, _CONSTANTS))
    elif isinstance(value, types.CodeType):
        yield from _of_code(value)
    elif isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    elif isinstance(value, jax.Array) and not isinstance(value, Tracer) and value.is_fully_addressable:
        yield from _of(_numbers(value), walk)
    elif id(value) not in walk.seen:
        walk.seen.add(id(value))
        yield from _of_object(value, walk)


def _numbers(array: jax.Array) -> np.ndarray:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():  # digests are asked for in the middle of a trace
            array = jax.random.key_data(array)
    return np.asarray(array)


@functools.cache  # most of the time of a digest is for functions that nobody has replaced
def _of_code(code: types.CodeType) -> tuple[str, ...]:
    return code.co_code.hex(), repr(code.co_names), *_of(code.co_consts, _Walk(set(), looks_up=False))


def _of_object(value: Any, walk: _Walk) -> Iterator[str]:
    if isinstance(value, types.FunctionType):
        yield f"{value.__module__}.{value.__qualname__}"
        yield from _of(value.__code__, walk)
        if not _is_installed(value):
            yield from _of((value.__defaults__, sorted((value.__kwdefaults__ or {}).items())), walk)
            yield from _of([cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)], walk)
            if walk.looks_up and value.__module__.split(".")[0] != _PACKAGE:
                found = {name: value.__globals__[name] for name in _names(value.__code__) & value.__globals__.keys()}
                yield from _of_namespace(found, value.__module__, walk)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        if value.__module__.split(".")[0] == _PACKAGE:
            yield from _of_namespace(vars(value), value.__qualname__, walk)
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif dataclasses.is_dataclass(value):
        yield from _of([getattr(value, field.name) for field in dataclasses.fields(value)], walk)
    else:
        for name in ("__func__", "__wrapped__", "func", "fget", "args", "keywords"):
            if (part := getattr(value, name, None)) is not None:
                yield from _of(part if name != "keywords" else sorted(part.items()), walk)


def _names(code: types.CodeType) -> set[str]:
    """Names that a function looks up, and the functions in it."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


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
