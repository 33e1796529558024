"""`mjx-metaworld eval CHECKPOINT`: a trained policy on the frozen goals, here and by metaworld's own evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from mjx_metaworld.cli.evaluation import REFERENCE_PROCESSES, Evaluation
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.cli.tables import OVER_TASKS, figure_table, mean_of
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.parity.episodes import collect
from mjx_metaworld.parity.evaluation import evaluations, parts_of
from mjx_metaworld.suites import require_metaworld, resolve
from mjx_metaworld.training import load
from mjx_metaworld.training.config import sight_of
from mjx_metaworld.training.evaluation import make_evaluator
from mjx_metaworld.training.opengl_evaluation import evaluate_with
from mjx_metaworld.training.reference_evaluation import evaluate_on_reference
from mjx_metaworld.training.run_folder import find_checkpoint, read_run
from mjx_metaworld.training.train import environment
from mjx_metaworld.training.view import opengl_eyes


@dataclass(frozen=True)
class CheckpointFigures:
    """A task's success rate and mean return up to the first success, as metaworld's evaluation counts them."""

    task: str
    success_here: float
    success_there: float | None  # on CPU metaworld
    return_here: float
    return_there: float | None


def evaluate_checkpoint(
    folder: Path,
    settings: Evaluation,
    console: Console,
    *,
    renderer: Literal["device", "opengl"] = "device",
    randomise: Sequence[str] = (),
    processes: int | None = None,
) -> list[CheckpointFigures]:
    """Print success and return by task.

    Args:
        folder: of the run, of which the newest checkpoint is taken, or of a checkpoint as `training.load` takes it.
        settings: of the evaluation.
        console: where to print.
        renderer: what draws here for a policy that sees.
        randomise: what episodes here draw, see `randomise.naming`; none for the scenes as they are.
        processes: that run CPU metaworld, by default `REFERENCE_PROCESSES`; no more than there are tasks, and for a
            policy that sees this one alone.

    Raises:
        CheckpointError: if there is no usable checkpoint.
        ValueError: with `reference`, if metaworld does not have one of the tasks or something is randomised; with
            "opengl", if the policy does not see; for `processes` of one that does; for unknown terms or fields.
    """
    config = read_run(find_checkpoint(folder).run).config
    sight = sight_of(config.algorithm)
    if renderer != "device" and sight is None:
        raise ValueError(f"renderer is for policies that see; that of {folder} acts on observations")
    if processes is not None and sight is not None:
        raise ValueError(f"processes is of policies that act on observations, got {processes}; that of {folder} sees")
    accuracy = physics_of(settings.physics, config.physics)
    if settings.reference and randomise:
        raise ValueError("CPU metaworld randomises nothing: give --reference or --randomise")
    if settings.reference:
        require_metaworld(resolve(config.tasks), "eval --reference")
    with progress_bars(console) as bars, contextlib.ExitStack() as background:
        loading = bars.add_task("loading the checkpoint", total=None)
        trained = load(folder, accuracy)
        env = environment(trained.config, randomise) if randomise else trained.env
        rand_vecs, num_steps = settings.rand_vecs(trained.config.tasks), settings.num_steps
        started, count = None, min(processes or REFERENCE_PROCESSES, len(env.tasks))
        if settings.reference and sight is None and count > 1:
            parts = parts_of(env, rand_vecs, num_steps)
            started = background.enter_context(evaluations(parts, trained.policy, count))
        bars.update(loading, description="compiling and evaluating here")
        if renderer == "opengl" and sight is not None:
            drawing = bars.add_task("steps with OpenGL's pictures", total=num_steps)  # fewer where all succeed
            eyes = opengl_eyes(env, sight)
            here = evaluate_with(eyes, env, trained.policy, rand_vecs, num_steps, lambda: bars.advance(drawing))
        else:
            here = make_evaluator(env, rand_vecs, lambda _: trained.policy, num_steps, observe=trained.observe)(None)
        bars.remove_task(loading)
        success, returns = here.success.mean(1), here.episode_return.mean(1)
        there = None
        if started is not None:
            there = collect(started, bars)
        elif settings.reference:
            # Fewer steps where it succeeds.
            waiting = bars.add_task("CPU metaworld", total=len(env.tasks) * settings.num_goals * num_steps)
            there = evaluate_on_reference(
                env, trained.policy, rand_vecs, num_steps, lambda: bars.advance(waiting), sight
            )
    rows = [
        CheckpointFigures(
            task=spec.name,
            success_here=float(success[i]),
            success_there=None if there is None else there[i].success,
            return_here=float(returns[i]),
            return_there=None if there is None else there[i].episode_return,
        )
        for i, spec in enumerate(env.tasks)
    ]
    title = (
        f"{folder} after {trained.progress.env_steps:,} env steps: {settings.described()}, "
        f"{num_steps} steps or the first success, rewards {env.reward_version}"
        + "".join(f", {text}" for text in (*randomise, *settings.physics))
        + ("" if sight is None else f", pictures here by {'OpenGL' if renderer == 'opengl' else 'the device'}")
    )
    console.print(_table(title, rows, settings.reference))
    return rows


def _table(title: str, rows: list[CheckpointFigures], reference: bool) -> Table:
    columns = ["success_here", "success_there", "return_here", "return_there"]
    headings = ["success\nhere", "success\nCPU", "mean\nreturn\nhere", "mean\nreturn\nCPU"]
    shown = [i for i in range(4) if reference or i % 2 == 0]
    figures = np.array([[getattr(row, columns[i]) for i in shown] for row in rows], float)

    def cells(values: np.ndarray) -> list[str]:
        names = [columns[i] for i in shown]
        return [f"{v:.1%}" if name.startswith("success") else f"{v:.0f}" for name, v in zip(names, values, strict=True)]

    lines = [[row.task, *cells(values)] for row, values in zip(rows, figures, strict=True)]
    means = [[mean_of(len(rows)), *cells(figures.mean(0))]] if len(rows) > 1 else []
    caption = OVER_TASKS if means else None
    return figure_table("task", [headings[i] for i in shown], lines + means, title, {len(rows)}, caption)
