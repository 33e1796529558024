"""Output of commands: files, checked before the work of which they are the result, lines, and results as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def prepare_output(path: Path) -> None:
    """Make the folder of a file to be written, and check that it can be.

    Raises:
        ValueError: if it cannot, with the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output {path} cannot be written: {error.strerror}: {error.filename}") from error
    if path.is_dir():
        raise ValueError(f"output {path} is a folder; name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"output {path} cannot be written: no permission")


def print_line(console: Console, line: str) -> None:
    """Print a line with paths, names or commands in it: brackets are no markup, and a long line stays one."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def json_text(result: Any, indent: int | None = None) -> str:
    """JSON of nested dataclasses, with null for a number that is not finite, for which JSON has no word.

    Args:
        result: dataclasses, lists, dicts and plain values.
        indent: of nested lines; None writes one line.
    """
    return json.dumps(_plain(result), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
