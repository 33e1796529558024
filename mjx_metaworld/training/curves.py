"""Curves of success of runs, read from their folders, and groups of runs that differ in their random keys alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mjx_metaworld.inputs.folders import missing_folder, runs_within
from mjx_metaworld.physics.config import changed_fields
from mjx_metaworld.training.checkpoint import CheckpointError
from mjx_metaworld.training.config import algorithm_name, differences
from mjx_metaworld.training.records import EVALUATION, by_task, read_records
from mjx_metaworld.training.run_folder import RUN_FILE, Run, read_run

Axis = Literal["env_steps", "seconds"]

# The training loop takes the mean over all episodes at once, the mean of the tasks' means may be a rounding error below
# it. An episode more or less is far more than this.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """Evaluations of a run."""

    folder: Path
    run: Run
    where: str  # devices and machine
    tasks: tuple[str, ...]
    env_steps: Float[np.ndarray, " evaluations"]
    seconds: Float[np.ndarray, " evaluations"]  # wall clock, with compiling
    success: Float[np.ndarray, "evaluations tasks"]  # on the frozen goals

    @property
    def solved(self) -> bool:
        """True of a run that ended because it had learnt enough; its last success counts for what would follow."""
        enough = self.run.config.stop_at_success
        return enough is not None and bool(self.success[-1].mean() >= enough - _ROUNDING)

    def begin(self, axis: Axis) -> float:
        """Place of the first evaluation, before which nothing is known."""
        return float(getattr(self, axis)[0])

    def end(self, axis: Axis) -> float:
        """Place to which the curve is known."""
        return float("inf") if self.solved else float(getattr(self, axis)[-1])

    def at(self, axis: Axis, places: Float[np.ndarray, " places"]) -> Float[np.ndarray, "places tasks"]:
        """Success between the evaluations, in a straight line from each to the next, and after the last as there."""
        known = getattr(self, axis)
        return np.stack([np.interp(places, known, success) for success in self.success.T], axis=1)


@dataclass(frozen=True)
class Group:
    """Runs of one configuration on one kind of machine: seeds of the same thing."""

    label: str
    curves: tuple[Curve, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return self.curves[0].tasks

    def begin(self, axis: Axis) -> float:
        """First place at which all runs have been evaluated."""
        return max(curve.begin(axis) for curve in self.curves)

    def known(self, axis: Axis) -> float:
        """Place to which something is known of all runs."""
        return min(curve.end(axis) for curve in self.curves)

    def end(self, axis: Axis) -> float:
        """Last place at which something is known of all runs and one of them was evaluated."""
        return min(self.known(axis), max(float(getattr(curve, axis)[-1]) for curve in self.curves))

    def gap(self, axis: Axis) -> tuple[Curve, Curve] | None:
        """Run that ended before another one was first evaluated, and this other; None where all have a range in common.

        No place is then known of all runs: what is known of the later one at its begin says nothing of what it was
        before.
        """
        first = min(self.curves, key=lambda curve: curve.end(axis))
        last = max(self.curves, key=lambda curve: curve.begin(axis))
        return (first, last) if first.end(axis) < last.begin(axis) else None

    def places(self, axis: Axis) -> Float[np.ndarray, " places"]:
        """Places of all evaluations between begin and end; none where there is a gap."""
        every = np.unique(np.concatenate([getattr(curve, axis) for curve in self.curves]))
        return every[(every >= self.begin(axis)) & (every <= self.end(axis))]

    def scores(self, axis: Axis, places: Float[np.ndarray, " places"]) -> Float[np.ndarray, "places runs tasks"]:
        """Success of every run at places."""
        return np.stack([curve.at(axis, places) for curve in self.curves], axis=1)


def common_end(groups: Sequence[Group], axis: Axis) -> float:
    """Last place at which something is known of all groups and one of them was evaluated.

    Groups of which nothing is known at any place do not count, unless there are no others.
    """
    groups = [group for group in groups if group.gap(axis) is None] or groups
    return min(min(group.known(axis) for group in groups), max(group.end(axis) for group in groups))


def read_curve(folder: Path) -> Curve:
    """Read the evaluations of the run in a folder.

    Raises:
        ValueError: if there is no such folder, or it holds no run, a broken one, or one without an evaluation.
    """
    if folder.is_file():
        raise ValueError(f"{folder} is a file, not the folder of a run")
    if not folder.is_dir():
        raise ValueError(missing_folder(folder))
    try:
        run = read_run(folder)
    except CheckpointError as error:
        raise ValueError(f"{error}{runs_within(folder)}") from error
    records = read_records(folder, EVALUATION)
    if not records:
        raise ValueError(f"{folder} has no evaluation yet")
    tasks = tuple(by_task(records[0], "success"))
    return Curve(
        folder,
        run,
        _where(folder),
        tasks,
        np.array([record["env_steps"] for record in records], float),
        np.array([record["seconds"] for record in records], float),
        np.array([[by_task(record, "success")[task] for task in tasks] for record in records]),
    )


def group_curves(curves: Sequence[Curve], labels: Sequence[str] = ()) -> list[Group]:
    """Put together the runs that differ in their random keys alone.

    The same tasks in another order are another group: each task's frozen goals depend on the tasks before it.

    Args:
        curves: of runs of the same tasks, each run once.
        labels: of the groups, in the order in which these appear; by default what tells each from the others.

    Raises:
        ValueError: if runs have different tasks, or the same run is there twice, or there are not as many labels as
            groups.
    """
    for curve in curves:
        if set(curve.tasks) != set(curves[0].tasks):
            raise ValueError(
                f"{curves[0].folder} has the tasks {_listed(curves[0].tasks)}, {curve.folder} has "
                f"{_listed(curve.tasks)}; compare runs of the same tasks"
            )
    found: list[list[Curve]] = []
    for curve in curves:
        alike = next((group for group in found if not _unlike(group[0], curve)), None)
        if alike is None:
            found.append([curve])
            continue
        twin = next((other for other in alike if other.run.key == curve.run.key), None)
        if twin is not None:
            raise ValueError(
                f"{twin.folder} and {curve.folder} are the same run: same settings, same machine, and the "
                f"random key {curve.run.key}"
            )
        alike.append(curve)
    own = labels or _labels([group[0] for group in found])
    if len(own) != len(found):
        which = "; ".join(", ".join(str(curve.folder) for curve in group) for group in found)
        raise ValueError(
            f"labels must be {len(found)}, one for each group of runs of the same settings ({which}); "
            f"got {len(own)}: {', '.join(own)}"
        )
    if len(set(own)) < len(own):
        raise ValueError(f"labels must differ, got {', '.join(own)}")
    return [Group(label, tuple(group)) for label, group in zip(own, found, strict=True)]


def _unlike(one: Curve, other: Curve) -> list[str]:
    """Differences of two runs in words, but for their random keys; tasks count as they are, however they were named."""
    first = one.run.config
    second = dataclasses.replace(other.run.config, tasks=first.tasks)
    pairs = [("tasks", one.tasks, other.tasks), ("machine", one.where, other.where)]
    return differences(first, second) + [f"{name} {was!r}, now {now!r}" for name, was, now in pairs if was != now]


def _labels(firsts: Sequence[Curve]) -> list[str]:
    """Algorithm of each, and the settings and machine in which it differs from another of the same algorithm."""
    facts = [_facts(curve) for curve in firsts]
    labels = []
    for own in facts:
        alike = [other for other in facts if other["algorithm"] == own["algorithm"]]
        varied = [name for name in own if any(other[name] != own[name] for other in alike)]
        labels.append(" ".join([own["algorithm"], *(_told(name, own[name]) for name in varied)]))
    return labels


def _facts(curve: Curve) -> dict[str, str]:
    """Everything that tells groups apart, as text by name."""
    config = curve.run.config
    facts = {"algorithm": algorithm_name(config.algorithm), "machine": curve.where, "tasks": ",".join(curve.tasks)}
    facts |= {name: str(getattr(config, name)) for name in ("reward_version", "eval_goals", "goals_seed")}
    facts["randomise"] = ",".join(config.randomise) or "nothing"
    changed = changed_fields(config.physics)
    facts["physics"] = ",".join(f"{name}={value}" for name, value in changed.items()) or "default"
    settings = dataclasses.asdict(config.algorithm)
    return facts | {name: json.dumps(value, separators=(",", ":")) for name, value in settings.items()}


def _told(name: str, value: str) -> str:
    return f"on {value}" if name == "machine" else f"{name}={value}"


def _where(folder: Path) -> str:
    about = json.loads((folder / RUN_FILE).read_text())
    device, machine = (about.get(name, f"unknown {name}") for name in ("device", "machine"))
    return f"{about.get('devices', 1)} {device} ({machine})"


def _listed(tasks: Sequence[str]) -> str:
    shown = 3
    more = f" and {len(tasks) - shown} more" if len(tasks) > shown else ""
    return ", ".join(tasks[:shown]) + more
