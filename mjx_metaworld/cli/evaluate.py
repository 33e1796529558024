"""`mjx-metaworld eval`: a policy on the reference's frozen goals, here and on CPU metaworld side by side."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress
from tyro.conf import Positional, arg

from mjx_metaworld.cli.acting import EXPERT
from mjx_metaworld.cli.comparison import Comparison, compare, comparison_table
from mjx_metaworld.cli.evaluation import REFERENCE_PROCESSES, Evaluation
from mjx_metaworld.cli.run import build, check_policy_name, load_policy, progress_bars
from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import batched, run_episodes
from mjx_metaworld.inputs.folders import is_folder, missing_folder
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.parity.episodes import collect, reference_episodes
from mjx_metaworld.parity.record import EpisodeOutcome, run_reference_episode
from mjx_metaworld.parity.reference import reference_env
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, in_metaworld, require_metaworld, resolve
from mjx_metaworld.types import EPISODE_STEPS, StochasticPolicy
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.acting import is_run

if TYPE_CHECKING:
    from mjx_metaworld.cli.evaluate_checkpoint import CheckpointFigures
    from mjx_metaworld.cli.evaluate_trials import TrialFigures

_OF_TRIALS = "adaptation_episodes, evaluation_episodes and likely_actions"
_QUICK_GOALS, _QUICK_STEPS = 10, 200  # what the scripted experts need


@dataclass(frozen=True)
class Eval:
    """Evaluate a policy on the reference's frozen goals, here and on CPU metaworld."""

    # A suite, tasks, or the folder of a run, of which the newest checkpoint counts, RUN/best or RUN/checkpoints/NUMBER.
    tasks: Annotated[Positional[str], arg(metavar="[SUITE|TASK|RUN]")] = "MT10"
    reference: bool = False  # evaluate a checkpoint on CPU metaworld, too; other policies always are
    renderer: Literal["device", "opengl"] = "device"  # draws here what a checkpoint sees; CPU metaworld has OpenGL
    # expert, the default (there metaworld's own), or module:function, env -> ((obs, task) -> action)
    policy: str | None = None
    num_goals: int | None = None  # of the 50 frozen goals a task; by default 10, of a checkpoint 50
    num_steps: int | None = None  # control steps an episode, at most 500; by default 200, of a checkpoint 500
    seed: int = GOALS_SEED  # of the frozen goals
    randomise: tuple[str, ...] = ()  # what a checkpoint's episodes draw: friction=0.5,1.5 or module:function
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default or the run's: max_contacts=64
    one_hot: bool = False  # show the policy the task's one-hot vector behind the observation
    processes: int | None = None  # that run CPU metaworld, by default one a core, at most 8
    adaptation_episodes: int | None = None  # of a checkpoint that learns in trials, before the episodes that count
    evaluation_episodes: int | None = None  # of such a checkpoint, that count; by default 1
    likely_actions: bool = False  # of such a checkpoint, in the episodes that count, instead of drawn ones

    def __post_init__(self) -> None:
        if self.num_goals is not None and not 1 <= self.num_goals <= NUM_GOALS:
            raise ValueError(f"num_goals must be in 1..{NUM_GOALS}, got {self.num_goals}")
        if self.num_steps is not None and not 1 <= self.num_steps <= EPISODE_STEPS:
            raise ValueError(f"num_steps must be in 1..{EPISODE_STEPS}, got {self.num_steps}")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes must be positive, got {self.processes}")
        if self.adaptation_episodes is not None and self.adaptation_episodes < 0:
            raise ValueError(f"adaptation_episodes must not be negative, got {self.adaptation_episodes}")
        if self.evaluation_episodes is not None and self.evaluation_episodes < 1:
            raise ValueError(f"evaluation_episodes must be positive, got {self.evaluation_episodes}")
        if self.policy == "random":
            raise ValueError("policy must be expert or module:function; a random one differs on the two sides")
        if self.processes is not None and self.policy not in (None, EXPERT):
            raise ValueError(
                f"processes is of the reference's experts; policy {self.policy} acts in this process, on both sides"
            )


def run_eval(args: Eval, console: Console) -> list[Comparison] | list[CheckpointFigures] | list[TrialFigures]:
    """Print success and return by task, of both sides.

    Raises:
        ValueError: for an unknown task or policy, a folder that there is not, or `reference` with a task that metaworld
            does not have.
        CheckpointError: if a folder is named that holds no usable checkpoint.
    """
    in_trials = args.likely_actions or not (args.adaptation_episodes is None and args.evaluation_episodes is None)
    path = Path(args.tasks)
    if is_run(path) or (is_folder(path) and not _are_known(args.tasks)):
        return _evaluate_run(path, args, in_trials, console)
    if in_trials:
        raise ValueError(f"{_OF_TRIALS} are for checkpoints of policies with memory")
    if args.randomise:
        raise ValueError("randomise is for checkpoints, whose episodes on CPU metaworld can be left out")
    if args.renderer != "device":
        raise ValueError("renderer is for checkpoints of policies that see")
    if "/" in args.tasks:
        raise ValueError(missing_folder(path))
    if args.reference:
        require_metaworld(resolve(args.tasks), "eval --reference")
    return _compare(args, _settings(args, _QUICK_GOALS, _QUICK_STEPS), console)


