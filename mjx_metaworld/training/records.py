"""Records of a run as JSON lines: the file, its reading, and figures by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

METRICS_FILE = "metrics.jsonl"
START, ITERATION, EVALUATION = "start", "iteration", "evaluation"  # kinds of lines; a start for each process


def read_records(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a run's records, by default of any kind; one that a kill cut short is left out."""
    file = folder / METRICS_FILE
    if not file.exists():
        return []
    records = []
    for line in file.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return [record for record in records if kind in (None, record["kind"])]


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
