"""Environment steps per second over the number of environments: random actions, autoreset on, one process.

Compile and run are timed apart; every run blocks until the results are ready. Writes JSON lines with the device and
the versions that were measured.

    python -m benchmarks.throughput --tasks MT10 --num-envs 256 1024 4096
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import tyro

import mjx_metaworld as mw


@dataclass(frozen=True)
class Args:
    """What to measure."""

    tasks: str = "MT10"
    num_envs: tuple[int, ...] = (256, 1024, 4096)
    seconds: float = 10.0  # run at least this long after the warm-up
    scan: int = 10  # control steps in one call
    seed: int = 0
    output: Path | None = None
    lanes: int | None = field(default=None)  # override the tile width
    chunk: int | None = field(default=None)  # override the environments computed at a time


def measure(args: Args, num_envs: int) -> dict[str, object]:
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
        "machine": f"{platform.machine()}, {len(jax.devices())} device(s)",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "mujoco", "metaworld")},
    }


def main(args: Args) -> None:
    """Print one JSON line a batch size, and append them to `--output`."""
    for num_envs in args.num_envs:
        line = json.dumps(measure(args, num_envs))
        print(line, flush=True)
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            with args.output.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
