"""Lanes divided among devices: the same results as on one, no communication, and errors for what cannot be divided.

In a process of its own, since the number of CPU devices is fixed once JAX has started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.cli.benchmark import claim_devices, default_devices
from mjx_metaworld.testing import KinematicEngine

NUM_ENVS, NUM_DEVICES, NUM_STEPS, EPISODE_STEPS = 128, 4, 6, 4

# Each device's lanes are a step further into their episodes than the previous one's, so that they restart at different
# steps. Chunks of 16 lanes are the same on one device and on four: only then the compiler vectorizes both alike.
ROLLOUTS = f"""
import dataclasses, json, sys
import jax
jax.config.update("jax_num_cpu_devices", {NUM_DEVICES})
import jax.numpy as jnp, numpy as np
import mjx_metaworld as mw
from mjx_metaworld.physics.config import CPU
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.testing import KinematicEngine

backend = dataclasses.replace(CPU, block=16)
engine, tasks = dict(true=Engine, kinematic=KinematicEngine)[sys.argv[2]], sys.argv[3:]
env = mw.make(tasks, max_episode_steps={EPISODE_STEPS}, backend=backend, engine=engine)
policy = lambda obs, key: jax.random.uniform(key, ({NUM_ENVS}, 4), minval=-1.0, maxval=1.0)

def roll_out(devices):
    vector_env = mw.VectorEnv(env, {NUM_ENVS}, devices=devices)
    key = jax.random.key(0)
    state = jax.jit(vector_env.reset)(key)
    begun = jnp.arange({NUM_ENVS}) // ({NUM_ENVS} // {NUM_DEVICES})
    state = state.replace(episode=state.episode.replace(step=jax.device_put(begun, state.episode.step.sharding)))
    run = jax.jit(lambda state: mw.rollout(vector_env, policy, key, {NUM_STEPS}, state)).lower(state).compile()
    return vector_env, run, run(state)

def difference(one, other):
    leaves = [jax.tree_util.tree_leaves_with_path(out) for out in (one, other)]
    return {{
        jax.tree_util.keystr(path): float(np.abs(np.asarray(here).astype(float) - np.asarray(there)).max(initial=0.0))
        for (path, here), (_, there) in zip(*leaves, strict=True)
    }}

vector_env, run, sharded = roll_out(jax.devices())
_, run_plain, plain = roll_out(None)
program, kept = run.as_text(), jax.tree.map(np.asarray, plain[0])
continued = run(jax.device_put(kept, vector_env.sharding))
collectives = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
state, transition = sharded
json.dump(
    {{
        "difference": difference(plain, sharded),
        "continued": difference(run_plain(plain[0]), continued),
        "collectives": [name for name in collectives if name + "(" in program or name + "-start(" in program],
        "shards": [list(shard.data.shape) for shard in state.obs.addressable_shards],
        "devices": [shard.device.id for shard in state.obs.addressable_shards],
        "truncated": np.asarray(transition.truncated).tolist(),
    }},
    open(sys.argv[1], "w"),
)
"""


SEVERAL = ("pick-place-v3", "door-open-v3")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("kinematic", "reach-v3"), id="kinematic"),
        pytest.param(("kinematic", *SEVERAL), id="kinematic, several tasks", marks=pytest.mark.full),
        pytest.param(("true", *SEVERAL), id="true", marks=pytest.mark.full),
    ],
)
def rollouts(request, tmp_path_factory) -> dict[str, Any]:
    """Rollouts of the same batch on four devices and on one, compared in another process."""
    report: Path = tmp_path_factory.mktemp("sharding") / "report.json"
    # The limit is several times what compiling two programs takes.
    command = [sys.executable, "-c", ROLLOUTS, str(report), *request.param]
    environment = dict(os.environ)
    if request.param[0] == "true":  # with the newer code generator: the other rounds the two programs differently
        del environment["XLA_FLAGS"]
    subprocess.run(command, timeout=900, check=True, env=environment)
    return json.loads(report.read_text())


def test_four_devices_compute_what_one_does(rollouts):
    """From the start, and from a state that was kept as numpy arrays on one device."""
    for errors in (rollouts["difference"], rollouts["continued"]):
        assert not {leaf: error for leaf, error in errors.items() if error != 0.0}


def test_every_device_has_its_lanes_and_exchanges_nothing(rollouts):
    assert rollouts["devices"] == list(range(NUM_DEVICES))
    assert rollouts["shards"] == [[NUM_ENVS // NUM_DEVICES, 39]] * NUM_DEVICES
    assert rollouts["collectives"] == []


def test_devices_restart_their_own_lanes(rollouts):
    truncated = np.asarray(rollouts["truncated"]).reshape(NUM_STEPS, NUM_DEVICES, -1)
    # Device d begins d steps into the episodes: its first ends after EPISODE_STEPS - d more, then every EPISODE_STEPS.
    expected = [[(step + 1 + d) % EPISODE_STEPS == 0 for d in range(NUM_DEVICES)] for step in range(NUM_STEPS)]
    np.testing.assert_array_equal(truncated, np.broadcast_to(np.asarray(expected)[..., None], truncated.shape))


@pytest.mark.parametrize(
    ("devices", "message"),
    [([], "at least one"), (["first", "first"], "none twice"), (["first", "second"], "multiple")],
)
def test_bad_devices_are_refused(devices, message):
    with pytest.raises(ValueError, match=message):
        mw.VectorEnv(mw.make("reach-v3", engine=KinematicEngine), 5, devices=devices)


def test_devices_that_are_not_there_cannot_be_claimed():
    here = len(jax.devices())
    assert claim_devices(1) == jax.devices()[:1]
    with pytest.raises(ValueError, match=f"at most {here} here, got {here + 1}"):
        claim_devices(here + 1)
    with pytest.raises(ValueError, match="positive"):
        claim_devices(0)


def test_small_batches_are_not_divided():
    jax.devices()  # JAX has started: no device is made here
    assert default_devices(16) == 1
    assert 1024 % default_devices(1024) == 0
