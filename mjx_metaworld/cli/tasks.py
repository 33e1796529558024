"""`mjx-metaworld tasks`: the registry as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.suites import list_suites, list_tasks, resolve


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


def run_tasks(args: Tasks, console: Console) -> list[Listed]:
    """Print the list of tasks, or write it into a document.

    Raises:
        ValueError: for an unknown suite or task, or a document without markers.
    """
    suites = {name: resolve(name) for name in list_suites()}
    specs = resolve(list_tasks() if args.suite == "all" else args.suite)
    listed = [
        Listed(spec.name, spec.description, spec.scene_name, tuple(n for n, tasks in suites.items() if spec in tasks))
        for spec in specs
    ]
    if args.document is not None:
        rows = [f"| {entry.task} | {entry.what} | {', '.join(entry.suites)} |" for entry in listed]
        lines = ["| task | what | suites |", "| --- | --- | --- |", *rows]
        rewrite_section(args.document, "tasks", "\n".join(lines))
        return listed
    table = Table("task", "what", "scene", "suites")
    table.columns[0].no_wrap = True
    for entry in listed:
        table.add_row(entry.task, entry.what, entry.scene.removeprefix("sawyer_"), ", ".join(entry.suites))
    console.print(table)
    sizes = ", ".join(f"{name} ({len(tasks)})" for name, tasks in suites.items())
    console.print(f"{len(listed)} {'task' if len(listed) == 1 else 'tasks'}. Suites: {sizes}.")
    return listed
