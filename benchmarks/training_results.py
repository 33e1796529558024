"""Training runs on record: what each was, and what its last policy does here and on CPU metaworld."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from mjx_metaworld.cli.train import Train, command_of, configuration
from mjx_metaworld.training.checkpoint import BEST, CHECKPOINTS
from mjx_metaworld.training.config import PRESETS, algorithm_name, as_json, tasks_text
from mjx_metaworld.training.records import EVALUATION, ITERATION, START, read_records
from mjx_metaworld.training.run_folder import Run, read_run

FILE = Path("benchmarks/results/training.json")


@dataclass(frozen=True)
class TaskResult:
    """Success and mean return of a policy in a task."""

    task: str
    success_here: float
    success_there: float
    return_here: float
    return_there: float | None = None  # in trials, metaworld's evaluation tells no return by task
    tasks: str | None = None  # in trials, the suite that it is evaluated with, and
    first_here: float | None = None  # success of the first episode, in which nothing is known of the trial


@dataclass(frozen=True)
class Result:
    """A run, and what its last policy does on the 50 frozen goals."""

    task: str  # or the suite
    seed: int
    command: str
    env_steps: int
    seconds: float  # of the whole command, wall clock; of a folder that was there, from the start of the trainer
    success_here: float
    success_there: float
    return_here: float
    return_there: float | None  # None in trials
    curve: list[tuple[int, float, float]]  # environment steps, seconds, success of every evaluation
    device: str
    machine: str  # with the cores that the run could use
    devices: int = 1  # among which the environments were divided
    versions: dict[str, str] = field(default_factory=dict)
    success_opengl: float | None = None  # here, of a policy that sees, on OpenGL's pictures
    cameras: list[str] = field(default_factory=list)  # of a policy that sees
    picture_size: int | None = None
    feels_hand: bool | None = None
    by_task: list[TaskResult] = field(default_factory=list)  # of several tasks
    held_out: list[TaskResult] = field(default_factory=list)  # of a policy that learns in trials: tasks it never met
    parts: int = 1  # processes that made it, each going on from a checkpoint of the one before
    config: dict[str, Any] = field(default_factory=dict)  # all settings, since presets change; none of older records

    def sees(self) -> bool:
        """True for a policy that acts on pictures."""
        return self.success_opengl is not None

    def in_trials(self) -> bool:
        """True for a policy that learns in trials, whose evaluation is another one."""
        return self.return_there is None

    def algorithm(self) -> str:
        """Its name on the command line."""
        words = self.command.split()
        return words[words.index("--algo") + 1] if "--algo" in words else "ppo"

    def where(self) -> str:
        """Devices and machine."""
        return f"{self.devices} {self.device} ({self.machine})"


def load_results() -> list[Result]:
    """The runs on record."""
    if not FILE.exists():
        return []
    entries = json.loads(FILE.read_text())
    tables = ("by_task", "held_out")
    return [Result(**e | {name: [TaskResult(**row) for row in e.get(name, [])] for name in tables}) for e in entries]


def add_result(results: Sequence[Result], result: Result) -> list[Result]:
    """Put a run on record; one of the same command on such a machine is replaced."""
    others = [r for r in results if (r.command, r.where()) != (result.command, result.where())]
    found = [*others, result]
    FILE.write_text(json.dumps([dataclasses.asdict(r) for r in found], indent=1) + "\n")
    return found


def evaluate_run(folder: Path, seconds: float | None = None) -> Result:
    """Evaluate the last policy of the run in a folder, here and on CPU metaworld; without checkpoints its best.

    Args:
        folder: of the run.
        seconds: wall clock of the command that made it, if that was measured.

    Raises:
        ValueError: if the run has no evaluation.
        subprocess.CalledProcessError: if the evaluation fails.
    """
    run = read_run(folder)
    records = read_records(folder, EVALUATION)
    if not records:
        raise ValueError(f"{folder} has no evaluation yet")
    policy = str(folder if (folder / CHECKPOINTS).is_dir() else folder / BEST)
    rows = [TaskResult(**row) for row in json.loads(call_cli("eval", policy, "--reference", "--json"))]
    about = json.loads((folder / "run.json").read_text())
    algorithm, seeing = about["config"]["algorithm"], {}
    if "cameras" in algorithm:
        opengl = json.loads(call_cli("eval", policy, "--renderer", "opengl", "--json"))
        seeing = {name: algorithm[name] for name in ("cameras", "picture_size")}
        seeing |= {"feels_hand": algorithm["see_hand"], "success_opengl": mean(row["success_here"] for row in opengl)}
    args, tasks = arguments_of(run), tasks_text(run.config)
    held_out = [row for row in rows if row.tasks not in (None, tasks)]
    rows = [row for row in rows if row not in held_out]
    returns = [row.return_there for row in rows if row.return_there is not None]
    # A run that was stopped between two evaluations has a later policy than that of the last one.
    last = max((*records, *read_records(folder, ITERATION)), key=lambda record: record["env_steps"])
    return Result(
        task=tasks,
        seed=args.seed,
        # The seed comes last and always, so that the runs of several seeds begin alike.
        command=f"{command_of(dataclasses.replace(args, seed=0))} --seed {args.seed}",
        env_steps=last["env_steps"],
        seconds=round(max(last["seconds"], records[-1]["seconds"]) if seconds is None else seconds, 1),
        success_here=mean(row.success_here for row in rows),
        success_there=mean(row.success_there for row in rows),
        return_here=round(mean(row.return_here for row in rows), 1),
        return_there=round(mean(returns), 1) if returns else None,
        curve=[(r["env_steps"], r["seconds"], r["success"]) for r in records],
        device=about["device"],
        devices=about["devices"],
        machine=about["machine"],
        versions=about["versions"],
        by_task=rows if len(rows) > 1 or not returns else [],
        held_out=held_out,
        parts=max(1, len(read_records(folder, START))),
        config=as_json(run.config),
        **seeing,
    )


def arguments_of(run: Run) -> Train:
    """The shortest arguments of `mjx-metaworld train` that make a run with the presets of today."""
    config = run.config
    tasks = tasks_text(config)
    name = algorithm_name(config.algorithm)
    bases = [Train(tasks, algo=cast(Any, name), seed=_seed(run), randomise=config.randomise)]
    alike = [entry.name for entry in PRESETS if type(entry.config.algorithm) is type(config.algorithm)]
    bases += [dataclasses.replace(bases[0], preset=preset) for preset in alike]
    candidates = [_completed(base, run) for base in bases]
    # A preset's bar cannot be taken away on the command line: such runs get the nearest command that there is.
    exact = [args for args in candidates if configuration(args) == dataclasses.replace(config, tasks=tasks)]
    return min(exact or candidates, key=lambda args: len(command_of(args)))


def _completed(base: Train, run: Run) -> Train:
    """Arguments with all that a preset leaves open."""
    usual, config = configuration(base), run.config
    names = ("env_steps", "eval_every", "eval_goals", "checkpoint_every", "stop_at_success")
    changes = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(usual, name)}
    settings = tuple(
        f"{f.name}={json.dumps(getattr(config.algorithm, f.name), separators=(',', ':'))}"
        for f in dataclasses.fields(config.algorithm)
        if getattr(config.algorithm, f.name) != getattr(usual.algorithm, f.name)
    )
    return dataclasses.replace(base, set=settings, **changes)


def _seed(run: Run) -> int:
    """The number of which the first random key was made; of "rbg" the words are there twice."""
    high, low = run.key[:2]
    return (high << 32) + low


def call_cli(*arguments: str) -> str:
    """Output of a command of `mjx-metaworld`, in a process of its own."""
    command = [sys.executable, "-m", "mjx_metaworld", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def mean(values: Iterable[float | None]) -> float:
    """Mean of the values that there are."""
    return float(np.mean([value for value in values if value is not None]))
