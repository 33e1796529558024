"""Rates of two processes of a core each over one, and over one of two devices, by turns on one machine.

Stepping with random actions, and iterations of PPO. Of each kind's turns the fastest counts, which what else the
machine did has disturbed least; the load before the first is written down. Real hosts have a network between them; here
it is a socket of one machine, so that the figures tell what dividing and meeting cost, and not what a network does.

    python -m benchmarks.hosts --document docs/guides/scaling.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from benchmarks.hosts_worker import STEPPING, TRAINING
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.processes.cluster import environments_here

RESULTS = Path(__file__).parent / "results" / "hosts.json"


@dataclass(frozen=True)
class Args:
    """Work to measure."""

    tasks: str = "MT10"
    num_envs: int = 512  # in all; a multiple of two
    seconds: float = 20.0  # of each figure, over all turns
    turns: int = 8
    output: Path = RESULTS
    document: Path | None = None  # write the table between this Markdown file's `hosts` markers


class Kind(NamedTuple):
    """Processes that compute one program."""

    name: str
    cores: tuple[str, ...]  # of each process, separated by commas
    devices: int  # of each process


KINDS = (
    Kind("one process, one core", ("0",), 1),
    Kind("one process, two devices on two cores", ("0,1",), 2),
    Kind("two processes, one core each", ("0", "1"), 1),
)


@dataclass(frozen=True)
class Figure:
    """The rate of some work by processes of a kind."""

    kind: str
    processes: int
    devices: int  # of all processes
    work: str
    env_steps_per_second: float
    over_one: float  # as a ratio to the first kind


class Group:
    """Running processes of a kind."""

    def __init__(self, kind: Kind, args: Args) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "benchmarks.hosts_worker", args.tasks, str(args.num_envs), str(kind.devices)]
        self._processes = [
            subprocess.Popen(
                [*command, cores],
                env=os.environ | place,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for cores, place in zip(kind.cores, environments_here(len(kind.cores)), strict=True)
        ]
        self.answer()  # one group compiles after the other

    def answer(self) -> dict[str, Any]:
        """The first process's next line.

        Raises:
            RuntimeError: if it has ended.
        """
        lines = self._processes[0].stdout
        assert lines is not None
        line = lines.readline()
        if not line:
            raise RuntimeError(f"{self.kind.name}: the first process has ended")
        return json.loads(line)

    def work(self, work: str, calls: int) -> dict[str, Any]:
        """Let all processes make so many calls."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{work} {calls}\n")
            process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()


def measure(args: Args) -> list[Figure]:
    """Time all kinds by turns."""
    groups = [Group(kind, args) for kind in KINDS]
    figures = []
    for work in (STEPPING, TRAINING):
        calls = [max(1, round(args.seconds / args.turns / group.work(work, 1)["seconds"])) for group in groups]
        rates = [0.0 for _ in groups]
        for _ in range(args.turns):
            for i, (group, count) in enumerate(zip(groups, calls, strict=True)):
                told = group.work(work, count)
                rates[i] = max(rates[i], told["env_steps"] / told["seconds"])
        for kind, rate in zip(KINDS, rates, strict=True):
            processes = len(kind.cores)
            devices = processes * kind.devices
            figures.append(Figure(kind.name, processes, devices, work, round(rate, 1), round(rate / rates[0], 3)))
    for group in groups:
        group.close()
    return figures


def markdown(report: dict[str, Any], figures: Sequence[Figure]) -> str:
    """The table in Markdown."""
    lines = [
        "| processes | stepping, env steps/s | over one | training, env steps/s | over one |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        by_work = {figure.work: figure for figure in figures if figure.kind == kind.name}
        told = [by_work[work] for work in (STEPPING, TRAINING)]
        cells = [f"{figure.env_steps_per_second:,.0f} | {figure.over_one:.2f}" for figure in told]
        lines.append(f"| {kind.name} | {' | '.join(cells)} |")
    installed = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"{report['tasks']}, {report['num_envs']:,} environments in all; training is PPO. "
            f"On {report['machine']}, gloo between processes of one machine, each kind's fastest turn; other work had "
            f"{report['load_before']:.1f} processes running in the minute before. {installed}.",
        ]
    )


def main(args: Args) -> None:
    """Print the table, and write it and its figures down.

    Raises:
        ValueError: if the machine has fewer than two cores.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise ValueError("two processes of a core each need two cores")
    load = os.getloadavg()[0]
    figures = measure(args)
    report = {
        "load_before": round(load, 1),  # processes that ran or waited in the minute before
        "tasks": args.tasks,
        "num_envs": args.num_envs,
        "device": "cpu",
        "machine": describe_machine(),
        "versions": versions(),
        "figures": [asdict(figure) for figure in figures],
    }
    args.output.write_text(json.dumps(report, indent=1) + "\n")
    table = markdown(report, figures)
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "hosts", table)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
