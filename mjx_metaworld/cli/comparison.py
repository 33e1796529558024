"""A policy's episodes here beside the same on CPU metaworld: figures by task, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.parity.reference import EpisodeOutcome


@dataclass(frozen=True)
class Comparison:
    """A task's success rate (at any step) and mean return on the same goals."""

    task: str
    success_here: float
    success_there: float
    return_here: float
    return_there: float


def compare(
    names: Sequence[str],
    stats: EpisodeStats,
    outcomes: Sequence[Sequence[EpisodeOutcome]],
) -> list[Comparison]:
    """Figures of every task.

    Args:
        names: of the tasks.
        stats: (tasks, goals) here.
        outcomes: of the reference, by task and goal.
    """
    return [
        Comparison(
            task=name,
            success_here=float(stats.success[i].mean()),
            success_there=float(np.mean([outcome.success for outcome in outcomes[i]])),
            return_here=float(stats.episode_return[i].mean()),
            return_there=float(np.mean([outcome.episode_return for outcome in outcomes[i]])),
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
        cells = (f"{row.success_here:.0%}", f"{row.success_there:.0%}")
        table.add_row(row.task, *cells, f"{row.return_here:.0f}", f"{row.return_there:.0f}")
    table.add_section()
    success = [float(np.mean([getattr(row, f"success_{side}") for row in rows])) for side in ("here", "there")]
    returns = [float(np.mean([getattr(row, f"return_{side}") for row in rows])) for side in ("here", "there")]
    table.add_row("mean", *(f"{value:.1%}" for value in success), *(f"{value:.0f}" for value in returns))
    return table
