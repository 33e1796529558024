"""Cameras on several devices: in a user's own `shard_map`, and under `VectorEnv(devices=...)`.

In a process of its own, since the number of CPU devices is fixed once JAX has started.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("warp")
# The quick set draws on one device (`test_camera.py`, `test_pixels.py`), and divides what it does not draw
# (`test_sharding.py`).
pytestmark = pytest.mark.full

DIVIDED = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp, numpy as np
import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine

env = mw.make("reach-v3", engine=KinematicEngine, max_episode_steps=2, pixels=mw.Pixels("corner2", 16, 16))
mesh, lanes = jax.make_mesh((2,), ("lanes",)), jax.sharding.PartitionSpec("lanes")
keys, tasks, actions = jax.random.split(jax.random.key(0), 4), jnp.zeros(4, int), jnp.full((4, 4), 0.5)
draw = mw.camera(env, "corner2", 16, 16)

def start_and_step(keys, tasks, actions):
    state = jax.vmap(env.blind.reset)(keys, tasks)
    after = jax.vmap(env.step)(state, actions)
    return jax.vmap(draw)(state), after.pixels, after.obs

def divided(fn, *args):
    on_devices = jax.device_put(args, jax.sharding.NamedSharding(mesh, lanes))
    return jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=lanes, out_specs=lanes))(*on_devices)

def by_vector_env(devices):
    vector_env = mw.VectorEnv(env, 4, resample_task=False, devices=devices)
    run = jax.jit(lambda key: mw.rollout(vector_env, lambda obs, key: actions, key, 3))
    state, transitions = run(jax.random.key(0))
    return state.pixels, transitions.pixels

one_device = jax.jit(start_and_step)
together, apart = one_device(keys, tasks, actions), divided(start_and_step, keys, tasks, actions)
alone, spread = by_vector_env(None), by_vector_env(jax.devices())
report = {
    "camera": np.abs(np.asarray(together[0], int) - np.asarray(apart[0])).max(),
    "step": np.abs(np.asarray(together[1], int) - np.asarray(apart[1])).max(),
    "last": np.abs(np.asarray(alone[0], int) - np.asarray(spread[0])).max(),
    "rollout": np.abs(np.asarray(alone[1], int) - np.asarray(spread[1])).max(),
    "devices": len(spread[0].sharding.device_set),
    "contrast": np.asarray(apart[0], int).std(),
}
json.dump({name: float(value) for name, value in report.items()}, open(sys.argv[1], "w"))
for _ in range(100):
    one_device(keys, tasks, actions)  # and the process ends while these are computed
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict[str, float]:
    path = tmp_path_factory.mktemp("divided") / "report.json"
    done = subprocess.run([sys.executable, "-c", DIVIDED, str(path)], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr  # the pictures that were left are given up without a word
    return json.loads(path.read_text())


def test_a_camera_and_a_step_draw_in_a_shard_map(report):
    assert report["contrast"] > 10
    # Two programs round a pose differently in its last bit, which no pixel of these shows.
    assert report["camera"] <= 1
    assert report["step"] <= 1


def test_a_divided_batch_is_drawn_where_its_lanes_are(report):
    assert report["devices"] == 2
    assert report["last"] <= 1
    assert report["rollout"] <= 1
