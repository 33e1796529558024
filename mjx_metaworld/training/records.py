"""Records of a run as JSON lines: the file, its reading, and figures by name."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

METRICS_FILE = "metrics.jsonl"
START, ITERATION, EVALUATION = "start", "iteration", "evaluation"  # kinds of lines; a start for each process


_CHECKSUM = "crc"  # the last entry of a line: of the others


def line_of(record: dict[str, Any]) -> str:
    """Write a record as a line that `read_records` reads, with its checksum."""
    return json.dumps(record | {_CHECKSUM: _checksum(record)}) + "\n"


def read_records(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a run's records, by default of any kind.

    One that a kill cut short is left out. So is one that was altered, with a warning that names it.
    """
    file = folder / METRICS_FILE
    if not file.exists():
        return []
    lines = file.read_bytes().splitlines(keepends=True)
    found = [_record_of(line) for line in lines]
    checked = any(has_checksum for _, has_checksum in found)  # runs of before checksums were written have none at all
    records = []
    for number, (line, (record, has_checksum)) in enumerate(zip(lines, found, strict=True), 1):
        if record is not None and has_checksum == checked:
            records.append(record)
        elif number < len(lines) or line.endswith(b"\n"):
            warnings.warn(f"line {number} of {file} was altered and is left out", stacklevel=2)
    return [record for record in records if kind in (None, record["kind"])]


def _record_of(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """The record of a line, None of one that was cut short or altered, and whether it has a checksum that holds."""
    try:
        record = json.loads(line)
        checksum = record.pop(_CHECKSUM, None)
        if checksum is None and _ends_in_checksum(record):
            return None, False
        if {"kind", "env_steps"} <= record.keys() and checksum in (None, _checksum(record)):
            return record, checksum is not None
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    return None, False


def _ends_in_checksum(record: dict[str, Any]) -> bool:
    """True if the last entry is the checksum of the others, whose name was altered."""
    *others, (_, last) = record.items()
    return last == _checksum(dict(others))


def _checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record).encode())


def flatten(report: Any, task_names: Sequence[str]) -> dict[str, float]:
    """The figures of a report by name: nested fields joined by dots, a (tasks,) array as its mean and by task."""
    figures = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(report)):
        name = ".".join(entry.name for entry in path)
        if leaf.ndim:
            seen = leaf[np.isfinite(leaf)]
            figures[name] = float(seen.mean()) if seen.size else np.nan
            figures |= {f"{name}/{task}": float(value) for task, value in zip(task_names, leaf, strict=True)}
        else:
            figures[name] = float(leaf)
    return figures


def by_task(record: dict[str, Any], figure: str) -> dict[str, float]:
    """A figure of a record by task, such as "success" of an evaluation."""
    prefix = f"{figure}/"
    return {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}
