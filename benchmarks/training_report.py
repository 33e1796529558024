"""Documents about the training runs on record: tables, curves, and the published figures beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.training_results import Result, mean
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.training.plots import draw_success

PAGE = Path("docs/results.md")
DOCUMENTS = (PAGE, Path("docs/guides/training.md"), Path("docs/guides/pixels.md"))
CURVES = PAGE.with_suffix("")
PUBLISHED = Path("benchmarks/results/published.json")
_SIDES = ("here", "there")


@dataclass(frozen=True)
class Published:
    """A result of others with its protocol; None is what its source does not say."""

    method: str
    tasks: str
    success: str
    env_steps: int | None
    wall_clock: str | None
    simulator: str
    rewards: str | None
    goals: str | None
    episode_steps: int | None
    counted: str | None  # when an episode is a success
    source: str
    url: str


def load_published() -> list[Published]:
    """Published figures."""
    return [Published(**entry) for entry in json.loads(PUBLISHED.read_text())]


def draw_curves(results: Sequence[Result]) -> None:
    """Draw a picture for every task and algorithm, with a line a run."""
    CURVES.mkdir(exist_ok=True)
    for (task, algorithm), runs in _groups(results, lambda r: (r.task, r.algorithm())).items():
        curves = {f"seed {r.seed}, {r.where()}": r.curve for r in runs}
        draw_success(curves, CURVES / _curve_name(task, algorithm))


def write_sections(document: Path, results: Sequence[Result]) -> None:
    """Write the sections that a document has markers for."""
    text = document.read_text(encoding="utf-8")
    reading, seeing = ([r for r in results if r.sees() is sees and not r.in_trials()] for sees in (False, True))
    sections = {
        "training": lambda: training_table(reading),
        "seeing": lambda: seeing_table(seeing),
        "overview": lambda: overview(results),
        "runs": lambda: runs_by_task(results),
        "published": lambda: published_table(load_published()),
    }
    for name, write in sections.items():
        if f"<!-- {name}:begin -->" in text:
            rewrite_section(document, name, write())


# --- the page of results ---


def overview(results: Sequence[Result]) -> str:
    """A row for each task, algorithm and machine."""
    lines = [
        "| tasks | algorithm | devices | seeds | env steps | minutes | success here | on CPU metaworld |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (task, algorithm, where), runs in sorted(_groups(results, _kind).items()):
        about = (
            f"| {_told(algorithm, runs)} | {where} | {len(runs)} | {_steps(runs)} "
            f"| {_span([r.seconds / 60 for r in runs], '.1f')}"
        )
        here, there = ([getattr(r, f"success_{side}") for r in runs] for side in _SIDES)
        lines.append(f"| [{task}](#{_anchor(task)}) {about} | {_success(here)} | {_success(there)} |")
        if runs[0].held_out:
            here, there = ([mean(getattr(t, f"success_{side}") for t in r.held_out) for r in runs] for side in _SIDES)
            name = f"its held-out tasks, {runs[0].held_out[0].tasks}"
            lines.append(f"| {name} {about} | {_success(here)} | {_success(there)} |")
    return "\n".join(lines)


def runs_by_task(results: Sequence[Result]) -> str:
    """A chapter a task or suite: curves, every run, the tasks of a suite, commands and versions."""
    return "\n\n".join(_chapter(task, runs) for (task,), runs in sorted(_groups(results, lambda r: (r.task,)).items()))


def published_table(published: Sequence[Published]) -> str:
    """Results of others, with the protocol of each."""
    lines = [
        "| method | tasks | success | env steps | wall clock | simulator | rewards | goals in the evaluation "
        "| steps an episode | a success is | source |",
        "| --- | --- | ---: | ---: | --- | --- | --- | --- | ---: | --- | --- |",
    ]
    for p in published:
        cells = (p.wall_clock, p.simulator, p.rewards, p.goals, p.episode_steps, p.counted)
        protocol = " | ".join("not stated" if cell is None else str(cell) for cell in cells)
        steps = "not stated" if p.env_steps is None else f"{p.env_steps / 1e6:.0f} M"
        lines.append(f"| {p.method} | {p.tasks} | {p.success} | {steps} | {protocol} | [{p.source}]({p.url}) |")
    return "\n".join(lines)


def _chapter(task: str, results: Sequence[Result]) -> str:
    by_algorithm = _groups(results, lambda r: (r.algorithm(),))
    names = [algorithm for (algorithm,) in by_algorithm]
    pictures = [f"![{task} by {name}]({CURVES.name}/{_curve_name(task, name)})" for name in names]
    parts = [f"### {task}", *pictures, _run_table(results)]
    if any(r.in_trials() for r in results):
        parts.append(_trial_table([r for r in results if r.in_trials()]))
    elif any(r.by_task for r in results):
        parts.append(_task_table([r for r in results if r.by_task]))
    return "\n\n".join([*parts, _provenance(results)])


def _run_table(results: Sequence[Result]) -> str:
    sees = any(r.sees() for r in results)
    opengl = " by OpenGL's pictures |" if sees else ""
    lines = [
        f"| algorithm | seed | devices | env steps | parts | minutes | success here |{opengl} on CPU metaworld "
        "| return here | on CPU metaworld |",
        f"| --- | ---: | --- | ---: | ---: | ---: | ---: |{' ---: |' * sees} ---: | ---: | ---: |",
    ]
    for r in results:
        shown = "" if not sees else f" {r.success_opengl:.1%} |" if r.success_opengl is not None else " |"
        lines.append(
            f"| {r.algorithm()} | {r.seed} | {r.where()} | {r.env_steps:,} | {r.parts} | {r.seconds / 60:.1f} "
            f"| {r.success_here:.1%} |{shown} {r.success_there:.1%} | {r.return_here:.0f} "
            f"| {'' if r.return_there is None else f'{r.return_there:.0f}'} |"
        )
    return "\n".join(lines)


def _trial_table(results: Sequence[Result]) -> str:
    """Success of the tasks of training and of those held out, in the mean over the seeds of an algorithm."""
    lines = [
        "| suite | task | first episode, here | evaluation, here | evaluation, CPU metaworld |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    names = ("first_here", "success_here", "success_there")
    for rows in zip(*(r.by_task + r.held_out for r in results), strict=True):
        cells = [f"{mean(getattr(row, name) for row in rows):.0%}" for name in names]
        lines.append(f"| {rows[0].tasks} | {rows[0].task} | {' | '.join(cells)} |")
    about = (
        "Goals are hidden. In the first episode of a trial the policy knows nothing of it, in that of the evaluation "
        "it remembers those before. Actions are drawn."
    )
    return "\n".join([*lines, "", about])


def _task_table(results: Sequence[Result]) -> str:
    """Success of a suite's tasks, in the mean over the seeds of each algorithm and machine."""
    groups = _groups(results, _kind)
    headings = [f"{algorithm}, {where}: here | CPU" for _, algorithm, where in groups]
    lines = [f"| task | {' | '.join(headings)} |", f"| --- |{' ---: | ---: |' * len(groups)}"]
    for i, row in enumerate(results[0].by_task):
        cells = [
            f"{np.mean([getattr(r.by_task[i], f'success_{side}') for r in runs]):.0%}"
            for runs in groups.values()
            for side in _SIDES
        ]
        lines.append(f"| {row.task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _provenance(results: Sequence[Result]) -> str:
    commands = "\n".join(f"    {command}" for command in sorted({r.command for r in results}))
    versions = sorted({", ".join(f"{name} {version}" for name, version in r.versions.items()) for r in results})
    return f"{commands}\n\nWith {'; or '.join(versions)}."


# --- the tables of the guides ---


def training_table(results: Sequence[Result]) -> str:
    """The runs as a table, a row for each task, algorithm and machine with the range over its seeds."""
    lines = [
        "| task | algorithm | devices | seeds | env steps | minutes | success here | CPU | return here | CPU |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, runs in sorted(_groups(results, _kind).items()):
        success = [np.mean([getattr(r, f"success_{side}") for r in runs]) for side in ("here", "there")]
        returns = [np.mean([getattr(r, f"return_{side}") for r in runs]) for side in ("here", "there")]
        lines.append(
            f"| {' | '.join(key)} | {len(runs)} | {_steps(runs)} "
            f"| {_span([r.seconds / 60 for r in runs], '.1f')} | {success[0]:.1%} | {success[1]:.1%} "
            f"| {returns[0]:.0f} | {returns[1]:.0f} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in results[0].versions.items())
    commands = "; ".join(f"`{command}`" for command in sorted({r.command.split(" --seed")[0] for r in results}))
    lines += [
        "",
        "Success at any step on the 50 frozen goals (seed 1), 500 steps, rewards v2; training draws goals anew. Return "
        "up to the first success. Minutes are wall clock of the whole command, compilation and evaluations included, "
        "from the quickest to the slowest seed; a run ends at the first evaluation with 98 %. CPU is metaworld's own "
        f"`evaluation` of the same policy. {commands}, with `--seed`; {versions}.",
    ]
    return "\n".join(lines)


def seeing_table(results: Sequence[Result]) -> str:
    """The runs of policies that see, a row each, and the curve of each."""
    lines = [
        "| task | sees | seed | env steps | minutes | success | by OpenGL's pictures | CPU metaworld, by OpenGL's |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        seen = f"{' and '.join(r.cameras)}, {r.picture_size}x{r.picture_size}" + (" and its hand" * bool(r.feels_hand))
        lines.append(
            f"| {r.task} | {seen} | {r.seed} | {r.env_steps / 1e3:.0f} k | {r.seconds / 60:.1f} | {r.success_here:.1%} "
            f"| {r.success_opengl:.1%} | {r.success_there:.1%} |"
        )
    for r in results:
        lines += ["", f"Success on the way, {r.task}, seed {r.seed}:", ""]
        lines += [f"| env steps | {' | '.join(f'{steps / 1e3:.0f} k' for steps, _, _ in r.curve)} |"]
        lines += [f"| --- |{' ---: |' * len(r.curve)}"]
        lines += [f"| minutes | {' | '.join(f'{seconds / 60:.1f}' for _, seconds, _ in r.curve)} |"]
        lines += [f"| success | {' | '.join(f'{success:.0%}' for _, _, success in r.curve)} |"]
    places = ", ".join(sorted({r.where() for r in results}))
    lines += [
        "",
        "Success at any step on the 50 frozen goals (seed 1), 500 steps; training draws goals anew. Minutes are wall "
        f"clock of the command, compilation and evaluations included. {places}; "
        + "; ".join(sorted({f"`{r.command}`" for r in results}))
        + ".",
    ]
    return "\n".join(lines)


def _kind(result: Result) -> tuple[str, str, str]:
    return result.task, result.algorithm(), result.where()


def _groups(results: Sequence[Result], key: Callable[[Result], tuple[str, ...]]) -> dict[tuple[str, ...], list[Result]]:
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


def _curve_name(task: str, algorithm: str) -> str:
    return f"{task.replace(',', '+')}-{algorithm}.png"


def _anchor(heading: str) -> str:
    """Anchor of a heading, as Python-Markdown and GitHub make it."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in "-_")


def _told(algorithm: str, runs: Sequence[Result]) -> str:
    return f"{algorithm}, from pictures" if runs[0].sees() else algorithm


def _steps(runs: Sequence[Result]) -> str:
    unit, name = (1e6, "M") if min(r.env_steps for r in runs) >= 10e6 else (1e3, "k")
    return f"{_span([r.env_steps / unit for r in runs], ',.0f')} {name}"


def _success(values: Sequence[float]) -> str:
    """The mean and, of several seeds, from the worst to the best."""
    span = f" ({_span([100 * v for v in values], '.0f')})" if len(values) > 1 else ""
    return f"{np.mean(values):.1%}{span}"


def _span(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
