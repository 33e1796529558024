"""Functions whose traced form is kept, so that the next process need not trace them: by `jax.export`, as StableHLO.

Tracing a step of 50 tasks takes longer than reading its compiled program. What is kept is found by the function's
identity (what computes, of which options and tables), the shapes of its arguments, this package's code, as written and
as it is in this process, the versions and the settings of JAX. A process computes by what it keeps, so that the next
one finds the same program.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax import export
from jax.core import Tracer

from mjx_metaworld.processes import archive
from mjx_metaworld.processes.cache import cache_folder, digest_of, read_arrays, source_digest, write_arrays
from mjx_metaworld.processes.code import digest_of_code
from mjx_metaworld.processes.programs import is_keeping, keep_program, machine_digest

Class = TypeVar("Class")

_FORMAT = 1  # raise it whenever this file keeps something else
# Settings of JAX that shape what is traced.
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_enable_checks",
    "jax_softmax_custom_jvp",
    "jax_legacy_prng_key",
    "jax_random_seed_offset",
)
# These look into what is computed, which an exported function hides.
_LOOKING = ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit", "jax_log_compiles", "jax_explain_cache_misses")


# Names of kernels that XLA calls; each tells which version it is.
_own_calls: set[str] = set()
# Classes whose method `identity` tells what their methods compute.
_telling: set[type] = set()

_MAPPED = jax.vmap(lambda x: x)  # what it is made of, in the installed version of JAX


class KeptFunction:
    """A function to be compiled by `jax.jit`: where its call is kept, its program is, and if it is known its trace.

    Equal to that of an equal function, so that `jax.jit` knows it again.

    Args:
        fn: the function.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptFunction) and self._fn == other._fn

    def __hash__(self) -> int:
        return hash((KeptFunction, self._fn))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, or what was kept of it."""
        if not is_keeping():
            return self._fn(*args, **kwargs)
        keep_program()
        identity = _identity(self._fn)
        leaves, tree = jax.tree.flatten((args, kwargs))
        if identity is None or not all(isinstance(leaf, Tracer) for leaf in leaves) or not can_export():
            return self._fn(*args, **kwargs)
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=jax.typeof(x).weak_type) for x in leaves]
        name = _file_name(identity, tree, shapes)
        found = _read(name) or _trace(self._fn, tree, shapes, name)
        if found is None:
            return self._fn(*args, **kwargs)
        exported, description = found
        return archive.rebuild(description, list(exported.call(*leaves)))


def _identity(fn: Callable[..., Any]) -> str | None:
    """Name of a function that is the same in all processes; None if it has none.

    Known are the methods of an object whose class `tells_identity`, and `jax.vmap` of what is known. A subclass may
    compute anything, and so may another class that has a method of that name.
    """
    if (mapped := _unmap(fn)) is not None:
        inner, axes = mapped
        told = _identity(inner)
        return None if told is None else f"vmap({axes}) of {told}"
    owner: Any = getattr(fn, "__self__", None)
    # A function that wraps a method, as by `functools.wraps`, has its attributes and is not equal to it.
    if type(owner) not in _telling or getattr(owner, fn.__name__, None) != fn:
        return None
    told = owner.identity()
    return None if told is None else f"{type(owner).__module__}.{type(owner).__qualname__}.{fn.__name__}:{told}"


def _unmap(fn: Callable[..., Any]) -> tuple[Callable[..., Any], str] | None:
    """The function that `jax.vmap` maps, and how; None for any other function, and for axes with names."""
    outer, mapped = _cells(_MAPPED), _cells(fn)
    if getattr(fn, "__code__", None) is not _MAPPED.__code__ or set(mapped) != {"fun"} or set(outer) != {"fun"}:
        return None
    template, cells = _cells(outer["fun"]), _cells(mapped["fun"])
    if getattr(mapped["fun"], "__code__", None) is not outer["fun"].__code__ or "fun" not in cells:
        return None
    how = {name: value for name, value in cells.items() if name != "fun" and value is not template[name]}
    return (cells["fun"], repr(sorted(how.items()))) if all(_is_plain(value) for value in how.values()) else None


def _cells(fn: Any) -> dict[str, Any]:
    """The variables that a function of Python has from outside."""
    code = getattr(fn, "__code__", None)
    contents = [cell.cell_contents for cell in getattr(fn, "__closure__", None) or ()]
    return {} if code is None else dict(zip(code.co_freevars, contents, strict=True))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int))


def tells_identity(cls: type[Class]) -> type[Class]:
    """Let the methods of a class be kept: its `identity()` names, alike in all processes, what these compute, or None.

    Its instances must tell there of every attribute that was overwritten.
    """
    _telling.add(cls)
    return cls


def allow_call(name: str) -> None:
    """Let functions that call a kernel of XLA's foreign function interface be kept; its name tells its version."""
    _own_calls.add(name)


def can_export() -> bool:
    """True where an exported function computes what the function does: on one CPU, with nothing looking into it."""
    looking = any(getattr(jax.config, name, False) for name in _LOOKING)
    alone = jax.default_backend() == "cpu" and jax.device_count() == 1
    return alone and not looking and cache_folder() is not None


def _file_name(identity: str, tree: Any, shapes: list[jax.ShapeDtypeStruct]) -> str:
    settings = [(name, repr(getattr(jax.config, name, None))) for name in _SETTINGS]
    code = _FORMAT, source_digest(), digest_of_code()
    around = jax.__version__, np.__version__, machine_digest(), os.environ.get("XLA_FLAGS")
    described = [(shape.shape, str(shape.dtype), shape.weak_type) for shape in shapes]
    return f"traces/{digest_of(code, around, settings, identity, str(tree), described)}"


def _read(name: str) -> tuple[export.Exported, Any] | None:
    arrays = read_arrays(name)
    if arrays is None:
        return None
    try:
        exported = export.deserialize(bytearray(arrays["function"].tobytes()))
        return exported, json.loads(arrays["results"].tobytes())
    except Exception:  # of another kind in each version of JAX; then the function is traced
        return None


def _trace(
    fn: Callable[..., Any], tree: Any, shapes: list[jax.ShapeDtypeStruct], name: str
) -> tuple[export.Exported, Any] | None:
    """Trace a function, and keep that; None if it cannot be exported, as with a call of the host."""
    described: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        args, kwargs = jax.tree.unflatten(tree, leaves)
        results: list[Any] = []
        described[:] = [archive.describe(fn(*args, **kwargs), results)]
        return results

    flat.__name__ = fn.__name__
    try:
        exported = export.export(
            jax.jit(flat), disabled_checks=[export.DisabledSafetyCheck.custom_call(name) for name in _own_calls]
        )(*shapes)
        if any(aval.weak_type for aval in exported.out_avals):
            return None  # which a file does not keep, so that the next process would compile other functions anew
        content = bytes(exported.serialize())
    except Exception:  # of another kind for each thing that cannot be exported; then the function is traced
        return None
    text = json.dumps(described[0]).encode()
    write_arrays(name, {"function": np.frombuffer(content, np.uint8), "results": np.frombuffer(text, np.uint8)})
    return exported, described[0]
