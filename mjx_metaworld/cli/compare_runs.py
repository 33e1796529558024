"""`mjx-metaworld compare`: training runs side by side, seeds of one configuration together, as a table and a plot."""

from __future__ import annotations

import glob
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from mjx_metaworld.cli.output import prepare_output, print_line
from mjx_metaworld.cli.tables import divided_tables
from mjx_metaworld.training.aggregates import Estimate, Statistic, estimate, interquartile_mean, mean
from mjx_metaworld.training.curves import Axis, Curve, Group, common_end, group_curves, read_curve
from mjx_metaworld.training.plots import draw_groups

_SUFFIXES = (".png", ".svg", ".pdf")
_OWN_PATTERN = "a pattern in quotes ('out/train/*') leaves out what is no run with an evaluation"

# In words, with what a figure is divided by and how it is written.
_AXES: dict[Axis, tuple[str, float, str]] = {
    "env_steps": ("environment steps", 1.0, ",.0f"),
    "seconds": ("wall clock, in minutes", 60.0, ",.1f"),
}


@dataclass(frozen=True)
class Compare:
    """Compare training runs on the frozen goals."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN...")]  # folders of `train`, or patterns of such
    labels: tuple[str, ...] = ()  # of the groups in the order in which they appear; seeds of one thing are a group
    env_steps: int | None = None  # compare after so many; by default after as many as all have made
    minutes: float | None = None  # compare after so many; by default after as many as all have taken
    by_task: bool = False  # draw a panel a task, too
    output: Path = Path("out/compare.png")  # the plot: .png, .svg or .pdf

    def __post_init__(self) -> None:
        if self.output.suffix not in _SUFFIXES:
            raise ValueError(f"output must end in {', '.join(_SUFFIXES)}, got {self.output}")
        if self.env_steps is not None and not self.env_steps > 0:
            raise ValueError(f"env_steps must be positive, got {self.env_steps}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ValueError(f"minutes must be positive and finite, got {self.minutes:g}")


@dataclass(frozen=True)
class TaskFigure:
    """Success of a group in a task at the group's end; None where no place is known of all its runs."""

    task: str
    success: Estimate | None


@dataclass(frozen=True)
class Point:
    """Mean success of a group on the way."""

    place: float  # environment steps, or seconds
    success: Estimate


@dataclass(frozen=True)
class GroupFigures:
    """Success of runs that differ in their seeds, with intervals of 95 % where there are several."""

    label: str
    runs: list[str]  # folders
    env_steps: list[float]  # of each run up to the group's end, which is that of its shortest run; its own if none is
    seconds: list[float]
    mean: Estimate | None  # over runs and tasks, at the end; None where no place is known of all runs
    interquartile_mean: Estimate | None
    after_env_steps: Estimate | None  # mean at the place that all groups share; None where it is not known
    after_seconds: Estimate | None
    tasks: list[TaskFigure]
    over_env_steps: list[Point]
    over_seconds: list[Point]
    gaps: list[str]  # reasons why there is no mean over environment steps or wall clock


@dataclass(frozen=True)
class ComparedRuns:
    """Groups side by side, and the places at which they are compared."""

    env_steps: float
    seconds: float
    groups: list[GroupFigures]
    plot: str


def run_compare(args: Compare, console: Console) -> ComparedRuns:
    """Print a table of the groups and one of the tasks, and draw the curves.

    Raises:
        ValueError: for a folder that holds no run or none with an evaluation, for runs of different tasks, the same
            run twice, or another number of labels than of groups.
    """
    prepare_output(args.output)
    groups = group_curves(_read(args.runs), args.labels)
    env_steps = float(args.env_steps or common_end(groups, "env_steps"))
    seconds = 60.0 * args.minutes if args.minutes else common_end(groups, "seconds")
    figures = [_figures(group, env_steps, seconds) for group in groups]
    draw_groups(groups, args.output, by_task=args.by_task)
    console.print(*_tables(figures, env_steps, seconds, console.width), sep="\n")
    if len(groups[0].tasks) > 1:
        console.print(*_task_tables(figures, console.width), sep="\n")
    for reason in (reason for row in figures for reason in row.gaps):
        print_line(console, reason)
    console.print(
        "Success at any step on the frozen goals; middle half: interquartile mean over seeds and tasks. In brackets "
        "95 % of a bootstrap over the seeds, drawn for each task by itself: of few seeds it is too narrow. A run that "
        "ended at its bar counts as it ended from then on.",
        highlight=False,
    )
    print_line(console, f"{args.output}: curves of {sum(len(group.curves) for group in groups)} runs.")
    return ComparedRuns(env_steps, seconds, figures, str(args.output))


