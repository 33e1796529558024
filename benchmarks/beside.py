"""Environment steps per second of this checkout and of others of this project, by turns, under two kinds of actions.

Each checkout has a process of its own, with one device a core; all step the same tasks and take their turns, so that
the ratios hold on a machine that others use too. Only stepping is timed: random actions are there before, and those of
the scripted experts are computed between the steps.

    python -m benchmarks.beside ../earlier --tasks MT50 --num-envs 1024 --document docs/guides/performance.md
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.checkouts import checkouts_by_name, environment_of, tell, write_table
from mjx_metaworld.build.machine import describe_machine

ACTIONS = ("random", "experts")
# Reads a kind of actions and a number of seconds a line, answers with a rate.
_PROCESS = """
import itertools, sys, time
import jax, jax.numpy as jnp
import mjx_metaworld as mw
tasks, num_envs = sys.argv[1], int(sys.argv[2])
devices = jax.devices()
batch = mw.VectorEnv(mw.make(tasks), num_envs, resample_task=False, devices=devices if len(devices) > 1 else None)
state = mw.jit(batch.reset)(jax.random.key(0))
act = mw.jit(jax.vmap(mw.expert(batch.env)))
uniform = mw.jit(lambda key: jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0))
random = jax.block_until_ready([uniform(key) for key in jax.random.split(jax.random.key(1), 8)])
step = mw.jit(batch.step).lower(state, act(state.obs, state.task)).compile()
think = {
    "random": (lambda state, number: random[number % len(random)]),
    "experts": (lambda state, number: jnp.clip(act(state.obs, state.task), -1.0, 1.0)),
}
state = {kind: state for kind in think}
for kind, own in state.items():  # objects are at rest at first: once they are struck the work is what it stays
    for number in range(20):
        own, _ = step(own, jax.device_put(think[kind](own, number), own.obs.sharding))
    state[kind] = jax.block_until_ready(own)
print("ready", flush=True)
for line in sys.stdin:
    kind, seconds = line.split()[0], float(line.split()[1])
    own, spent, steps = state[kind], 0.0, 0
    while spent < seconds:
        action = jax.block_until_ready(jax.device_put(think[kind](own, steps), own.obs.sharding))
        start = time.perf_counter()
        own, _ = jax.block_until_ready(step(own, action))
        spent += time.perf_counter() - start
        steps += 1
    state[kind] = own
    print(steps * num_envs / spent, flush=True)
"""


@dataclass(frozen=True)
class Args:
    """Checkouts and batch to measure."""

    checkouts: Annotated[tuple[Path, ...], tyro.conf.Positional]  # other checkouts of this project
    tasks: str = "MT50"
    num_envs: int = 1024
    devices: int = os.cpu_count() or 1  # among which the lanes are divided, on a CPU
    rounds: int = 5  # of which the median counts
    seconds: float = 3.0  # a turn
    output: Path | None = None  # append the JSON lines to this file
    document: Path | None = None  # write the table between this Markdown file's `beside` markers


@dataclass(frozen=True)
class Figure:
    """Rate of a checkout."""

    checkout: str
    tasks: str
    num_envs: int
    devices: int
    actions: str
    env_steps_per_s: float


class Process:
    """A checkout that steps when asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait(self) -> None:
        """Wait until it has compiled."""
        self._line()

    def rate(self, actions: str, seconds: float) -> float:
        """Environment steps per second of a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{actions} {seconds}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process ended with code {self._process.wait()}")
        return line


@contextmanager
def started(checkout: Path, folder: Path, args: Args) -> Iterator[Process]:
    """A process of a checkout, ended afterwards."""
    environment = environment_of(checkout, folder) | {"JAX_NUM_CPU_DEVICES": str(args.devices)}
    command = [sys.executable, "-c", _PROCESS, args.tasks, str(args.num_envs)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=checkout, env=environment, text=True, stdin=pipe, stdout=pipe) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def figures(args: Args) -> list[Figure]:
    """Medians over the rounds, the checkouts by turns."""
    with ExitStack() as stack:
        processes = {}
        for name, path in checkouts_by_name(args.checkouts).items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            processes[name] = stack.enter_context(started(path, folder, args))
            processes[name].wait()
        seen: dict[tuple[str, str], list[float]] = {(name, kind): [] for kind in ACTIONS for name in processes}
        for _ in range(args.rounds):
            for name, kind in seen:
                seen[name, kind].append(processes[name].rate(kind, args.seconds))
                print(name, kind, f"{seen[name, kind][-1]:.0f}", file=sys.stderr, flush=True)
    return [
        Figure(name, args.tasks, args.num_envs, args.devices, kind, statistics.median(rates))
        for (name, kind), rates in seen.items()
    ]


def table(measured: Sequence[Figure]) -> list[str]:
    """Rows of a Markdown table; the last column is over the slowest checkout."""
    slowest = {kind: min(f.env_steps_per_s for f in measured if f.actions == kind) for kind in ACTIONS}
    head = [
        "| build | tasks | environments | actions | env steps/s | ratio |",
        "| --- | --- | ---: | --- | ---: | ---: |",
    ]
    return head + [
        f"| {f.checkout} | {f.tasks} | {f.num_envs:,} | {f.actions} | {f.env_steps_per_s:,.0f} "
        f"| {f.env_steps_per_s / slowest[f.actions]:.2f} |"
        for f in measured
    ]


def main(args: Args) -> None:
    """Measure, print a line of JSON for each figure, and write the table."""
    measured = figures(args)
    tell(measured, args.output)
    write_table(args.document, "beside", table(measured), f"{describe_machine()}, {args.devices} devices")


if __name__ == "__main__":
    main(tyro.cli(Args))
