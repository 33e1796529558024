"""A policy's episodes here beside the same on CPU metaworld: figures by task, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from mjx_metaworld.cli.tables import OVER_TASKS, figure_table, mean_of
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.parity.record import EpisodeOutcome

_NOT_THERE = "Metaworld has no tasks with a dash, so there is nothing to compare these with."


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
    """A row a task, and below several their mean; on both sides of the same tasks."""
    shown, means = [_cells(row.task, row, "{:.0%}") for row in rows], []
    in_both = [row for row in rows if row.success_there is not None]
    if len(rows) > 1:
        without_there = len(in_both) < len(rows)
        means.append(_cells(mean_of(len(rows)), _average(rows, without_there), "{:.1%}"))
        if without_there and len(in_both) > 1:
            means.append(_cells(mean_of(len(in_both), " of metaworld's"), _average(in_both), "{:.1%}"))
    headings = ("success\nhere", "success\nCPU", "mean\nreturn\nhere", "mean\nreturn\nCPU")
    captions = [OVER_TASKS] if means else []
    captions += [_NOT_THERE] if len(in_both) < len(rows) else []
    return figure_table("task", headings, shown + means, title, {len(shown)}, " ".join(captions) or None)


def _average(rows: Sequence[Comparison], without_there: bool = False) -> Comparison:
    """The mean over tasks; without the side on which some have no figures."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(row, name) for row in rows]))

    success, returns = (None, None) if without_there else (mean("success_there"), mean("return_there"))
    return Comparison("mean", mean("success_here"), success, mean("return_here"), returns)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _cells(name: str, row: Comparison, success: str) -> list[str]:
    figures = ((row.success_here, success), (row.success_there, success), (row.return_here, "{:.0f}"))
    shown = ["-" if value is None else form.format(value) for value, form in (*figures, (row.return_there, "{:.0f}"))]
    return [name, *shown]
