"""The command line: `mjx-metaworld COMMAND --help`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from mjx_metaworld.demo import Demo, run_demo
from mjx_metaworld.document import rewrite_section
from mjx_metaworld.parity_report import Parity, run_parity
from mjx_metaworld.suites import list_suites, list_tasks, resolve


@dataclass(frozen=True)
class Tasks:
    """List all tasks with the suites that they are in."""

    document: Path | None = None  # write the list between this Markdown file's `tasks` markers instead of printing it


def run_tasks(args: Tasks, console: Console) -> None:
    """Print the list of tasks, or write it into a document."""
    suites = {name: resolve(name) for name in list_suites()}
    listed = resolve(list_tasks())
    rows = [(t.name, t.description, ", ".join(s for s, tasks in suites.items() if t in tasks)) for t in listed]
    if args.document is not None:
        lines = ["| task | what | suites |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
        rewrite_section(args.document, "tasks", "\n".join(lines))
        return
    table = Table("task", "what", "suites")
    for row in rows:
        table.add_row(*row)
    console.print(table)


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo", prefix_name=False)]
    | Annotated[Parity, tyro.conf.subcommand("parity", prefix_name=False)]
    | Annotated[Tasks, tyro.conf.subcommand("tasks", prefix_name=False)]
)


def main() -> None:
    """Run the command named on the command line."""
    console = Console()
    try:
        command = tyro.cli(Command, prog="mjx-metaworld", description=__doc__)
        if isinstance(command, Demo):
            run_demo(command, console)
        elif isinstance(command, Parity):
            run_parity(command, console)
        else:
            run_tasks(command, console)
    except ValueError as error:
        console.print(f"[red]{error}")
        sys.exit(2)
