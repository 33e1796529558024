"""Records of a run as it goes: a table on the terminal, JSON lines, a curve, TensorBoard and other sinks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.training.checkpoint import Progress
from mjx_metaworld.training.plots import plot_success
from mjx_metaworld.training.records import (
    EVALUATION,
    ITERATION,
    METRICS_FILE,
    START,
    by_task,
    flatten,
    line_of,
    read_records,
)
from mjx_metaworld.training.requires import require
from mjx_metaworld.training.sinks import Sink, TensorBoard, write_to

PLOT_FILE = "success.png"
_HEADINGS = ("env steps", "wall clock", "left", "steps/s", "success", "return", "success", "return")
_WIDTHS = (11, 10, 8, 7, 7, 6, 7, 6)
_ABOVE = f"{'frozen goals':>{sum(_WIDTHS[:6]) + 10}}  {'training':>{sum(_WIDTHS[6:]) + 2}}"
_LEGEND = "Return: undiscounted, mean over episodes; on frozen goals to the first success."
_RATE_PERIOD = 600.0  # seconds of the past from which the time left is estimated: several iterations, evaluations, too
_DRAWING_SHARE = 0.02  # of the time that goes into curves at most, while a run goes on


class Recorder:
    """Writes a run's figures as they come, draws its curve, and shows a progress bar.

    Args:
        folder: the run's; records later than `resumed` are dropped, since they will come again.
        task_names: of the tasks, in the order of the reports' (tasks,) arrays.
        total: environment steps of the whole run.
        console: where table and bar go.
        resumed: where the run goes on.
        sinks: get the figures, too, beside TensorBoard; whoever made them closes them.

    Raises:
        ImportError: if tensorboardX or matplotlib is missing.
    """

    def __init__(
        self,
        folder: Path,
        task_names: Sequence[str],
        total: int,
        console: Console,
        resumed: Progress,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._folder = folder
        self._names = task_names
        self._total = total
        require("matplotlib.figure")  # now, so that no signal cuts short its import
        self._drawn = True  # nothing is there that the curve lacks
        self._next_drawing = 0.0
        self._console = console
        self._last = resumed
        self._report: dict[str, float] = {}
        self._file = folder / METRICS_FILE
        kept = [line for line in read_records(folder) if line["env_steps"] <= resumed.env_steps]
        partial = self._file.with_suffix(".tmp")  # a kill leaves the old records or the new ones
        partial.write_text("".join(map(line_of, kept)))
        partial.replace(self._file)
        self._board = TensorBoard(folder, resumed)
        self._sinks = tuple(sinks)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("env steps"))
        self._bars = Bars(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=_RATE_PERIOD,
            disable=not console.is_terminal,
        )
        self._write(START, resumed, {})
        self._bar = self._bars.add_task("compiling", total=None, completed=resumed.env_steps)

    def __enter__(self) -> Recorder:
        self._bars.start()
        if not self._console.is_terminal:  # which shows a bar
            self._console.print("Compiling what collects and learns.")
        self._console.print(_LEGEND, highlight=False, soft_wrap=True)
        for line in (_ABOVE, _row(_HEADINGS)):
            self._console.print(line, style="bold", highlight=False, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._board.close()
        # What has ended the run, a full disk, say, is not to hide behind a curve that cannot be drawn.
        with contextlib.nullcontext() if error is None else contextlib.suppress(Exception):
            self._draw()

    def iteration(self, progress: Progress, report: Any) -> None:
        """Take in what an iteration reported: a struct of scalars and (tasks,) arrays."""
        self._report = flatten(report, self._names)
        self._write(ITERATION, progress, self._report)
        self._bars.update(self._bar, description="training", total=self._total, completed=progress.env_steps)

    def watched(self, evaluate: Callable[[Any], EpisodeStats]) -> Callable[[Any], EpisodeStats]:
        """The evaluation, of which the bar says that it goes on; the first one compiles."""
        descriptions = iter(("compiling the evaluation",))

        def watched(state: Any) -> EpisodeStats:
            self._bars.update(self._bar, description=next(descriptions, "evaluating"))
            return evaluate(state)

        return watched

    def evaluation(self, progress: Progress, evaluation: EpisodeStats) -> None:
        """Take in an evaluation, and print a row of the table."""
        success, returns = evaluation.success.mean(1), evaluation.episode_return.mean(1)
        figures = {"success": float(success.mean()), "episode_return": float(returns.mean())}
        for name, mean_success, mean_return in zip(self._names, success, returns, strict=True):
            figures |= {f"success/{name}": float(mean_success), f"episode_return/{name}": float(mean_return)}
        self._write(EVALUATION, progress, figures)
        span = progress.seconds - self._last.seconds
        rate = (progress.env_steps - self._last.env_steps) / span if span > 0 else 0.0
        left = f"{_clock((self._total - progress.env_steps) / rate)}" if rate > 0 else "-"
        self._last = progress
        cells = (
            f"{progress.env_steps:,}",
            f"{progress.seconds:,.0f} s",
            left,
            f"{rate:,.0f}",
            f"{figures['success']:.1%}",
            f"{figures['episode_return']:.0f}",
            _shown(self._report.get("episodes.success"), ".1%"),
            _shown(self._report.get("episodes.episode_return"), ".0f"),
        )
        self._console.print(_row(cells), highlight=False, soft_wrap=True)
        self._drawn = False
        if time.perf_counter() >= self._next_drawing:
            self._draw()

    def _draw(self) -> None:
        """Draw the curve, if something new is known; the next one waits, so that the run does not."""
        if self._drawn:
            return
        start = time.perf_counter()
        plot_success([self._folder], self._folder / PLOT_FILE)
        end = time.perf_counter()
        self._drawn, self._next_drawing = True, end + (end - start) / _DRAWING_SHARE

    def _write(self, kind: str, progress: Progress, figures: dict[str, float]) -> None:
        finite = {name: value for name, value in figures.items() if np.isfinite(value)}
        line = {"kind": kind, "env_steps": progress.env_steps, "seconds": round(progress.seconds, 3), **finite}
        with self._file.open("a") as file:
            file.write(line_of(line))
        if finite:
            self._board.write(kind, progress, finite)
            for sink in self._sinks:
                write_to(sink, kind, progress, finite)


class Unrecorded:
    """Records of a process that leaves them to another."""

    def __enter__(self) -> Unrecorded:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def iteration(self, progress: Progress, report: Any) -> None:
        """Take nothing in."""

    def evaluation(self, progress: Progress, evaluation: EpisodeStats) -> None:
        """Take nothing in."""

    def watched(self, evaluate: Callable[[Any], EpisodeStats]) -> Callable[[Any], EpisodeStats]:
        """The evaluation, which nobody watches."""
        return evaluate


def task_table(folder: Path) -> Table | None:
    """Success and return of a run's last evaluation by task, and the best that any had; None of a single task."""
    records = read_records(folder, EVALUATION)
    success = [by_task(record, "success") for record in records]
    if not records or len(success[-1]) == 1:
        return None
    returns = by_task(records[-1], "episode_return")
    table = Table(title=f"after {records[-1]['env_steps']:,} env steps, on the frozen goals")
    table.add_column("task", overflow="fold")
    for heading in ("success", "mean\nreturn", "best\nsuccess", "after\nenv steps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for task in success[-1]:
        _add_row(table, task, success[-1][task], returns[task], [row[task] for row in success], records)
    table.add_section()
    means = [record["success"] for record in records]
    _add_row(table, f"mean of {len(success[-1])} tasks", means[-1], records[-1]["episode_return"], means, records)
    return table


def _add_row(
    table: Table, name: str, success: float, episode_return: float, every: list[float], records: list[dict[str, Any]]
) -> None:
    best = int(np.argmax(every))  # the first of several
    table.add_row(
        name, f"{success:.1%}", f"{episode_return:.0f}", f"{every[best]:.1%}", f"{records[best]['env_steps']:,}"
    )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None or np.isnan(value) else format(value, form)


def _row(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
