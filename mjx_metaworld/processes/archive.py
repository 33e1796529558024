"""Trees of this package's structs as plain data: a description in JSON's types, and arrays.

Reading one back makes objects of this package's own structs and of nothing besides, and runs no code that it holds.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import operator
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGE = __name__.split(".")[0]


def describe(tree: Any, leaves: list[Any]) -> Any:
    """Describe a tree, and append its arrays to `leaves`.

    Raises:
        TypeError: for an object that is no struct of this package, tuple, list, dict with strings as keys, number,
            string, None or array.
    """
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        leaves.append(tree)
        return {"leaf": len(leaves) - 1}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return {"value": tree}
    kind = type(tree)
    if kind in (tuple, list):
        return {kind.__name__: [describe(item, leaves) for item in tree]}
    if kind is dict and all(isinstance(key, str) for key in tree):
        return {"dict": {key: describe(tree[key], leaves) for key in sorted(tree)}}  # in JAX's order
    names = _field_names(kind)
    if names is None:
        raise TypeError(f"a {kind.__qualname__} cannot be kept in a file")
    fields = {name: describe(getattr(tree, name), leaves) for name in names}
    return {"struct": [kind.__module__, kind.__qualname__, fields]}


def rebuild(description: Any, leaves: Sequence[Any]) -> Any:
    """Make the tree that `describe` described.

    Raises:
        ValueError: if the description is none, or names what is no struct of this package.
    """
    try:
        kind, content = _only_item(description)
        if kind == "leaf":
            return leaves[operator.index(content)]
        if kind == "value" and (content is None or isinstance(content, (bool, int, float, str))):
            return content
        if kind in ("tuple", "list"):
            items = [rebuild(item, leaves) for item in content]
            return tuple(items) if kind == "tuple" else items
        if kind == "dict":
            return {key: rebuild(item, leaves) for key, item in content.items()}
        if kind == "struct":
            module, name, fields = content
            return _find_struct(module, name)(**{field: rebuild(item, leaves) for field, item in fields.items()})
    except (AttributeError, ImportError, IndexError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"no description of a tree: {error}") from error
    raise ValueError(f"no description of a tree: {description!r:.100}")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, each read to its end, where its checksum stands; nothing is unpickled.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is none, or has been cut or altered.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return {name.removesuffix(".npy"): _array(file.read(name)) for name in file.namelist()}
    except Exception as error:  # zipfile, zlib and numpy raise whatever they meet in a file that was altered
        raise ValueError(f"it is no file of arrays, or was altered: {error}") from error


def _array(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    array = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError("a member is longer than its array")
    return array


def _only_item(description: Any) -> tuple[str, Any]:
    if not isinstance(description, dict) or len(description) != 1:
        raise TypeError(f"{description!r:.100} has no kind")
    return next(iter(description.items()))


def _find_struct(module: str, name: str) -> type:
    # To import a module runs it: `__main__` is the command line.
    if module.split(".")[0] != _PACKAGE or module.split(".")[-1].startswith("__"):
        raise ValueError(f"{module}.{name} is no struct of {_PACKAGE}")
    found = getattr(importlib.import_module(module), name)
    if not inspect.isclass(found) or _field_names(found) is None:
        raise ValueError(f"{module}.{name} is no struct of {_PACKAGE}")
    return found


def _field_names(kind: type) -> tuple[str, ...] | None:
    """Fields of a dataclass or named tuple that this package defines; None of any other class."""
    if kind.__module__.split(".")[0] != _PACKAGE:
        return None
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", None)
