"""A process that `benchmarks.hosts` starts, alone or as one of several: it steps and trains when it is told to.

    python -m benchmarks.hosts_worker TASKS NUM_ENVS DEVICES CORE,CORE

It reads lines from stdin, "stepping CALLS" or "training CALLS", and answers each with the environment steps of these
calls and their seconds; the first line that it prints says that all is compiled. Of several processes the first alone
answers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

import mjx_metaworld as mw
from mjx_metaworld.processes.cluster import ADDRESS, connect
from mjx_metaworld.processes.hosts import is_leader
from mjx_metaworld.training.config import TrainConfig
from mjx_metaworld.training.devices import placement, reports
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.train import build
from mjx_metaworld.vector import Device

STEPPING, TRAINING = "stepping", "training"
STEPS_PER_CALL = 10  # of stepping, and of an iteration's rollout
Call = Callable[[], None]


def stepping(tasks: str, num_envs: int, devices: list[Device] | None) -> Call:
    """Random actions, autoreset on; the episodes go on from call to call."""
    vector_env = mw.VectorEnv(mw.make(tasks), num_envs, devices=devices)

    def policy(obs: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (num_envs, 4), minval=-1.0, maxval=1.0)

    key, state = jax.random.key(0), mw.jit(vector_env.reset)(jax.random.key(0))
    advance = mw.jit(lambda state, key: mw.rollout(vector_env, policy, key, STEPS_PER_CALL, state)[0])

    def call() -> None:
        nonlocal key, state
        key, step_key = jax.random.split(key)
        state = jax.block_until_ready(advance(state, step_key))

    return call


def training(tasks: str, num_envs: int, devices: list[Device] | None) -> Call:
    """Iterations of PPO by its defaults, but for the length of a rollout."""
    config = TrainConfig(tasks, PPOConfig(num_envs=num_envs, horizon=STEPS_PER_CALL))
    algorithm = build(config, devices)[1]
    key = jax.random.key(0)
    places = placement(jax.eval_shape(algorithm.init, key), algorithm.sharding)
    state: Any = mw.jit(algorithm.init, out_shardings=places)(key)
    iterate = mw.jit(algorithm.iterate, donate_argnums=0, out_shardings=(places, reports(algorithm.sharding)))

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(iterate(state))

    return call


def main(tasks: str, num_envs: int, devices: int, cores: list[int]) -> None:
    """Compile, then do what each line asks for."""
    os.sched_setaffinity(0, cores)
    jax.config.update("jax_num_cpu_devices", devices)
    if os.environ.get(ADDRESS):
        connect()
    divided = jax.devices() if jax.device_count() > 1 else None
    calls = {
        STEPPING: stepping(tasks, num_envs, divided),
        TRAINING: training(tasks, num_envs, divided),
    }
    for call in calls.values():
        call()
    _answer({"ready": True})
    for line in sys.stdin:
        work, count = line.split()
        begin = time.perf_counter()
        for _ in range(int(count)):
            calls[work]()
        _answer({"env_steps": int(count) * STEPS_PER_CALL * num_envs, "seconds": time.perf_counter() - begin})


def _answer(content: dict[str, Any]) -> None:
    if is_leader():
        print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [int(core) for core in sys.argv[4].split(",")])