def _read(names: Sequence[str]) -> list[Curve]:
    """Curves of the folders that are named or match a pattern, each folder once.

    What matches a pattern and is no run with an evaluation is left out with a warning.
    """
    folders: dict[Path, Path] = {}
    named: set[Path] = set()
    for name in names:
        is_pattern = glob.has_magic(name) and not Path(name).exists()
        matching = [Path(path) for path in (sorted(glob.glob(name)) if is_pattern else [name])]
        if not matching:
            raise ValueError(f"no folder matches {name}")
        for path in matching:
            folders.setdefault(path.resolve(), path)
        named |= set() if is_pattern else {path.resolve() for path in matching}
    if not folders:
        raise ValueError("name at least one folder of a training run")
    curves = []
    for place, folder in folders.items():
        try:
            curves.append(read_curve(folder))
        except ValueError as error:
            if place in named:
                raise ValueError(f"{error}; {_OWN_PATTERN}" if len(named) > 1 else str(error)) from error
            warnings.warn(f"left out: {error}", stacklevel=2)
    if not curves:
        raise ValueError(f"no run with an evaluation matches {', '.join(names)}")
    return curves


def _figures(group: Group, env_steps: float, seconds: float) -> GroupFigures:
    is_known = group.gap("env_steps") is None
    end = group.end("env_steps") if is_known else np.inf
    last = group.scores("env_steps", np.array([end])) if is_known else None
    return GroupFigures(
        label=group.label,
        runs=[str(curve.folder) for curve in group.curves],
        env_steps=[min(end, float(curve.env_steps[-1])) for curve in group.curves],
        seconds=[float(np.interp(end, curve.env_steps, curve.seconds)) for curve in group.curves],
        mean=_single(last, mean),
        interquartile_mean=_single(last, interquartile_mean),
        after_env_steps=_at(group, "env_steps", env_steps),
        after_seconds=_at(group, "seconds", seconds),
        tasks=[
            TaskFigure(task, _single(None if last is None else last[:, :, i : i + 1], mean))
            for i, task in enumerate(group.tasks)
        ],
        over_env_steps=_points(group, "env_steps"),
        over_seconds=_points(group, "seconds"),
        gaps=_gaps(group),
    )


def _gaps(group: Group) -> list[str]:
    """Reasons why a group has no mean over environment steps or wall clock, with the runs that it is due to."""
    reasons = []
    for axis, (name, unit, form) in _AXES.items():
        if (gap := group.gap(axis)) is not None:
            first, last = gap
            reasons.append(
                f"{group.label}: no mean over {name}, since {first.folder} was last evaluated after "
                f"{first.end(axis) / unit:{form}} and {last.folder} first after {last.begin(axis) / unit:{form}}."
            )
    return reasons


def _single(scores: np.ndarray | None, statistic: Statistic) -> Estimate | None:
    if scores is None:
        return None
    (only,) = estimate(scores, statistic)
    return only


def _at(group: Group, axis: Axis, place: float) -> Estimate | None:
    """Mean at a place; None before all runs were evaluated, and where one of them had not come."""
    if not group.begin(axis) <= place <= group.known(axis):
        return None
    return _single(group.scores(axis, np.array([place])), mean)


def _points(group: Group, axis: Axis) -> list[Point]:
    places = group.places(axis)
    if not len(places):
        return []
    return [
        Point(float(place), success)
        for place, success in zip(places, estimate(group.scores(axis, places)), strict=True)
    ]


# --- tables ---


def _tables(figures: Sequence[GroupFigures], env_steps: float, seconds: float, width: int) -> Iterator[Table]:
    headings = ["seeds", "thousand\nsteps", "minutes", "mean", "middle\nhalf"]
    headings += [f"mean after\n{env_steps / 1e3:,.0f} k", f"mean after\n{seconds / 60:,.1f} min"]
    rows = []
    for row in figures:
        estimates = (row.mean, row.interquartile_mean, row.after_env_steps, row.after_seconds)
        extent = (_range([x / 1e3 for x in row.env_steps], ",.0f"), _range([x / 60 for x in row.seconds], ",.1f"))
        cells = [_shown(value).replace(" ", "\n", 1) for value in estimates]  # the interval below
        rows.append((row.label, str(len(row.runs)), *extent, *cells))
    return divided_tables(width, "runs", headings, rows, "success on the frozen goals")


def _task_tables(figures: Sequence[GroupFigures], width: int) -> Iterator[Table]:
    """A row a task, a column a group."""
    rows = []
    for task in figures[0].tasks:
        by_name = [next(other.success for other in row.tasks if other.task == task.task) for row in figures]
        rows.append((task.task, *map(_shown, by_name)))
    return divided_tables(width, "task", [row.label for row in figures], rows, "by task, at the end of each")


def _range(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low}\nto {high}"


def _shown(value: Estimate | None) -> str:
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.value:.1%}"
    return f"{value.value:.1%} [{100 * value.low:.0f}, {100 * value.high:.0f}]"
