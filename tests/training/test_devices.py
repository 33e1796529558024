"""Training on several devices: what one device learns, up to rounding, and going on from a checkpoint.

In a process of its own, since the number of CPU devices is fixed once JAX has started.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support import training_probes
from support.training_probes import run_probe

pytestmark = pytest.mark.ci

NUM_DEVICES, ITERATIONS = 2, 6
# Of numbers of size one after a few dozen updates: sums over two devices round differently, and Adam blows up what
# differs in small gradients.
ROUNDING = 1e-3
PRELUDE = f"""
import json, shutil, sys
from pathlib import Path
sys.path.insert(0, {str(Path(training_probes.__file__).parents[1])!r})
import jax
jax.config.update("jax_num_cpu_devices", {NUM_DEVICES})
import jax.numpy as jnp, numpy as np
from support.economy import economize

economize()
folder = Path(sys.argv[1])

def as_numpy(leaf):
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

def difference(one, other):  # of states, relative to the size of each leaf's numbers
    def error(here, there):
        here, there = as_numpy(here).astype(float), as_numpy(there).astype(float)
        return float((np.abs(here - there) / np.maximum(1.0, np.abs(here))).max(initial=0.0))
    return max(jax.tree.leaves(jax.tree.map(error, one, other)))

def lanes_of(leaf):  # a device
    return sorted(shard.data.shape[0] for shard in leaf.addressable_shards)
"""
PROBES = f"""{PRELUDE}
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from support.training_probes import run_probe

lanes = NamedSharding(Mesh(np.asarray(jax.devices()), ("lanes",)), PartitionSpec("lanes"))
half, whole = {ITERATIONS} // 2, {ITERATIONS}
report = {{}}
for name in sys.argv[2:]:
    one, _ = run_probe(folder / f"{{name}}-one", whole, whole, name)
    two, progress = run_probe(folder / f"{{name}}-two", whole, half, name, lanes)
    for copy in ("again", "mixed"):
        shutil.copytree(folder / f"{{name}}-two", folder / f"{{name}}-{{copy}}")
        shutil.rmtree(folder / f"{{name}}-{{copy}}" / "checkpoints" / str(whole))
    again, _ = run_probe(folder / f"{{name}}-again", whole, half, name, lanes)  # from the checkpoint half-way
    mixed, _ = run_probe(folder / f"{{name}}-mixed", whole, half, name)  # from it on a single device
    parameters = {{"ppo": "actor", "sac": "learner", "fastsac": "learner", "rl2": "learner", "clone": "student"}}[name]
    report[name] = {{
        "iterations": progress.iteration,
        "lanes": lanes_of(two.env_state.obs),
        "everywhere": all(leaf.is_fully_replicated for leaf in jax.tree.leaves(getattr(two, parameters))),
        "again": difference(again, two),
        "one": difference(two, one),
        "mixed": difference(mixed, one),
        "devices_of_mixed": len(mixed.env_state.obs.sharding.device_set),
    }}
(folder / "report.json").write_text(json.dumps(report))
"""
TASK = f"""{PRELUDE}
from support.training_probes import learn_alone

from mjx_metaworld.training import PPOConfig, TrainConfig, train
from mjx_metaworld.training.records import read_records
from mjx_metaworld.training.train import build

config = TrainConfig("reach-v3", PPOConfig(num_envs=8, horizon=5, episode_steps=10, hidden=(8,), minibatches=2),
                     env_steps=120, eval_every=120, eval_goals=4)
key = jax.random.key(0)
one, _ = learn_alone(build(config)[1], key, folder / "one", 3, 3)
two = train(config, key, folder / "two", devices=jax.devices())
(folder / "report.json").write_text(json.dumps({{
    "one": difference(one, two.state),
    "lanes": lanes_of(two.state.env_state.obs),
    "devices": json.loads((folder / "two" / "run.json").read_text())["devices"],
    "evaluation": read_records(folder / "two")[-1],
}}))
"""


def report_of(script: str, folder: Path, *algorithms: str) -> dict[str, Any]:
    subprocess.run([sys.executable, "-c", script, str(folder), *algorithms], timeout=1200, check=True)
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def probes(request, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """Of the algorithms on a probe, and where their checkpoints are."""
    folder = tmp_path_factory.mktemp("devices")
    algorithms = ("ppo", "sac", "fastsac", "rl2", "clone") if request.config.getoption("--full") else ("ppo",)
    return report_of(PROBES, folder, *algorithms), folder


# The loop, the division of a batch and the checkpoints are the same code for all.
EACH_ALGORITHM = pytest.mark.parametrize(
    "algorithm", ["ppo", *(pytest.param(name, marks=pytest.mark.full) for name in ("sac", "fastsac", "rl2", "clone"))]
)


@EACH_ALGORITHM
def test_two_devices_learn_what_one_does(probes, algorithm):
    report = probes[0][algorithm]
    assert report["iterations"] == ITERATIONS
    assert report["one"] < ROUNDING
    assert report["mixed"] < ROUNDING


@EACH_ALGORITHM
def test_a_checkpoint_goes_on_bit_by_bit_on_as_many_devices(probes, algorithm):
    assert probes[0][algorithm]["again"] == 0.0


@EACH_ALGORITHM
def test_lanes_are_divided_and_parameters_are_everywhere(probes, algorithm):
    report = probes[0][algorithm]
    assert report["lanes"] == [16 // NUM_DEVICES] * NUM_DEVICES
    assert report["everywhere"]
    assert report["devices_of_mixed"] == 1


@EACH_ALGORITHM
def test_a_checkpoint_is_read_where_its_devices_are_not(probes, algorithm):
    state, progress = run_probe(probes[1] / f"{algorithm}-two", ITERATIONS, algorithm=algorithm)  # done: it only reads
    assert progress.iteration == ITERATIONS
    assert state.env_state.obs.sharding.device_set == {jax.devices()[0]}
    assert np.isfinite(state.env_state.obs).all()


@pytest.mark.full
def test_two_devices_learn_a_task_as_one_does(tmp_path):
    report = report_of(TASK, tmp_path)
    assert report["lanes"] == [4, 4]
    assert report["devices"] == NUM_DEVICES
    # True physics rounds, too. Where a gradient is hardly more than that, Adam steps by 1e-3 one way or the other: with
    # AVX2 one weight of the critic is two steps and a half apart after 30.
    assert report["one"] < 10 * ROUNDING
    assert report["evaluation"]["kind"] == "evaluation"
    assert report["evaluation"]["episode_return"] > 0.0
