"""`mjx-metaworld parity`: every level of parity with the live CPU reference, measured and written down."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mjx_metaworld.build.machine import versions
from mjx_metaworld.cli.markdown import check_section, rewrite_section
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.cli.output import prepare_output
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.parity import pictures as picture_parity
from mjx_metaworld.parity.episodes import collect, reference_episodes, run_experts, silence_policies
from mjx_metaworld.parity.measure import measure_steps, with_episodes
from mjx_metaworld.parity.pictures import PictureDifference
from mjx_metaworld.parity.report import Row, Sampling, largest_markdown, markdown
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import goals, require_metaworld, resolve

_FIGURES, _PICTURES, _LARGEST = "parity", "pictures", "parity-largest"  # sections of a document


@dataclass(frozen=True)
class Parity(Sampling):
    """Measure parity with the live CPU reference: rewards, resets, one control step, closed loop."""

    processes: int = 2  # that run the reference
    steps_only: bool = False  # leave out the closed loop, which takes most of the time, and its table
    pictures: bool = False  # compare pictures of the same states instead
    document: Path | None = None  # write the table between this Markdown file's `parity` (or `pictures`) markers
    guide: Path | None = None  # write each step's worst entries between its `parity-largest` markers
    output: Path | None = Path("out/parity.json")  # all figures as JSON


def run_parity(args: Parity, console: Console) -> list[Row] | list[PictureDifference]:
    """Measure, print the table, and write it where the arguments say.

    Raises:
        ValueError: for an unknown task or one that metaworld lacks, a document or output that cannot be written, or a
            document with the closed loop left out, which its table shows.
    """
    if args.document is not None and args.steps_only and not args.pictures:
        raise ValueError("--document shows the closed loop, which --steps-only leaves out; --guide shows single steps")
    if args.pictures and args.physics:
        raise ValueError("physics changes steps, and pictures are compared of the same states")
    physics_of(args.physics)  # raises for what is none, before anything is recorded
    require_metaworld(resolve(args.tasks), "parity")
    if args.document is not None:
        check_section(args.document, _PICTURES if args.pictures else _FIGURES)
    if args.guide is not None:
        check_section(args.guide, _LARGEST)
    if args.output is not None:
        prepare_output(args.output)
    silence_policies()
    return _compare_pictures(args, console) if args.pictures else _measure(args, console)


def _compare_pictures(args: Parity, console: Console) -> list[PictureDifference]:
    names = [spec.name for spec in resolve(args.tasks)]
    backend = choose_backend()
    with _progress(console) as progress:
        bar = progress.add_task("pictures", total=len(names))
        differences = picture_parity.compare_pictures(names, backend, lambda: progress.advance(bar))
    table = picture_parity.markdown(differences, backend)
    console.print(table, markup=False, soft_wrap=True)
    if args.document is not None:
        rewrite_section(args.document, _PICTURES, table)
    return differences


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def _measure(args: Parity, console: Console) -> list[Row]:
    with _progress(console) as progress:
        loading = progress.add_task(f"loading {args.tasks}", total=None)
        env = make(args.tasks, physics=physics_of(args.physics))
        release_freed()
        progress.remove_task(loading)
        rows = measure_steps(args, env, progress) if args.steps_only else _with_closed_loop(args, env, progress)
    table, largest = markdown(args, rows), largest_markdown(args, rows)
    console.print(*([] if args.steps_only else [table]), largest, sep="\n\n", markup=False, soft_wrap=True)
    if args.output is not None:
        figures = {"versions": versions(), "rows": [_measured(asdict(row)) for row in rows]}
        args.output.write_text(json.dumps(figures, indent=1) + "\n")
    if args.document is not None:
        rewrite_section(args.document, _FIGURES, table)
    if args.guide is not None:
        rewrite_section(args.guide, _LARGEST, largest)
    return rows


def _measured(figures: dict[str, Any]) -> dict[str, Any]:
    """All figures but those that were left out: JSON knows no NaN."""
    return {name: value for name, value in figures.items() if value == value}


def _with_closed_loop(args: Parity, env: MetaWorldEnv, progress: Progress) -> list[Row]:
    rand_vecs = [vectors[: args.num_goals] for vectors in goals(args.tasks, args.seed)]
    names = [spec.name for spec in env.tasks]
    with reference_episodes(names, rand_vecs, args.num_steps, args.processes) as reference:
        rows = measure_steps(args, env, progress)
        run = run_experts(env, rand_vecs, args.num_steps, progress)
        return with_episodes(rows, run.stats, collect(reference, progress))
