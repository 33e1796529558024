"""Plots of success on the frozen goals over environment steps and over wall clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mjx_metaworld.training.aggregates import Estimate, estimate
from mjx_metaworld.training.curves import Axis, Group
from mjx_metaworld.training.records import EVALUATION, read_records
from mjx_metaworld.training.requires import require

_DPI = 120
_PANELS_A_ROW = 5


class _Scale(NamedTuple):
    axis: Axis
    unit: float
    label: str


_SCALES = (
    _Scale("env_steps", 1e6, "environment steps (millions)"),
    _Scale("seconds", 60.0, "wall clock (minutes, with compiling)"),
)


def plot_success(folders: Sequence[Path | str], output: Path | str) -> None:
    """Draw success on the frozen goals over environment steps and over wall clock, a line a run.

    Args:
        folders: of the runs, which the legend names, by their paths where two have the same name.
        output: the picture.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if a folder has no evaluation, or is there twice.
    """
    folders = [Path(folder) for folder in folders]
    curves, names = {}, [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"each run is drawn once, got {repeated[0]} {names.count(repeated[0])} times")
    for folder, name in zip(folders, names, strict=True):
        records = read_records(folder, EVALUATION)
        if not records:
            raise ValueError(f"{folder} has no evaluation to plot")
        curves[name] = [(record["env_steps"], record["seconds"], record["success"]) for record in records]
    draw_success(curves, Path(output))


def draw_success(curves: Mapping[str, Sequence[tuple[float, float, float]]], output: Path) -> None:
    """Draw curves of success by their names, each of (environment steps, seconds, success in [0, 1]).

    Raises:
        ImportError: if matplotlib is missing.
    """
    figure = require("matplotlib.figure").Figure(figsize=(9, 3.5), layout="constrained")
    lines: dict[str, Any] = {}
    for axes, scale in zip(figure.subplots(1, 2, sharey=True), _SCALES, strict=True):
        column = _SCALES.index(scale)
        for name, curve in curves.items():
            points = [(point[column] / scale.unit, 100 * point[2]) for point in curve]
            lines.setdefault(name, axes.plot(*zip(*points, strict=True), marker=".")[0])
        _dress(axes, scale)
    figure.axes[0].set_ylabel("success on frozen goals (%)")
    _legend(figure.axes[0], lines)
    _save(figure, output)


def draw_groups(groups: Sequence[Group], output: Path, *, by_task: bool = False) -> None:
    """Draw the mean success of groups of runs, with their intervals and each run behind them.

    Args:
        groups: of the same tasks.
        output: the picture.
        by_task: draw a panel a task, too, over environment steps.

    Raises:
        ImportError: if matplotlib is missing.
    """
    tasks = groups[0].tasks if by_task else ()
    rows = -(-len(tasks) // _PANELS_A_ROW)
    size = (10, 3.8 + 1.9 * rows)
    whole = require("matplotlib.figure").Figure(figsize=size, layout="constrained")
    above, below = (whole, None) if not rows else whole.subfigures(2, 1, height_ratios=(3.8, 1.9 * rows))
    lines: dict[str, Any] = {}
    for axes, scale in zip(above.subplots(1, 2, sharey=True), _SCALES, strict=True):
        for i, group in enumerate(groups):
            lines.setdefault(f"{group.label} ({len(group.curves)})", _draw_group(axes, group, scale, f"C{i}"))
        _dress(axes, scale)
    above.axes[0].set_ylabel("success on frozen goals (%)")
    _legend(above.axes[0], lines, fontsize="small")
    if below is not None:
        for axes, task in zip(_panels(below, rows, len(tasks)), tasks, strict=True):
            for i, group in enumerate(groups):
                _draw_task(axes, group, task, f"C{i}")
            axes.set_title(task, fontsize="small", parse_math=False)
        below.supxlabel(_SCALES[0].label, fontsize="small")
    _save(whole, output)


def _draw_group(axes: Any, group: Group, scale: _Scale, color: str) -> Any:
    """Draw the runs and their mean; the line that stands for them in a legend."""
    is_alone = group.gap(scale.axis) is not None  # without a mean the runs' own evaluations are all there is
    style = {"color": color, "lw": 0.6, "alpha": 0.5, "marker": "." if is_alone else None}
    runs = [
        axes.plot(getattr(curve, scale.axis) / scale.unit, 100 * curve.success.mean(1), **style)[0]
        for curve in group.curves
    ]
    if is_alone:
        return runs[0]
    places = group.places(scale.axis)
    return _draw_estimates(axes, places / scale.unit, estimate(group.scores(scale.axis, places)), color)


def _draw_task(axes: Any, group: Group, task: str, color: str) -> None:
    scale = _SCALES[0]
    places = group.places(scale.axis)
    if len(places):
        column = group.tasks.index(task)
        estimates = estimate(group.scores(scale.axis, places)[:, :, column : column + 1])
        _draw_estimates(axes, places / scale.unit, estimates, color)


def _draw_estimates(axes: Any, places: np.ndarray, estimates: list[Estimate], color: str) -> Any:
    (line,) = axes.plot(places, [100 * point.value for point in estimates], color=color, marker=".")
    low, high = ([getattr(point, end) for point in estimates] for end in ("low", "high"))
    if None not in (*low, *high):
        axes.fill_between(places, 100 * np.array(low), 100 * np.array(high), color=color, alpha=0.2, lw=0)
    return line


def _legend(axes: Any, lines: Mapping[str, Any], **options: Any) -> None:
    """Draw a legend of lines by their names, as these are: to matplotlib $ is mathematics, and _ hides a line."""
    legend = axes.legend(list(lines.values()), list(map(str, range(len(lines)))), **options)
    for text, name in zip(legend.get_texts(), lines, strict=True):
        text.set(text=name, parse_math=False)


def _panels(figure: Any, rows: int, count: int) -> list[Any]:
    """Axes of the small panels; those that no task needs are left out."""
    panels = list(figure.subplots(rows, _PANELS_A_ROW, sharex=True, sharey=True, squeeze=False).flat)
    for unused in panels[count:]:
        unused.remove()
    for axes in panels[:count]:
        axes.set(ylim=(-3, 103))
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize="x-small")
    return panels[:count]


def _dress(axes: Any, scale: _Scale) -> None:
    axes.set(xlabel=scale.label, ylim=(-3, 103))
    axes.grid(alpha=0.3)


def _save(figure: Any, output: Path) -> None:
    """Write the whole picture or none: who looks at it while a run goes on sees the one before."""
    partial = output.with_name(f"{output.name}.tmp")
    figure.savefig(partial, dpi=_DPI, format=output.suffix.removeprefix("."))
    partial.replace(output)
