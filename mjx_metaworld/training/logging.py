"""Records of a run as it goes: a table on the terminal, JSON lines, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.training.checkpoint import Progress
from mjx_metaworld.training.records import EVALUATION, ITERATION, METRICS_FILE, flatten, read_records
from mjx_metaworld.training.requires import require

_HEADINGS = ("env steps", "wall clock", "steps/s", "success", "return", "train success", "train return")
_WIDTHS = tuple(max(9, len(heading)) for heading in _HEADINGS)
_RATE_PERIOD = 600.0  # seconds of the past from which the time left is estimated: several iterations, evaluations, too


class Recorder:
    """Writes a run's figures as they come, and shows a progress bar.

    Args:
        folder: the run's; records later than `resumed` are dropped, since they will come again.
        task_names: of the tasks, in the order of the reports' (tasks,) arrays.
        total: environment steps of the whole run.
        console: where table and bar go.
        resumed: where the run goes on.

    Raises:
        ImportError: if tensorboardX is missing.
    """

    def __init__(
        self, folder: Path, task_names: Sequence[str], total: int, console: Console, resumed: Progress
    ) -> None:
        self._names = task_names
        self._console = console
        self._last = resumed
        self._report: dict[str, float] = {}
        self._file = folder / METRICS_FILE
        kept = [line for line in read_records(folder) if line["env_steps"] <= resumed.env_steps]
        partial = self._file.with_suffix(".tmp")  # a kill leaves the old records or the new ones
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        partial.replace(self._file)
        writer = require("tensorboardX").SummaryWriter
        self._board = writer(str(folder / "tensorboard"), purge_step=resumed.env_steps + 1)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("env steps"))
        self._bars = Bars(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=_RATE_PERIOD,
        )
        self._bar = self._bars.add_task("compiling", total=total, completed=resumed.env_steps)

    def __enter__(self) -> Recorder:
        self._bars.start()
        self._console.print(_row(_HEADINGS), style="bold", highlight=False, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._board.close()

    def iteration(self, progress: Progress, report: Any) -> None:
        """Take in what an iteration reported: a struct of scalars and (tasks,) arrays."""
        self._report = flatten(report, self._names)
        self._write(ITERATION, progress, self._report)
        self._bars.update(self._bar, description="training", completed=progress.env_steps)

    def evaluation(self, progress: Progress, evaluation: EpisodeStats) -> None:
        """Take in an evaluation, and print a row of the table."""
        success, returns = evaluation.success.mean(1), evaluation.episode_return.mean(1)
        figures = {"success": float(success.mean()), "episode_return": float(returns.mean())}
        for name, mean_success, mean_return in zip(self._names, success, returns, strict=True):
            figures |= {f"success/{name}": float(mean_success), f"episode_return/{name}": float(mean_return)}
        self._write(EVALUATION, progress, figures)
        span = progress.seconds - self._last.seconds
        rate = (progress.env_steps - self._last.env_steps) / span if span > 0 else 0.0
        self._last = progress
        cells = (
            f"{progress.env_steps:,}",
            f"{progress.seconds:,.0f} s",
            f"{rate:,.0f}",
            f"{figures['success']:.1%}",
            f"{figures['episode_return']:.0f}",
            _shown(self._report.get("episodes.success"), ".1%"),
            _shown(self._report.get("episodes.episode_return"), ".0f"),
        )
        self._console.print(_row(cells), highlight=False, soft_wrap=True)

    def _write(self, kind: str, progress: Progress, figures: dict[str, float]) -> None:
        finite = {name: value for name, value in figures.items() if np.isfinite(value)}
        line = {"kind": kind, "env_steps": progress.env_steps, "seconds": round(progress.seconds, 3), **finite}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in finite.items():
            self._board.add_scalar(f"{kind}/{name}", value, progress.env_steps)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None or np.isnan(value) else format(value, form)


def _row(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
