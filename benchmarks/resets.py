"""Cost and parity of the ways in which a reset finds the settled state of its goal (`mw.make(goals=...)`).

Usage: python -m benchmarks.resets [--num-goals 32] [--lanes 256] [--document docs/guides/goals.md]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mjx_metaworld as mw
from mjx_metaworld.build.machine import versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.env import GOALS, MetaWorldEnv
from mjx_metaworld.episodes import batched, run_episodes
from mjx_metaworld.experts import expert
from mjx_metaworld.observation import OBSERVATION
from mjx_metaworld.parity.reference import reference_env, start_reference
from mjx_metaworld.suites import resolve
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.types import State

_DONE = 16  # environments that restart at once
_ROUNDS = 8
_SAME = 1e-5  # the bar of first observations
_SETTLING = tuple(spec.name for spec in resolve("MT50") if spec.settles_against_prop)


class Cost(NamedTuple):
    """Restart of some environments of a batch."""

    tasks: str
    goals: str
    compile_s: float
    restart_ms: float  # of all that restart


class Parity(NamedTuple):
    """First observations of fresh goals against the reference's at the same goals, and the experts from there."""

    task: str
    same: list[float]  # share within 1e-5: nearest, settled
    median: list[float]
    largest: list[float]
    success: list[float]


def measure_cost(tasks: Sequence[str], label: str, goals: str, lanes: int) -> Cost:
    """Compile a batch's restart, and time it with sixteen environments done."""
    env = mw.make(list(tasks), engine=KinematicEngine, goals=goals)  # pyright: ignore[reportArgumentType]
    batch = mw.VectorEnv(env, lanes, resample_task=False)
    state = jax.jit(batch.reset)(jax.random.key(0))
    done = jnp.arange(lanes) < _DONE
    begin = time.perf_counter()
    restart = jax.jit(batch.restart).lower(state, done).compile()
    compiled = time.perf_counter()
    times = []
    for _ in range(_ROUNDS):
        begin_round = time.perf_counter()
        state = jax.block_until_ready(restart(state, done))
        times.append(time.perf_counter() - begin_round)
    return Cost(label, goals, compiled - begin, 1e3 * float(np.median(times[1:])))


def starts(env: MetaWorldEnv, num_goals: int) -> State:
    """First states, leading axis tasks * goals; the same goals whatever `env.goals`."""
    keys = jax.random.split(jax.random.key(1), len(env.tasks) * num_goals)
    return mw.jit(jax.vmap(env.reset))(keys, jnp.repeat(jnp.arange(len(env.tasks)), num_goals))


def measure_parity(num_goals: int, num_steps: int) -> list[Parity]:
    """Compare first observations and the experts' success, from the nearest and from the settled states."""
    envs = [mw.make(list(_SETTLING), goals=goals) for goals in ("nearest", "settled")]
    first = [starts(env, num_goals) for env in envs]
    observed = [np.asarray(state.obs, float)[:, OBSERVATION].reshape(len(_SETTLING), num_goals, -1) for state in first]
    vectors = np.asarray(first[0].episode.rand_vec, float).reshape(len(_SETTLING), num_goals, -1)
    scripted = expert(envs[0])
    policy = batched(lambda obs, task, key: jnp.clip(scripted(obs, task), -1.0, 1.0))
    # The steps of both are the same program.
    runs = [run_episodes(envs[0], policy, lambda state=state: state, num_steps, steps_per_call=10) for state in first]
    success = [run.stats.success.reshape(len(_SETTLING), num_goals).mean(1) for run in runs]
    figures = []
    for i, spec in enumerate(envs[0].tasks):
        cpu_env = reference_env(spec.name)
        size = len(spec.rand_low)
        there = np.stack([start_reference(cpu_env, spec.name, vector[:size]).copy() for vector in vectors[i]])
        cpu_env.close()
        errors = [np.abs(obs[i] - there).max(1) for obs in observed]
        figures.append(
            Parity(
                spec.name,
                [float(np.mean(error <= _SAME)) for error in errors],
                [float(np.median(error)) for error in errors],
                [float(np.max(error)) for error in errors],
                [float(share[i]) for share in success],
            )
        )
    return figures


def markdown(costs: list[Cost], figures: list[Parity], num_goals: int, lanes: int) -> str:
    """Two tables: what a restart costs, and how near its first observation is to the reference's."""
    lines = ["| tasks | goals | compile, s | 16 restarts, ms |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {c.tasks} | {c.goals} | {c.compile_s:.1f} | {c.restart_ms:.1f} |" for c in costs]
    lines += ["", f"A restart of 16 of {lanes} environments.", ""]
    group = "within 1e-5 | median | largest | expert"
    lines += [f"| task | nearest: {group} | settled: {group} |", "| --- |" + " ---: |" * 8]
    for f in figures:
        cells = [
            f"{same:.0%} | {median:.0e} | {largest:.0e} | {success:.0%}"
            for same, median, largest, success in zip(f.same, f.median, f.largest, f.success, strict=True)
        ]
        lines.append(f"| {f.task} | {' | '.join(cells)} |")
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines += [
        "",
        f"First observations of {num_goals} fresh goals a task against the reference's at the same goals: the share "
        "that agrees within 1e-5, median and largest of the largest differences, and the experts' success.",
        "",
        f"{jax.devices()[0].device_kind}; {installed}. `python -m benchmarks.resets` wrote this.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-goals", type=int, default=32)
    parser.add_argument("--num-steps", type=int, default=500)
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--document", type=Path, default=None)
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # which would tell how fast a file is read
    everything = [spec.name for spec in resolve("MT50")]
    suites = (("the nine", _SETTLING), ("MT50", everything))
    costs = [measure_cost(tasks, label, goals, args.lanes) for label, tasks in suites for goals in reversed(GOALS)]
    table = markdown(costs, measure_parity(args.num_goals, args.num_steps), args.num_goals, args.lanes)
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "resets", table)


if __name__ == "__main__":
    main()
