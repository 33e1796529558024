"""`mjx-metaworld tasks`: the registry as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.cli.output import print_line
from mjx_metaworld.suites import list_suites, list_tasks, resolve
from mjx_metaworld.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Tasks:
    """List the tasks with their scenes and suites."""

    suite: Annotated[Positional[str], arg(metavar="[SUITE|TASK]")] = "all"  # which tasks
    document: Path | None = None  # write the list between this Markdown file's `tasks` markers instead of printing it


@dataclass(frozen=True)
class Listed:
    """A task's entry in the list."""

    task: str
    what: str
    scene: str
    suites: tuple[str, ...]
    rand_low: tuple[float, ...]  # bounds of the goal vector, within which a reset places things; m
    rand_high: tuple[float, ...]
    goal_low: tuple[float, ...]  # bounds of the observed goal, m
    goal_high: tuple[float, ...]
    hand_low: tuple[float, ...]  # bounds of the mocap, which leads the hand; m
    hand_high: tuple[float, ...]


def run_tasks(args: Tasks, console: Console) -> list[Listed]:
    """Print the list of tasks, or write it into a document.

    Raises:
        ValueError: for an unknown suite or task, or a document without markers.
    """
    suites = {name: resolve(name) for name in list_suites()}
    specs = resolve(list_tasks() if args.suite == "all" else args.suite)
    listed = [_listed(spec, tuple(name for name, tasks in suites.items() if spec in tasks)) for spec in specs]
    if args.document is not None:
        rows = [f"| {entry.task} | {entry.what} | {', '.join(entry.suites)} |" for entry in listed]
        lines = ["| task | what | suites |", "| --- | --- | --- |", *rows]
        rewrite_section(args.document, "tasks", "\n".join(lines))
        return listed
    table = Table()
    has_room = max(len(entry.task) for entry in listed) <= 2 * console.width // 5
    table.add_column("task", overflow="fold", no_wrap=has_room)
    for heading in ("what", "scene", "suites"):
        table.add_column(heading, overflow="fold")
    for entry in listed:
        cells = (entry.task, entry.what, entry.scene.removeprefix("sawyer_"), ", ".join(entry.suites))
        table.add_row(*map(Text, cells))  # as texts, in which an own task's brackets mean nothing
    console.print(table)
    sizes = ", ".join(f"{name} ({len(tasks)})" for name, tasks in suites.items())
    if len(listed) == 1:
        for what, low, high in _bounds(listed[0]):
            console.print(f"{what} within {_place(low)} and {_place(high)}", highlight=False)
    print_line(console, f"{len(listed)} {'task' if len(listed) == 1 else 'tasks'}. Suites: {sizes}.")
    return listed


def _listed(spec: TaskSpec, suites: tuple[str, ...]) -> Listed:
    return Listed(
        task=spec.name,
        what=spec.description,
        scene=spec.scene_name,
        suites=suites,
        rand_low=_floats(spec.rand_low),
        rand_high=_floats(spec.rand_high),
        goal_low=_floats(spec.goal_low),
        goal_high=_floats(spec.goal_high),
        hand_low=_floats(spec.hand_low),
        hand_high=_floats(spec.hand_high),
    )


def _floats(numbers: Sequence[float]) -> tuple[float, ...]:
    """Numbers of a declaration, which may be numpy's, as JSON takes them."""
    return tuple(map(float, numbers))


def _bounds(entry: Listed) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    yield "goal vectors", entry.rand_low, entry.rand_high
    yield "observed goals", entry.goal_low, entry.goal_high
    yield "hand", entry.hand_low, entry.hand_high


def _place(numbers: Sequence[float]) -> str:
    return f"({', '.join(f'{x:g}' for x in numbers)})"
