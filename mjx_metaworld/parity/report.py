"""`mjx-metaworld parity`: every level of parity with the live CPU reference, measured and written down."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mjx_metaworld.build.machine import versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.parity import pictures as picture_parity
from mjx_metaworld.parity.episodes import CHUNK, collect, reference_episodes, run_experts, silence_policies
from mjx_metaworld.parity.pictures import PictureDifference
from mjx_metaworld.parity.steps import record_steps, reset_error, reward_error, step_errors
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, goals, resolve
from mjx_metaworld.types import EPISODE_STEPS


@dataclass(frozen=True)
class Parity:
    """Measure parity with the live CPU reference: rewards, resets, one control step, closed loop."""

    tasks: str = "MT50"  # a suite or a task
    num_goals: int = 50  # frozen goals a task for resets (at most 10 of them) and for the closed loop
    num_steps: int = EPISODE_STEPS  # control steps an episode of the closed loop
    step_goals: int = 3  # episodes recorded a task and style for the one-step figures
    step_length: int = 160  # control steps of those episodes, of which every second is kept
    seed: int = GOALS_SEED  # of the frozen goals
    processes: int = 2  # that run the reference
    pictures: bool = False  # compare pictures of the same states instead
    document: Path | None = None  # write the table between this Markdown file's `parity` (or `pictures`) markers
    output: Path | None = Path("out/parity.json")  # all figures as JSON

    def __post_init__(self) -> None:
        if not 1 <= self.num_goals <= NUM_GOALS:
            raise ValueError(f"num_goals must be in 1..{NUM_GOALS}, got {self.num_goals}")
        if not 1 <= self.step_goals <= NUM_GOALS:
            raise ValueError(f"step_goals must be in 1..{NUM_GOALS}, got {self.step_goals}")
        if not 2 <= self.step_length <= EPISODE_STEPS:
            raise ValueError(f"step_length must be in 2..{EPISODE_STEPS}, got {self.step_length}")
        if not CHUNK <= self.num_steps <= EPISODE_STEPS or self.num_steps % CHUNK:
            raise ValueError(f"num_steps must be a multiple of {CHUNK} up to {EPISODE_STEPS}, got {self.num_steps}")


@dataclass(frozen=True)
class Row:
    """The figures of one task."""

    task: str
    reward: float  # largest relative error of reward and metrics
    reset: float  # largest absolute error of the first observation
    expert_median: float  # of the observed entries' absolute error after one control step
    expert_p99: float
    expert_largest_median: float  # of each step's largest entry, over the steps
    random_median: float
    random_p99: float
    success_here: float = float("nan")
    success_there: float = float("nan")
    return_here: float = float("nan")
    return_there: float = float("nan")


def run_parity(args: Parity, console: Console) -> list[Row] | list[PictureDifference]:
    """Measure, print the table, and write it where the arguments say."""
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
        rewrite_section(args.document, "pictures", table)
    return differences


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def _measure(args: Parity, console: Console) -> list[Row]:
    with _progress(console) as progress:
        loading = progress.add_task(f"loading {args.tasks}", total=None)
        env = make(args.tasks)
        progress.remove_task(loading)
        rand_vecs = [vectors[: args.num_goals] for vectors in goals(args.tasks, args.seed)]
        names = [spec.name for spec in env.tasks]
        with reference_episodes(names, rand_vecs, args.num_steps, args.processes) as reference:
            rows = _measure_steps(args, env, progress)
            run = run_experts(env, rand_vecs, args.num_steps, progress)
            outcomes = collect(reference, progress)
    rows = [
        Row(
            **{
                **asdict(row),
                "success_here": float(run.stats.success[i].mean()),
                "success_there": float(np.mean([o.success for o in outcomes[i]])),
                "return_here": float(run.stats.episode_return[i].mean()),
                "return_there": float(np.mean([o.episode_return for o in outcomes[i]])),
            }
        )
        for i, row in enumerate(rows)
    ]
    table = markdown(args, rows)
    console.print(table, markup=False, soft_wrap=True)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps({"versions": versions(), "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
    if args.document is not None:
        rewrite_section(args.document, "parity", table)
    return rows


def _measure_steps(args: Parity, env: MetaWorldEnv, progress: Progress) -> list[Row]:
    """Rewards, resets and one control step, task by task."""
    step = jit(jax.vmap(env.step))
    bar = progress.add_task("rewards, resets, single steps", total=len(env.tasks))
    num_steps = args.step_length
    pad_to = args.step_goals * -(-num_steps // 2)  # every recording has the same length: one compilation
    rows = []
    for task, (spec, vectors) in enumerate(zip(env.tasks, goals(args.tasks, args.seed), strict=True)):
        expert, wandering = (
            record_steps(env, task, vectors[: args.step_goals], style=style, num_steps=num_steps, every=2)
            for style in ("expert", "random")
        )
        expert_errors, random_errors = (step_errors(step, s, pad_to=pad_to) for s in (expert, wandering))
        rows.append(
            Row(
                task=spec.name,
                reward=max(reward_error(spec, steps) for steps in (expert, wandering)),
                reset=reset_error(env, task, vectors[: min(args.num_goals, 10)]),
                expert_median=float(np.median(expert_errors.entries)),
                expert_p99=float(np.quantile(expert_errors.entries, 0.99)),
                expert_largest_median=float(np.median(expert_errors.obs)),
                random_median=float(np.median(random_errors.entries)),
                random_p99=float(np.quantile(random_errors.entries, 0.99)),
            )
        )
        progress.advance(bar)
    return rows


def markdown(args: Parity, rows: list[Row]) -> str:
    """The table in Markdown, with what its columns mean."""
    head = (
        "| task | reward | reset | expert step: median | 99 % | random step: median | 99 % "
        "| success here | CPU | return here | CPU |"
    )
    lines = [head, "| --- |" + " ---: |" * 10]
    for row in rows:
        errors = (row.reward, row.reset, row.expert_median, row.expert_p99, row.random_median, row.random_p99)
        cells = [row.task, *(f"{error:.0e}" for error in errors), f"{row.success_here:.0%}", f"{row.success_there:.0%}"]
        lines.append(f"| {' | '.join(cells)} | {row.return_here:.0f} | {row.return_there:.0f} |")
    success = [np.mean([getattr(row, f"success_{side}") for row in rows]) for side in ("here", "there")]
    returns = [np.mean([getattr(row, f"return_{side}") for row in rows]) for side in ("here", "there")]
    means = [f"{success[0]:.1%}", f"{success[1]:.1%}", f"{returns[0]:.0f}", f"{returns[1]:.0f}"]
    lines.append(f"| **mean** | | | | | | | {' | '.join(means)} |")
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join(
        [
            *lines,
            "",
            "Reward: largest error of reward and metrics, relative, from the reference's own quantities (float64). "
            "Reset: largest error of the first observation. Step: absolute error of the observed entries after one "
            f"control step from the reference's state (float32; {args.step_goals} episodes of {args.step_length} "
            f"steps, every second). Success and return: scripted experts on {args.num_goals} frozen goals (seed "
            f"{args.seed}), {args.num_steps} steps; solved when any step succeeds.",
            "",
            f"{jax.devices()[0].device_kind}; {software}.",
        ]
    )
