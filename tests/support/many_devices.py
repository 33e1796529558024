"""Lanes divided among the devices of a process of its own, whose number is fixed once JAX has started.

A program: `python -m support.many_devices REPORT CALLS`, where CALLS is JSON, a list of names of its functions with
their arguments, and the report a list of what they return.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from support.children import environment

if TYPE_CHECKING:
    from mjx_metaworld.env.starts import Goals

NUM_DEVICES = 4
NUM_ENVS, NUM_STEPS, EPISODE_STEPS = 128, 6, 4
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def run_on_devices(file: Path, *calls: Sequence[Any], default_flags: bool = False) -> list[Any]:
    """What functions of this module return in a process of many devices.

    Args:
        file: of the report.
        calls: the function's name and its arguments.
        default_flags: whether programs are compiled as JAX does outside of tests.
    """
    variables = environment()
    if default_flags:
        del variables["XLA_FLAGS"]
    command = [sys.executable, "-m", "support.many_devices", str(file), json.dumps(calls)]
    subprocess.run(command, timeout=1200, check=True, env=variables)  # several times what compiling takes
    return json.loads(file.read_text())


def compare_rollouts(engine: str, tasks: list[str], goals: Goals = "nearest") -> dict[str, Any]:
    """Rollouts of the same batch on all devices and on one, also from a state that was kept as numpy arrays.

    Each device's lanes are a step further into their episodes than the previous one's, so that they restart at
    different steps. Chunks of 16 lanes are the same on one device and on four: only then the compiler vectorizes both
    alike.
    """
    import mjx_metaworld as mw
    from mjx_metaworld.physics.backend import CPU
    from mjx_metaworld.physics.engine import Engine
    from mjx_metaworld.testing import KinematicEngine

    made = {"true": Engine, "kinematic": KinematicEngine}[engine]
    backend = dataclasses.replace(CPU, block=16)
    env = mw.make(tasks, max_episode_steps=EPISODE_STEPS, backend=backend, engine=made, goals=goals)

    def policy(obs: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (NUM_ENVS, 4), minval=-1.0, maxval=1.0)

    def roll_out(devices: Any) -> tuple[Any, Any, Any]:
        vector_env, key = mw.VectorEnv(env, NUM_ENVS, devices=devices), jax.random.key(0)
        state = jax.jit(vector_env.reset)(key)
        begun = np.arange(NUM_ENVS, dtype=np.int32) // (NUM_ENVS // NUM_DEVICES)
        state = state.replace(episode=state.episode.replace(step=jax.device_put(begun, state.episode.step.sharding)))
        run = jax.jit(lambda state: mw.rollout(vector_env, policy, key, NUM_STEPS, state)).lower(state).compile()
        return vector_env, run, run(state)

    vector_env, run, sharded = roll_out(jax.devices())
    _, run_plain, plain = roll_out(None)
    program, kept = run.as_text(), jax.tree.map(np.asarray, plain[0])
    state, transition = sharded
    return {
        "rounds": engine == "true",
        "difference": _difference(plain, sharded),
        "continued": _difference(run_plain(plain[0]), run(jax.device_put(kept, vector_env.sharding))),
        "collectives": [name for name in COLLECTIVES if name + "(" in program or name + "-start(" in program],
        "shards": [list(shard.data.shape) for shard in state.obs.addressable_shards],
        "devices": [shard.device.id for shard in state.obs.addressable_shards],
        "truncated": np.asarray(transition.truncated).tolist(),
    }


def _difference(one: Any, other: Any) -> dict[str, float]:
    leaves = [jax.tree_util.tree_leaves_with_path(out) for out in (one, other)]
    return {
        jax.tree_util.keystr(path): float(np.abs(np.asarray(here).astype(float) - np.asarray(there)).max(initial=0.0))
        for (path, here), (_, there) in zip(*leaves, strict=True)
    }


def divide_goals(ways: list[str], names: list[str]) -> dict[str, list[list[list[float]]]]:
    """Observations after `reset_to` and after a step of four lanes, by each way to divide them among two devices."""
    import mjx_metaworld as mw
    from mjx_metaworld.testing import KinematicEngine

    env = mw.make(names, engine=KinematicEngine)
    task = np.arange(4, dtype=np.int32) % len(names)
    goals = [np.asarray(mw.goals(names[i % len(names)], 1)[0][i], np.float32) for i in range(4)]
    rand_vec = np.stack([np.pad(goal, (0, env.rand_vec_size - len(goal))) for goal in goals])
    mesh, lanes = jax.make_mesh((2,), ("lanes",), devices=jax.devices()[:2]), jax.sharding.PartitionSpec("lanes")

    def start_and_step(task: jax.Array, rand_vec: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jax.vmap(env.reset_to)(task, rand_vec)
        return state.obs, jax.vmap(env.step)(state, jnp.zeros((len(task), 4))).obs

    def by_pmap(task: np.ndarray, rand_vec: np.ndarray) -> Any:
        out = jax.pmap(start_and_step)(task.reshape(2, 2), rand_vec.reshape(2, 2, -1))
        return jax.tree.map(lambda x: x.reshape(4, -1), out)

    def by_shard_map(task: np.ndarray, rand_vec: np.ndarray) -> Any:
        divided = mw.jit(jax.shard_map(start_and_step, mesh=mesh, in_specs=lanes, out_specs=lanes))
        return divided(*jax.device_put((task, rand_vec), jax.sharding.NamedSharding(mesh, lanes)))

    known = {"vmap": mw.jit(start_and_step), "shard_map": by_shard_map, "pmap": by_pmap}
    return {way: jax.tree.map(lambda x: np.asarray(x).tolist(), known[way](task, rand_vec)) for way in ways}


def sample_in_shares(capacity: int) -> dict[str, Any]:
    """Samples of a buffer of four tasks, which all devices have whole, divided among them.

    Args:
        capacity: transitions of each task, and no other size of the program.
    """
    from mjx_metaworld.training.devices import divide
    from mjx_metaworld.training.replay import make_replay

    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("lanes",))
    lanes = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lanes"))
    replay = make_replay(4 * capacity, 8, num_tasks=4, plain_size=3, action_size=2, rows_per_add=16)
    state = replay.init()
    state = state.replace(
        experience=state.experience.replace(reward=jnp.arange(4.0 * capacity).reshape(state.experience.reward.shape)),
        is_full=jnp.ones_like(state.is_full),
    )
    state = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    run = jax.jit(lambda state, key: divide(replay.sample(state, key), lanes)).lower(state, jax.random.key(0)).compile()
    rows = run(state, jax.random.key(0))
    buffers = {leaf.shape for leaf in jax.tree.leaves(state)}
    made = {tuple(map(int, shape.split(","))) for shape in re.findall(r"= \w+\[([0-9,]+)\]", run.as_text() or "")}
    return {
        "cut": sorted(map(list, (shape for shape in made if capacity in shape and shape not in buffers))),
        "shards": [shard.data.shape[0] for shard in rows.reward.addressable_shards],
        "difference": _difference(replay.sample(state, jax.random.key(0)), rows),
    }


def main() -> None:
    """Call what is asked for, and write down what it returns."""
    jax.config.update("jax_num_cpu_devices", NUM_DEVICES)
    from support.economy import economize

    economize()
    report = [globals()[name](*arguments) for name, *arguments in json.loads(sys.argv[2])]
    Path(sys.argv[1]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
