"""`mjx-metaworld eval CHECKPOINT` of a policy that learns in trials: metaworld's evaluation of meta-learning."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mjx_metaworld.cli.evaluation import REFERENCE_PROCESSES, Evaluation
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.cli.tables import OVER_TASKS, figure_table, mean_of
from mjx_metaworld.env import make
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.parity.episodes import collect
from mjx_metaworld.parity.evaluation import Outcome
from mjx_metaworld.suites import Tasks, list_suites, require_metaworld, resolve
from mjx_metaworld.training import Trained, load
from mjx_metaworld.training.config import trial_episodes_of
from mjx_metaworld.training.reference_trials import evaluate_trials_on_reference, trial_evaluations
from mjx_metaworld.training.run_folder import find_checkpoint, read_run
from mjx_metaworld.training.trial_evaluation import TrialLength, TrialStats, make_trial_evaluator


@dataclass(frozen=True)
class TrialFigures:
    """A task's success rates in trials with hidden goals."""

    tasks: str  # the suite or list of tasks that it is evaluated with
    task: str
    first_here: float | None  # of the first episode of adaptation, at any step; None without one
    success_here: float  # of the episodes of evaluation
    success_there: float | None  # on CPU metaworld
    return_here: float  # mean up to the first success


def evaluate_trials(
    folder: Path,
    settings: Evaluation,
    console: Console,
    *,
    adaptation_episodes: int | None = None,
    evaluation_episodes: int = 1,
    likely_actions: bool = False,
    processes: int | None = None,
) -> list[TrialFigures]:
    """Print success by task, of a suite `...-train` for `...-test`, too; goals are hidden.

    Args:
        folder: of the run; its newest checkpoint is taken.
        settings: of the evaluation; CPU metaworld's is its `metalearning_evaluation`.
        console: where to print.
        adaptation_episodes: before those that count; None for as many as a trial of training has before its last.
        evaluation_episodes: that count.
        likely_actions: whether these take the most likely actions instead of drawn ones.
        processes: that run CPU metaworld, by default `REFERENCE_PROCESSES`; no more than there are tasks.

    Raises:
        CheckpointError: if there is no usable checkpoint.
        ValueError: for a bad number of episodes or bad `physics`, and with `reference` if metaworld does not have one
            of the tasks.
    """
    config = read_run(find_checkpoint(folder).run).config
    if adaptation_episodes is None:
        adaptation_episodes = (trial_episodes_of(config.algorithm) or 1) - 1
    length = TrialLength(adaptation_episodes, evaluation_episodes, likely_actions)
    splits = _splits(config.tasks)
    if settings.reference:
        require_metaworld([spec for tasks in splits for spec in resolve(tasks)], "eval --reference")
    rows, accuracy = [], physics_of(settings.physics, config.physics)
    with progress_bars(console) as bars:
        loading = bars.add_task("loading the checkpoint", total=None)
        trained = load(folder, accuracy)
        bars.remove_task(loading)
        for tasks in splits:
            rows += _evaluate(trained, tasks, length, settings, bars, processes or REFERENCE_PROCESSES)
    actions = "the most likely" if length.likely else "drawn"
    title = (
        f"{folder} after {trained.progress.env_steps:,} env steps: {settings.described()}; "
        f"{length.adaptation} episodes of adaptation, {length.evaluation} of evaluation, of {settings.num_steps} steps "
        f"(or, in evaluation, the first success), {actions} actions, rewards {trained.env.reward_version}"
        + "".join(f", {text}" for text in settings.physics)
    )
    console.print(_table(title, rows, settings.reference))
    return rows


def _splits(tasks: Tasks) -> list[Tasks]:
    """The tasks of a run and, of a suite for meta-training, those for meta-testing."""
    if isinstance(tasks, str) and tasks.endswith("-train"):
        test = f"{tasks.removesuffix('-train')}-test"
        return [tasks, test] if test in list_suites() else [tasks]
    return [tasks]


def _evaluate(
    trained: Trained, tasks: Tasks, length: TrialLength, settings: Evaluation, bars: Progress, processes: int
) -> list[TrialFigures]:
    policy = trained.recurrent
    assert policy is not None, "the run trains in trials"
    name = tasks if isinstance(tasks, str) else ",".join(spec.name for spec in resolve(tasks))
    here = bars.add_task(f"compiling and evaluating {name} here", total=None)
    env = make(
        tasks,
        goal_observable=False,
        reward_version=trained.env.reward_version,
        physics=trained.config.physics,
    )
    rand_vecs, num_steps = settings.rand_vecs(tasks), settings.num_steps
    started, count = None, min(processes, len(env.tasks))
    with contextlib.ExitStack() as background:
        if settings.reference and count > 1:
            begun = trial_evaluations(env, policy, rand_vecs, length, num_steps, count)
            started = background.enter_context(begun)
        stats = make_trial_evaluator(env, rand_vecs, lambda _: policy, length, num_steps)(None)
        bars.remove_task(here)
        there = None
        if started is not None:
            there = collect(started, bars)
        elif settings.reference:
            # Fewer steps in evaluation where a task succeeds.
            total = len(env.tasks) * settings.num_goals * num_steps * (length.adaptation + length.evaluation)
            waiting = bars.add_task(f"{name} on CPU metaworld", total=total)
            advance = functools.partial(bars.advance, waiting)
            there = evaluate_trials_on_reference(env, policy, rand_vecs, length, num_steps, advance)
            bars.remove_task(waiting)
    return [_figures(name, spec.name, stats, there, i) for i, spec in enumerate(env.tasks)]


def _figures(tasks: str, task: str, stats: TrialStats, there: Sequence[Outcome] | None, i: int) -> TrialFigures:
    first = stats.adaptation.success[i, :, :1]
    return TrialFigures(
        tasks=tasks,
        task=task,
        first_here=float(first.mean()) if first.size else None,
        success_here=float(stats.evaluation.success[i].mean()),
        success_there=None if there is None else there[i].success,
        return_here=float(stats.evaluation.episode_return[i].mean()),
    )


def _table(title: str, rows: list[TrialFigures], reference: bool) -> Table:
    headings = {
        "first_here": "first\nepisode\nhere",
        "success_here": "evaluation\nhere",
        "success_there": "evaluation\nCPU",
        "return_here": "mean\nreturn\nhere",
    }
    if not reference:
        del headings["success_there"]

    def cell(figures: list[TrialFigures], name: str) -> str:
        values = [getattr(row, name) for row in figures]
        if None in values:
            return ""
        return f"{np.mean(values):.0f}" if name == "return_here" else f"{np.mean(values):.1%}"

    def cells(figures: list[TrialFigures]) -> list[str]:
        return [cell(figures, name) for name in headings]

    lines: list[list[str]] = []
    sections = set()
    for tasks in dict.fromkeys(row.tasks for row in rows):
        own = [row for row in rows if row.tasks == tasks]
        sections.add(len(lines))
        lines += [[row.task, *cells([row])] for row in own]
        if len(own) > 1:
            sections.add(len(lines))
            lines.append([mean_of(len(own), f" ({tasks})" if tasks in list_suites() else ""), *cells(own)])
    caption = OVER_TASKS if len(lines) > len(rows) else None
    return figure_table("task", tuple(headings.values()), lines, title, sections, caption)
