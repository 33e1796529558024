"""This package beside its peers: `metaworld` alone and in gymnasium's vector environments, EnvPool, mjbatch, raw MJX.

Same tasks, number of environments and actions, random ones and the scripted experts'; one system at a time, each in a
process of its own, so that one that fails or runs out of memory takes no other with it. Writes all figures as JSON, a
plot beside it, and a table into a Markdown file. Most of the time goes into compiling, above all for raw MJX.

    python -m benchmarks.compare --document README.md
    python -m benchmarks.compare --no-raw-mjx --num-envs 256 --seconds 2

EnvPool's newest release needs Python 3.12 and is taken by the extra `compare` there. mjbatch needs a MuJoCo that
metaworld refuses, and so an environment of its own: `--mjbatch-python` names its interpreter.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from benchmarks.compare_report import Row, markdown, plot
from benchmarks.peers import Figure, Job, mjbatch_arguments
from mjx_metaworld.build.machine import describe_machine
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.suites import resolve


@dataclass(frozen=True)
class Args:
    """Systems and batch sizes to run."""

    num_envs: tuple[int, ...] = (256, 1024, 4096)  # of MT50, in ours and EnvPool
    mt10_envs: tuple[int, ...] = (1024,)  # of MT10; none leaves it out
    gymnasium_envs: int = 50  # gymnasium's vector environments need a model or a process each: thousands do not fit
    devices: int | None = None  # of ours; None: on CPU one a core, elsewhere all. One device is measured in any case
    seconds: float = 5.0  # step each at least this long after the warm-up
    loop_seconds: float = 20.0  # the same for the plain loop, divided among the tasks
    limit: float = 600.0  # seconds until a process counts as failed
    actions: tuple[Literal["random", "experts"], ...] = ("random", "experts")
    mjbatch_python: Path | None = None  # interpreter that has mjbatch, which steps pick-place's scene; None: left out
    raw_mjx: bool = True  # mjx.step on pick-place's original scene, which compiles for minutes
    mjx_envs: int = 8
    seed: int = 0  # of goals and actions
    output: Path = Path("benchmarks/results/compare.json")  # the plot goes beside it
    document: Path | None = None  # write the table between this Markdown file's `compare` markers

    def __post_init__(self) -> None:
        if not self.num_envs or min(*self.num_envs, *self.mt10_envs, self.gymnasium_envs, self.mjx_envs) < 1:
            raise ValueError("num_envs, mt10_envs, gymnasium_envs and mjx_envs must be positive integers")
        if min(self.seconds, self.loop_seconds, self.limit) <= 0:
            raise ValueError("seconds, loop_seconds and limit must be positive")


def plan(args: Args) -> Iterator[tuple[str, str, Job]]:
    """Everything to measure: the system's name, the suite's, and the job."""
    for suite, sizes in (("MT50", args.num_envs), ("MT10", args.mt10_envs)):
        for actions in args.actions if sizes else ():
            yield from _of_suite(args, suite, sizes, actions)
    scene = ("pick-place-v3",)
    if args.mjbatch_python:
        job = Job("mjbatch", scene, max(args.num_envs), args.seconds, seed=args.seed)
        yield "mjbatch, physics alone", "pick-place-v3", job
    if args.raw_mjx:
        yield "raw mjx.step", "pick-place-v3", Job("mjx", scene, args.mjx_envs, args.seconds, seed=args.seed)


def _of_suite(args: Args, suite: str, sizes: Sequence[int], actions: str) -> Iterator[tuple[str, str, Job]]:
    tasks = tuple(spec.name for spec in resolve(suite))

    def job(peer: str, num_envs: int, **options: Any) -> Job:
        return Job(peer, tasks, num_envs, **{"seconds": args.seconds, "seed": args.seed, "actions": actions, **options})

    yield "metaworld, one process", suite, job("metaworld", 1, seconds=args.loop_seconds)
    yield "metaworld, SyncVectorEnv", suite, job("sync", args.gymnasium_envs)
    yield "metaworld, AsyncVectorEnv", suite, job("async", args.gymnasium_envs)
    for num_envs in sizes:
        yield "EnvPool", suite, job("envpool", num_envs)
        yield "mjx_metaworld", suite, job("ours", num_envs, devices=args.devices)
    middle = sorted(sizes)[len(sizes) // 2]
    yield "mjx_metaworld, one device", suite, job("ours", middle, devices=1)


def run(job: Job, args: Args) -> Figure | str:
    """The figure of a process of its own, or why there is none."""
    command = [sys.executable, "-m", "benchmarks.peers", json.dumps(dataclasses.asdict(job))]
    if job.peer == "mjbatch":
        command = [str(args.mjbatch_python), str(Path(__file__).with_name("peer_mjbatch.py")), *mjbatch_arguments(job)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a peer's own processes end with it
    )
    try:
        out, err = process.communicate(timeout=args.limit)
    except subprocess.TimeoutExpired:
        return f"no result within {args.limit:g} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = [line for line in err.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"ended with exit code {process.returncode}"
    return Figure(**json.loads(out.splitlines()[-1]))


def main(args: Args) -> None:
    """Run everything, print the table, and keep the figures where the arguments say."""
    console = Console(stderr=True)
    jobs, rows = list(plan(args)), []
    with progress_bars(console) as bars:
        bar = bars.add_task("", total=len(jobs))
        for system, suite, job in jobs:
            bars.update(bar, description=f"{system}: {suite}, {job.actions}, {job.num_envs:,} environments")
            outcome = run(job, args)
            rows.append(Row(system, suite, job.num_envs, job.actions, outcome))
            shown = outcome if isinstance(outcome, str) else f"{outcome.env_steps_per_second:,.0f} env steps/s"
            console.print(f"{system}, {suite}, {job.actions}, {job.num_envs:,}: {shown}", highlight=False)
            bars.advance(bar)
    machine = describe_machine()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    # Where an interpreter lies is this machine's own affair.
    given = [Path(arg).name if arg == str(args.mjbatch_python) else arg for arg in sys.argv[1:]]
    command = shlex.join(["python", "-m", "benchmarks.compare", *given])
    report = {"command": command, "machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    picture = args.output.with_suffix(".png")
    plot(rows, picture)
    table = markdown(rows, machine)
    print(table)
    if args.document is not None:
        link = Path(os.path.relpath(picture, args.document.parent)).as_posix()
        rewrite_section(args.document, "compare", f"{table}\n\n![Environment steps per second of each]({link})")


if __name__ == "__main__":
    main(tyro.cli(Args))
