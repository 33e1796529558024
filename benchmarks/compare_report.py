"""The table and the plot of `benchmarks.compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from benchmarks.peers import Figure

BASELINE = "metaworld, one process"
CURVES = "MT50"  # the suite that is plotted


@dataclass(frozen=True)
class Row:
    """One measurement: its figure, or why there is none."""

    system: str
    suite: str
    num_envs: int
    actions: str  # random, or experts
    outcome: Figure | str


def markdown(rows: Sequence[Row], machine: str) -> str:
    """The figures as a Markdown table, each beside one `metaworld` process on the same tasks."""
    lines = [
        "| system | tasks | actions | environments | env steps/s | against one metaworld process | setup, s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    notes: list[str] = []
    versions: dict[str, str] = {}
    for row in rows:
        head = f"| {row.system} | {row.suite} | {row.actions} | {row.num_envs:,} |"
        if isinstance(row.outcome, str):
            batch = f"{row.num_envs:,} environments of {row.suite}"
            notes.append(f"{row.system} did not run {batch}, {row.actions}: {row.outcome.strip(' .,')}")
            lines.append(f"{head} | | |")
            continue
        figure = row.outcome
        versions |= figure.versions
        if figure.note:
            notes.append(f"{row.system}, {row.suite}, {row.num_envs:,}: {figure.note.rstrip('.')}")
        rate, ratio = figure.env_steps_per_second, _ratio(row, rows)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        beside = "" if ratio is None else f"{ratio:.1f}" if ratio >= 0.1 else f"{ratio:.1g}"
        lines.append(f"{head} {shown} | {beside} | {figure.setup_s:.0f} |")
    lines += [
        "",
        "Actions are random or those of metaworld's scripted experts, at what each lane observes; setting up, compiling"
        " and the experts are not counted. One metaworld process is a single environment in a"
        " plain loop, the mean over the suite's tasks, its resets not counted.",
        *(f"{note}." for note in dict.fromkeys(notes)),
        "",
        f"One run on {machine}; " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
    ]
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Environment steps per second over the number of environments; one environment's rate as a dashed line."""
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if (row.suite, row.actions) == (CURVES, "random") and not isinstance(row.outcome, str):
            points.setdefault(row.system, []).append((row.num_envs, row.outcome.env_steps_per_second))
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for system, curve in points.items():
        if system == BASELINE:
            axes.axhline(curve[0][1], linestyle="--", color="gray", label=system)
        else:
            axes.plot(*zip(*sorted(curve), strict=True), marker="o", label=system)
    axes.set(xscale="log", yscale="log", xlabel="environments", ylabel="env steps/s", title=f"{CURVES}, random actions")
    sizes = sorted({num_envs for system, curve in points.items() if system != BASELINE for num_envs, _ in curve})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for axis_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_formatter("{x:,.0f}")
    axes.grid(which="both", alpha=0.2)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _ratio(row: Row, rows: Sequence[Row]) -> float | None:
    """Speed relative to one `metaworld` process, on the same suite with the same actions."""
    for other in rows:
        same = (other.suite, other.actions) == (row.suite, row.actions)
        if other.system == BASELINE and same and not isinstance(other.outcome, str):
            assert not isinstance(row.outcome, str)
            return row.outcome.env_steps_per_second / other.outcome.env_steps_per_second
    return None
