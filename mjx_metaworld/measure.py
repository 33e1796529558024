"""Environment steps per second, with compile and run timed apart and the results awaited."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from mjx_metaworld.env import make
from mjx_metaworld.physics.model import PhysicsConfig
from mjx_metaworld.vector import VectorEnv, rollout


@dataclass(frozen=True)
class Throughput:
    """The figures of one batch size, and what they were measured on."""

    tasks: str
    num_envs: int
    env_steps_per_second: float
    compile_reset_s: float
    compile_step_s: float
    peak_memory_mb: int  # of the process so far, on the host
    device: str
    machine: str
    versions: dict[str, str]


def measure(
    tasks: str,
    num_envs: int,
    *,
    seconds: float = 10.0,
    steps_per_call: int = 10,
    seed: int = 0,
    physics: PhysicsConfig | None = None,
) -> Throughput:
    """Step a vector environment under random actions, autoreset on, in this process.

    Args:
        tasks: a suite or a task.
        num_envs: lanes.
        seconds: run at least this long after the warm-up.
        steps_per_call: control steps in one jitted call.
        seed: of goals and actions.
        physics: fixed sizes of the engine.

    Raises:
        ValueError: for an unknown suite or a bad number of environments.
    """
    vector_env = VectorEnv(make(tasks, physics=physics), num_envs)

    def policy(obs, key):
        return jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0)

    def run(state, key):
        state, transition = rollout(vector_env, policy, key, steps_per_call, state)
        return state, transition.reward.mean()

    key = jax.random.key(seed)
    start = time.perf_counter()
    reset = jax.jit(vector_env.reset).lower(key).compile()
    compile_reset = time.perf_counter() - start
    state = jax.block_until_ready(reset(key))
    start = time.perf_counter()
    compiled = jax.jit(run).lower(state, key).compile()
    compile_step = time.perf_counter() - start

    state, _ = jax.block_until_ready(compiled(state, key))
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or calls == 0:
        key, step_key = jax.random.split(key)
        state, _ = jax.block_until_ready(compiled(state, step_key))
        calls += 1
    return Throughput(
        tasks=tasks,
        num_envs=num_envs,
        env_steps_per_second=round(calls * steps_per_call * num_envs / elapsed, 1),
        compile_reset_s=round(compile_reset, 2),
        compile_step_s=round(compile_step, 2),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        device=jax.devices()[0].device_kind,
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {len(jax.devices())} device(s)",
        versions={name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "mujoco", "metaworld")},
    )


def markdown(figures: Sequence[Throughput]) -> str:
    """The figures as a Markdown table, with device and versions beneath."""
    rows = [
        f"| {f.tasks} | {f.num_envs:,} | {f.env_steps_per_second:,.0f} | {f.compile_reset_s:.0f} "
        f"| {f.compile_step_s:.0f} | {f.peak_memory_mb:,} |"
        for f in figures
    ]
    versions = ", ".join(f"{name} {version}" for name, version in figures[0].versions.items())
    return "\n".join(
        [
            "| tasks | environments | env steps/s | compile reset, s | compile step, s | peak memory, MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"On {figures[0].device} ({figures[0].machine}); {versions}.",
        ]
    )
