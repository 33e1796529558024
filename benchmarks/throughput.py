"""Environment steps per second over the number of environments: random actions, autoreset on, one process.

Compile and run are timed apart; every run blocks until the results are ready. Writes JSON lines with the device and
the versions that were measured.

    python -m benchmarks.throughput --tasks MT10 --num-envs 256 1024 4096
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import tyro

import mjx_metaworld as mw
from mjx_metaworld.document import rewrite_section


@dataclass(frozen=True)
class Args:
    """What to measure."""

    tasks: str = "MT10"
    num_envs: tuple[int, ...] = (256, 1024, 4096)
    seconds: float = 10.0  # run at least this long after the warm-up
    scan: int = 10  # control steps in one call
    seed: int = 0
    output: Path | None = None  # append the JSON lines to this file
    document: Path | None = None  # write the table between this Markdown file's `speed` markers
    lanes: int | None = field(default=None)  # override the tile width
    chunk: int | None = field(default=None)  # override the environments computed at a time


def measure(args: Args, num_envs: int) -> dict[str, Any]:
    """Compile and run one batch size; returns the figures."""
    overrides = {name: value for name in ("lanes", "chunk") if (value := getattr(args, name)) is not None}
    env = mw.make(args.tasks, physics=mw.PhysicsConfig(**overrides))
    vector_env = mw.VectorEnv(env, num_envs)

    def policy(obs, key):
        return jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0)

    def run(state, key):
        state, transition = mw.rollout(vector_env, policy, key, args.scan, state)
        return state, transition.reward.mean()

    key = jax.random.key(args.seed)
    start = time.perf_counter()
    reset = jax.jit(vector_env.reset).lower(key).compile()
    compile_reset = time.perf_counter() - start
    state = jax.block_until_ready(reset(key))
    start = time.perf_counter()
    compiled = jax.jit(run).lower(state, key).compile()
    compile_step = time.perf_counter() - start

    state, _ = jax.block_until_ready(compiled(state, key))
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds:
        key, step_key = jax.random.split(key)
        state, _ = jax.block_until_ready(compiled(state, step_key))
        steps += args.scan
    elapsed = time.perf_counter() - start
    return {
        "tasks": args.tasks,
        "num_envs": num_envs,
        "env_steps_per_second": round(steps * num_envs / elapsed, 1),
        "compile_reset_s": round(compile_reset, 2),
        "compile_step_s": round(compile_step, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device": jax.devices()[0].device_kind,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {len(jax.devices())} device(s)",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "mujoco", "metaworld")},
    }


def table(figures: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table, with device and versions beneath."""
    rows = [
        f"| {f['tasks']} | {f['num_envs']:,} | {f['env_steps_per_second']:,.0f} | {f['compile_reset_s']:.0f} "
        f"| {f['compile_step_s']:.0f} | {f['peak_memory_mb']:,} |"
        for f in figures
    ]
    first = figures[0]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    return "\n".join(
        [
            "| tasks | environments | env steps/s | compile reset, s | compile step, s | peak memory, MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"On {first['device']} ({first['machine']}); {versions}.",
        ]
    )


def main(args: Args) -> None:
    """Print one JSON line a batch size, and keep the figures where the arguments say."""
    figures = []
    for num_envs in args.num_envs:
        figures.append(measure(args, num_envs))
        line = json.dumps(figures[-1])
        print(line, flush=True)
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            with args.output.open("a") as file:
                file.write(line + "\n")
    if args.document is not None:
        rewrite_section(args.document, "speed", table(figures))


if __name__ == "__main__":
    main(tyro.cli(Args))
