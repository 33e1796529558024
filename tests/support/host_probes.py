"""Programs of one or several processes, on one machine instead of several hosts, and what they compute.

A program: `python -m support.host_probes FOLDER DEVICES CALLS`, where DEVICES is the number of each process and CALLS
is JSON, a list of names of its functions with their arguments. It is one of several processes where the environment has
JAX's three variables. What the functions return is written down by the first process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mjx_metaworld.processes.cluster import ADDRESS, connect, environments_here
from support.children import environment

NUM_ENVS, NUM_STEPS, EPISODE_STEPS = 16, 6, 4
REPORT = "report.json"


def start(command: Sequence[str], processes: int = 1) -> list[subprocess.Popen[str]]:
    """Start a command as each of so many processes of a program, whose output can be read."""
    return [
        subprocess.Popen(command, env=environment() | place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for place in environments_here(processes)
    ]


def run_processes(folder: Path, *calls: Sequence[Any], processes: int = 1, devices: int = 1) -> list[Any]:
    """Results of functions of this module, in the first process of a program.

    Args:
        folder: for what they write.
        calls: the functions' names and arguments.
        processes: their number.
        devices: of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "support.host_probes", str(folder), str(devices), json.dumps(calls)]
    ended = ends(start(command, processes))
    assert [end.code for end in ended] == [0] * processes, "\n".join(end.err for end in ended)
    return json.loads((folder / REPORT).read_text())


class End(NamedTuple):
    """Exit code and output of a process."""

    code: int
    out: str
    err: str


def ends(processes: Sequence[subprocess.Popen[str]], timeout: float = 600) -> list[End]:
    """Wait for processes; those that take longer are killed, and the test fails."""
    deadline = time.monotonic() + timeout
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
            ended.append(End(process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return ended


# --- what the processes call ---


def roll_out() -> dict[str, list[Any]]:
    """States and transitions of a rollout over the devices of all processes, without dynamics."""
    import mjx_metaworld as mw
    from mjx_metaworld.testing import KinematicEngine
    from mjx_metaworld.training.devices import fetch

    env = mw.make(["reach-v3", "push-v3"], max_episode_steps=EPISODE_STEPS, engine=KinematicEngine)
    vector_env, key = mw.VectorEnv(env, NUM_ENVS, devices=jax.devices()), jax.random.key(0)

    def policy(obs: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (NUM_ENVS, 4), minval=-1.0, maxval=1.0)

    state = mw.jit(vector_env.reset)(key)
    state, transitions = mw.jit(lambda state: mw.rollout(vector_env, policy, key, NUM_STEPS, state))(state)
    numbers = fetch({"obs": state.obs, "rewards": transitions.reward, "truncated": transitions.truncated})
    return {name: value.tolist() for name, value in numbers.items()}


def learn(algorithm: str, iterations: int, name: str) -> dict[str, Any]:
    """A run of the real loop on a probe with a checkpoint every other iteration, from a folder's newest one."""
    from mjx_metaworld.training.devices import fetch
    from mjx_metaworld.training.state_arrays import take_apart
    from support.training_probes import run_probe

    lanes = None
    if jax.device_count() > 1:
        lanes = NamedSharding(Mesh(np.asarray(jax.devices()), ("lanes",)), PartitionSpec("lanes"))
    state, progress = run_probe(Path(sys.argv[1]) / name, iterations, 2, algorithm, lanes)
    arrays = fetch(dict(take_apart(state).arrays))
    numbers = {path: np.asarray(array).tolist() for path, array in arrays.items()}
    return {"iteration": progress.iteration, "numbers": numbers}


def main() -> None:
    """Call what is asked for, and write down what it returns."""
    folder, devices, calls = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    jax.config.update("jax_num_cpu_devices", devices)
    if os.environ.get(ADDRESS):
        connect()
    from support.economy import economize

    economize()
    report = [globals()[name](*arguments) for name, *arguments in calls]
    if jax.process_index() == 0:
        (folder / REPORT).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
