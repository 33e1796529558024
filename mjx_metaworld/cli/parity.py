"""`mjx-metaworld parity`: every level of parity with the live CPU reference, measured and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mjx_metaworld.build.check import check_tasks
from mjx_metaworld.build.machine import versions
from mjx_metaworld.cli.markdown import check_section, read_table, rewrite_section
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.cli.output import json_text, prepare_output
from mjx_metaworld.cli.tables import divided_tables, figure_table
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.parity import pictures as picture_parity
from mjx_metaworld.parity.episodes import collect, reference_episodes, run_experts, silence_policies
from mjx_metaworld.parity.measure import measure_steps, with_episodes
from mjx_metaworld.parity.pictures import PictureDifference
from mjx_metaworld.parity.report import Row, Sampling, largest_markdown, markdown
from mjx_metaworld.parity.scenes import measure_scenes
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import goals, in_metaworld, resolve
from mjx_metaworld.tasks.spec import TaskSpec

_FIGURES, _PICTURES, _LARGEST = "parity", "pictures", "parity-largest"  # sections of a document
# Headings on a terminal, which may show the columns in several tables.
_SPREAD = ("step\nmedian", "step\n99 %", "worst\nentry\nmedian", "worst\nentry\n99 %")
_HEADINGS = ("reward", "reset", *(f"{policy}\n{figure}" for policy in ("expert", "random") for figure in _SPREAD))
_HEADINGS += ("success\nhere", "success\nCPU", "return\nhere", "return\nCPU")
_STEPS = ("ours from\nreference", "rounded", "tighter", "ours from\ntighter")
_ANSWERS = {True: "yes", False: "NO"}
_LARGEST_HEADINGS = tuple(f"{policy}\n{step}" for policy in ("expert", "random") for step in _STEPS)


@dataclass(frozen=True)
class Parity(Sampling):
    """Measure parity with the live CPU reference: rewards, resets, one control step, closed loop."""

    processes: int = 2  # that run the reference
    steps_only: bool = False  # leave out the closed loop, which takes most of the time, and its table
    pictures: bool = False  # compare pictures of the same states instead
    document: Path | None = None  # write the table between this Markdown file's `parity` (or `pictures`) markers
    guide: Path | None = None  # write each step's worst entries between its `parity-largest` markers
    output: Path | None = Path("out/parity.json")  # all figures as JSON

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.processes < 1:
            raise ValueError(f"processes must be positive, got {self.processes}")


@dataclass(frozen=True)
class StageError:
    """Error of a stage of the physics from MuJoCo C, in scenes of tasks that metaworld lacks."""

    stage: str
    quantile: float  # over states, contacts or joints
    count: int  # of these
    error: float  # see `mjx_metaworld.parity.scenes`
    bar: float  # that metaworld's own tasks are held to
    holds: bool


def run_parity(args: Parity, console: Console) -> list[Row] | list[PictureDifference] | list[StageError]:
    """Measure, print the table, and write it where the arguments say.

    Of tasks that metaworld lacks it measures the physics of their scenes against MuJoCo C, stage by stage.

    Raises:
        ValueError: for an unknown task, for tasks of metaworld's and others together, for a document or output that
            cannot be written, for a document with the closed loop left out, which its table shows, or for documents
            and pictures of tasks that metaworld lacks.
    """
    if args.document is not None and args.steps_only and not args.pictures:
        raise ValueError("--document shows the closed loop, which --steps-only leaves out; --guide shows single steps")
    if args.pictures and args.physics:
        raise ValueError("physics changes steps, and pictures are compared of the same states")
    physics_of(args.physics)  # raises for what is none, before anything is recorded
    specs = resolve(args.tasks)
    if not any(in_metaworld(spec) for spec in specs):
        return _measure_scenes(args, specs, console)
    if not all(in_metaworld(spec) for spec in specs):
        others = ", ".join(spec.name for spec in specs if not in_metaworld(spec))
        raise ValueError(f"metaworld has no {others}, whose scenes are compared with MuJoCo C: name such tasks apart")
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
    _print(console, table, ("pictures", "largest\ndifference\nof a pixel", "pixels that\ndiffer\nvisibly"))
    if args.document is not None:
        rewrite_section(args.document, _PICTURES, table)
    return differences


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def _measure(args: Parity, console: Console) -> list[Row]:
    with _progress(console) as progress:
        loading = progress.add_task(f"loading {args.tasks}", total=None)
        env = make(args.tasks, physics=physics_of(args.physics))
        release_freed()
        progress.remove_task(loading)
        rows = measure_steps(args, env, progress) if args.steps_only else _with_closed_loop(args, env, progress)
    table, largest = markdown(args, rows), largest_markdown(args, rows)
    if not args.steps_only:
        _print(console, table, _HEADINGS)
    _print(console, largest, _LARGEST_HEADINGS)
    if args.output is not None:
        _write(args.output, rows)
    if args.document is not None:
        rewrite_section(args.document, _FIGURES, table)
    if args.guide is not None:
        rewrite_section(args.guide, _LARGEST, largest)
    return rows


def _measure_scenes(args: Parity, specs: Sequence[TaskSpec], console: Console) -> list[StageError]:
    """Stages and control steps of tasks' scenes against MuJoCo C."""
    if args.pictures or args.document is not None or args.guide is not None:
        lacks = ", ".join(spec.name for spec in specs)
        raise ValueError(f"--pictures, --document and --guide are for metaworld's tasks; it has no {lacks}")
    check_tasks(specs)
    if args.output is not None:
        prepare_output(args.output)
    scenes = tuple(dict.fromkeys(spec.scene_spec for spec in specs))
    with _progress(console) as progress:
        progress.add_task("recording MuJoCo C and comparing", total=None)
        measured = measure_scenes(scenes, seed=args.seed, steps=args.step_length, physics=physics_of(args.physics))
    rows = [StageError(m.bar.stage, m.bar.quantile, m.count, m.error, m.bar.limit, m.holds) for m in measured]
    cells = [
        (row.stage, f"{row.quantile:g} of {row.count}", f"{row.error:.1e}", f"{row.bar:.0e}", _ANSWERS[row.holds])
        for row in rows
    ]
    names = ", ".join(scene.name for scene in scenes)
    title = f"{names}: errors against MuJoCo C, {args.step_length} control steps a scene"
    console.print(figure_table("stage", ("quantile", "error", "bar", "holds"), cells, title))
    if args.output is not None:
        _write(args.output, rows)
    return rows


def _print(console: Console, markdown: str, headings: Sequence[str]) -> None:
    """Print a table in Markdown, on a terminal with lines around its cells and no wider than that."""
    if not console.is_terminal:
        console.print(markdown, "", markup=False, soft_wrap=True, sep="\n")
        return
    (names, *_), rows, text = read_table(markdown)
    console.print(*divided_tables(console.width, names, headings, rows), text, sep="\n", markup=False, highlight=False)


def _write(path: Path, rows: Sequence[Row] | Sequence[StageError]) -> None:
    path.write_text(json_text({"versions": versions(), "rows": rows}, indent=1) + "\n")


def _with_closed_loop(args: Parity, env: MetaWorldEnv, progress: Progress) -> list[Row]:
    rand_vecs = [vectors[: args.num_goals] for vectors in goals(args.tasks, args.seed)]
    names = [spec.name for spec in env.tasks]
    with reference_episodes(names, rand_vecs, args.num_steps, args.processes) as reference:
        rows = measure_steps(args, env, progress)
        run = run_experts(env, rand_vecs, args.num_steps, progress)
        return with_episodes(rows, run.stats, collect(reference, progress))