def _are_known(tasks: str) -> bool:
    """True of names of tasks and suites."""
    try:
        return bool(resolve(tasks))
    except ValueError:
        return False


def _settings(args: Eval, num_goals: int, num_steps: int) -> Evaluation:
    """Settings of the evaluation, with a number of goals and of steps where none is given."""
    return Evaluation(args.num_goals or num_goals, args.num_steps or num_steps, args.seed, args.reference, args.physics)


def _evaluate_run(
    folder: Path, args: Eval, in_trials: bool, console: Console
) -> list[CheckpointFigures] | list[TrialFigures]:
    # Imported here: only checkpoints need the extra `train`.
    from mjx_metaworld.cli.evaluate_checkpoint import evaluate_checkpoint
    from mjx_metaworld.cli.evaluate_trials import evaluate_trials
    from mjx_metaworld.training.config import trial_episodes_of
    from mjx_metaworld.training.run_folder import find_checkpoint, read_run

    given = {"policy": args.policy, "one_hot": args.one_hot or None}
    refused = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    if refused:
        raise ValueError(f"policy and one_hot are for tasks; {folder} has a policy of its own, got {refused}")
    if args.processes is not None and not args.reference:
        raise ValueError(f"processes run CPU metaworld: give --reference, too, or leave out processes {args.processes}")
    settings = _settings(args, NUM_GOALS, EPISODE_STEPS)
    if trial_episodes_of(read_run(find_checkpoint(folder).run).config.algorithm) is None:
        if in_trials:
            raise ValueError(f"{_OF_TRIALS} are for trials; {folder} has none")
        return evaluate_checkpoint(
            folder, settings, console, renderer=args.renderer, randomise=args.randomise, processes=args.processes
        )
    if args.randomise:
        raise ValueError(f"trials are evaluated without randomise, in the scenes as they are; {folder} has trials")
    if args.renderer != "device":
        raise ValueError(f"renderer is for policies that see; that of {folder} acts on observations")
    return evaluate_trials(
        folder,
        settings,
        console,
        adaptation_episodes=args.adaptation_episodes,
        evaluation_episodes=args.evaluation_episodes or 1,
        likely_actions=args.likely_actions,
        processes=args.processes,
    )


def _compare(args: Eval, settings: Evaluation, console: Console) -> list[Comparison]:
    named = EXPERT if args.policy is None else args.policy
    check_policy_name(named)
    with progress_bars(console) as bars, contextlib.ExitStack() as background:
        physics, num_steps = physics_of(settings.physics), settings.num_steps
        env = build(bars, args.tasks, one_hot=args.one_hot, max_episode_steps=EPISODE_STEPS, physics=physics)
        policy = load_policy(env, named)
        rand_vecs = settings.rand_vecs(args.tasks)
        names = [spec.name for spec in env.tasks]
        there = [i for i, spec in enumerate(env.tasks) if in_metaworld(spec)]
        reference = None
        if named == EXPERT:
            vectors = [rand_vecs[i] for i in there]
            reference = background.enter_context(
                reference_episodes(
                    [names[i] for i in there], vectors, num_steps, processes=args.processes or REFERENCE_PROCESSES
                )
            )
        run = run_episodes(
            env,
            batched(policy),
            lambda: reset_to_goals(env, rand_vecs),
            num_steps,
            steps_per_call=math.gcd(num_steps, 10),
            bars=bars,
        )
        if reference is None:
            found = _on_reference(env, policy, there, rand_vecs, num_steps, bars)
        else:
            found = collect(reference, bars)
    by_task = dict(zip(there, found, strict=True))
    outcomes = [by_task.get(i, []) for i in range(len(names))]
    stats = jax.tree.map(lambda x: x.reshape(len(names), settings.num_goals), run.stats)
    rows = compare(names, stats, outcomes)
    title = f"{args.tasks}: {named}, {settings.described()}, {num_steps} steps"
    title += "".join(f", {text}" for text in settings.physics)
    console.print(comparison_table(title, rows))
    return rows


def _on_reference(
    env: MetaWorldEnv,
    policy: StochasticPolicy,
    tasks: Sequence[int],
    rand_vecs: Sequence[np.ndarray],
    num_steps: int,
    bars: Progress,
) -> list[list[EpisodeOutcome]]:
    """The same policy in the reference's environments of some tasks, one after the other; one list a task."""
    act = jit(policy)
    waiting = bars.add_task("CPU metaworld", total=len(tasks) * len(rand_vecs[0]))
    outcomes = []
    for task in tasks:
        spec, vectors = env.tasks[task], rand_vecs[task]
        suffix = np.eye(len(env.tasks))[task] if env.one_hot else np.zeros(0)
        outcomes.append([])
        for rand_vec in vectors:
            outcomes[-1].append(_reference_episode(act, spec.name, task, rand_vec, num_steps, suffix))
            bars.advance(waiting)
    return outcomes


def _reference_episode(
    act: Callable, name: str, task: int, rand_vec: np.ndarray, num_steps: int, suffix: np.ndarray
) -> EpisodeOutcome:
    key = jax.random.key(0)

    def policy(obs: np.ndarray) -> np.ndarray:
        return np.asarray(act(np.append(obs, suffix).astype(np.float32), np.int32(task), key), float)

    cpu_env = reference_env(name)
    outcome = run_reference_episode(cpu_env, name, rand_vec, policy, num_steps)
    cpu_env.close()
    return outcome
