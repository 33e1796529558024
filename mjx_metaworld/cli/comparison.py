"""A policy's episodes here beside the same on CPU metaworld: figures by task, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.parity.record import EpisodeOutcome


@dataclass(frozen=True)
class Comparison:
    """A task's success rate (at any step) and mean return on the same goals; None where metaworld lacks the task."""

    task: str
    success_here: float
    success_there: float | None
    return_here: float
    return_there: float | None


def compare(
    names: Sequence[str],
    stats: EpisodeStats,
    outcomes: Sequence[Sequence[EpisodeOutcome]],
) -> list[Comparison]:
    """Figures of every task.

    Args:
        names: of the tasks.
        stats: (tasks, goals) here.
        outcomes: of the reference, by task and goal; none of a task that it lacks.
    """
    return [
        Comparison(
            task=name,
            success_here=float(stats.success[i].mean()),
            success_there=_mean([outcome.success for outcome in outcomes[i]]),
            return_here=float(stats.episode_return[i].mean()),
            return_there=_mean([outcome.episode_return for outcome in outcomes[i]]),
        )
        for i, name in enumerate(names)
    ]


def comparison_table(title: str, rows: Sequence[Comparison]) -> Table:
    """A row a task, and their mean."""
    table = Table(title=title)
    table.add_column("task", no_wrap=True)
    for heading in ("success\nhere", "success\nCPU", "mean return\nhere", "mean return\nCPU"):
        table.add_column(heading, justify="right")
    for row in rows:
        _add_row(table, row.task, row, "{:.0%}")
    table.add_section()
    _add_row(table, "mean", _average(rows), "{:.1%}")
    return table


def _average(rows: Sequence[Comparison]) -> Comparison:
    """The mean over the tasks that have a figure."""

    def mean(name: str) -> float | None:
        return _mean([figure for figure in (getattr(row, name) for row in rows) if figure is not None])

    here = (mean("success_here") or 0.0, mean("return_here") or 0.0)
    return Comparison("mean", here[0], mean("success_there"), here[1], mean("return_there"))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _add_row(table: Table, name: str, row: Comparison, success: str) -> None:
    figures = ((row.success_here, success), (row.success_there, success), (row.return_here, "{:.0f}"))
    cells = ["-" if value is None else shown.format(value) for value, shown in (*figures, (row.return_there, "{:.0f}"))]
    table.add_row(name, *cells)
