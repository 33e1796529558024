"""Seconds from the start of a process to its first step done: with nothing kept by earlier processes, and with.

Each process makes an environment, resets a batch and makes one step of it, both through `mw.jit`. With `--beside` the
same is measured by turns of other checkouts of this project, such as one of an earlier commit.

    python -m benchmarks.first_step --tasks MT50 --num-envs 256 --document docs/guides/performance.md
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.checkouts import checkouts_by_name, environment_of, tell, write_table
from mjx_metaworld.build.machine import describe_machine

# `ru_maxrss` of a process is in kilobytes on Linux.
_PROCESS = """
import resource, sys
import jax, jax.numpy as jnp
import mjx_metaworld as mw
tasks, num_envs = sys.argv[1], int(sys.argv[2])
batch = mw.VectorEnv(mw.make(tasks), num_envs)
state = mw.jit(batch.reset)(jax.random.key(0))
made = mw.jit(batch.step)(state, jnp.zeros((num_envs, 4)))
jax.block_until_ready(jax.tree.leaves(made[0].physics))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Args:
    """Processes to measure."""

    tasks: str = "MT50"
    num_envs: int = 256
    rounds: int = 3  # of which the median counts
    beside: tuple[Path, ...] = ()  # other checkouts of this project
    output: Path | None = None  # append the JSON lines to this file
    document: Path | None = None  # write the table between this Markdown file's `first_step` markers


@dataclass(frozen=True)
class Figure:
    """Time and memory of a process up to its first step."""

    checkout: str
    kept: str  # "nothing" or "by an earlier process"
    tasks: str
    num_envs: int
    seconds: float
    peak_gigabytes: float


def measure(checkout: Path, folder: Path, args: Args) -> tuple[float, float]:
    """Seconds and peak gigabytes of a process whose caches are in this folder."""
    environment = environment_of(checkout, folder)
    command = [sys.executable, "-c", _PROCESS, args.tasks, str(args.num_envs)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout) / 1e6


def figures(args: Args) -> list[Figure]:
    """Medians over the rounds, the checkouts by turns."""
    checkouts = checkouts_by_name(args.beside)
    kinds = ("nothing", "by an earlier process")
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {(name, kind): [] for name in checkouts for kind in kinds}
    for _ in range(args.rounds):
        for name, path in checkouts.items():
            with tempfile.TemporaryDirectory() as folder:
                for kind in kinds:
                    seen[name, kind].append(measure(path, Path(folder), args))
                    print(name, kind, *(f"{value:.2f}" for value in seen[name, kind][-1]), file=sys.stderr, flush=True)
    return [
        Figure(
            name, kind, args.tasks, args.num_envs, *(statistics.median(column) for column in zip(*runs, strict=True))
        )
        for (name, kind), runs in seen.items()
    ]


def main(args: Args) -> None:
    """Measure, print a line of JSON for each figure, and write the table."""
    measured = figures(args)
    tell(measured, args.output)
    rows = [
        f"| {f.checkout} | {f.tasks} | {f.num_envs} | {f.kept} | {f.seconds:.1f} | {f.peak_gigabytes:.1f} |"
        for f in measured
    ]
    head = ["| build | tasks | environments | kept before | seconds | peak GB |", "| --- " * 6 + "|"]
    write_table(args.document, "first_step", [*head, *rows], describe_machine())


if __name__ == "__main__":
    main(tyro.cli(Args))
