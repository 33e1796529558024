"""Lanes divided by a user's own `shard_map` or `pmap`: steps, and resets to goals that are settled on the host.

In a process of its own, since the number of CPU devices is fixed once JAX has started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

DIVIDED = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp, numpy as np
import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine

chosen, names = sys.argv[2].split(","), sys.argv[3:]
env = mw.make(names, engine=KinematicEngine)
task = jnp.arange(4) % len(names)
goals = [np.asarray(mw.goals(names[i % len(names)], 1)[0][i], np.float32) for i in range(4)]
rand_vec = jnp.asarray(np.stack([np.pad(goal, (0, env.rand_vec_size - len(goal))) for goal in goals]))
mesh, lanes = jax.make_mesh((2,), ("lanes",)), jax.sharding.PartitionSpec("lanes")

def start_and_step(task, rand_vec):
    state = jax.vmap(env.reset_to)(task, rand_vec)
    return state.obs, jax.vmap(env.step)(state, jnp.zeros((len(task), 4))).obs

def by_pmap(task, rand_vec):
    out = jax.pmap(start_and_step)(task.reshape(2, 2), rand_vec.reshape(2, 2, -1))
    return jax.tree.map(lambda x: x.reshape(4, -1), out)

def by_shard_map(task, rand_vec):
    divided = mw.jit(jax.shard_map(start_and_step, mesh=mesh, in_specs=lanes, out_specs=lanes))
    return divided(*jax.device_put((task, rand_vec), jax.sharding.NamedSharding(mesh, lanes)))

ways = {
    "vmap": mw.jit(start_and_step),
    "shard_map": by_shard_map,
    "pmap": by_pmap,
}
found = {name: jax.tree.map(lambda x: np.asarray(x).tolist(), ways[name](task, rand_vec)) for name in chosen}
json.dump(found, open(sys.argv[1], "w"))
"""


# The first settles against its prop, by a callback to the host.
SEVERAL = ("door-lock-v3", "reach-v3")


@pytest.fixture(
    scope="module",
    params=[pytest.param(SEVERAL[:1], id="one"), pytest.param(SEVERAL, id="two", marks=pytest.mark.full)],
)
def observations(request, tmp_path_factory) -> dict[str, list[list[list[float]]]]:
    """Observations after `reset_to` and after a step, by each way to divide four lanes."""
    report = tmp_path_factory.mktemp("divided") / "report.json"
    environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    ways = "vmap,shard_map,pmap" if request.config.getoption("--full") else "vmap,shard_map"
    command = [sys.executable, "-c", DIVIDED, str(report), ways, *request.param]
    subprocess.run(command, timeout=600, check=True, env=environment)
    return json.loads(report.read_text())


# `pmap` divides the same function into a program of its own, which takes as long again to compile.
@pytest.mark.parametrize("way", ["shard_map", pytest.param("pmap", marks=pytest.mark.full)])
def test_goals_are_settled_on_every_device(observations, way):
    for divided, together in zip(observations[way], observations["vmap"], strict=True):
        # Metres of order one in float32; two programs round differently.
        assert [row == pytest.approx(other, abs=1e-6) for row, other in zip(divided, together, strict=True)] == [
            True
        ] * 4
