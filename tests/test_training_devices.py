"""Training on several devices: what one device learns, up to rounding, and going on from a checkpoint.

In a process of its own, since the number of CPU devices is fixed once JAX has started.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NUM_DEVICES, ITERATIONS = 2, 8
PRELUDE = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import jax
jax.config.update("jax_num_cpu_devices", {NUM_DEVICES})
import jax.numpy as jnp, numpy as np

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
from training_probes import run_probe

lanes = NamedSharding(Mesh(np.asarray(jax.devices()), ("lanes",)), PartitionSpec("lanes"))
half, whole = {ITERATIONS} // 2, {ITERATIONS}
report = {{}}
for name in ("ppo", "sac"):
    one, _ = run_probe(folder / f"{{name}}-one", whole, algorithm=name)
    run_probe(folder / f"{{name}}-two", half, algorithm=name, lanes=lanes)
    run_probe(folder / f"{{name}}-mixed", half, algorithm=name, lanes=lanes)
    two, progress = run_probe(folder / f"{{name}}-two", whole, algorithm=name, lanes=lanes)  # from a checkpoint
    straight, _ = run_probe(folder / f"{{name}}-straight", whole, algorithm=name, lanes=lanes)
    mixed, _ = run_probe(folder / f"{{name}}-mixed", whole, algorithm=name)  # two devices, then one
    parameters = two.actor if name == "ppo" else two.learner
    report[name] = {{
        "iterations": progress.iteration,
        "lanes": lanes_of(two.env_state.obs),
        "everywhere": all(leaf.is_fully_replicated for leaf in jax.tree.leaves(parameters)),
        "resumed": difference(two, straight),
        "one": difference(two, one),
        "mixed": difference(mixed, one),
        "devices_of_mixed": len(mixed.env_state.obs.sharding.device_set),
    }}
(folder / "report.json").write_text(json.dumps(report))
"""
TASK = f"""{PRELUDE}
from mjx_metaworld.training import PPOConfig, TrainConfig, train
from mjx_metaworld.training.records import read_records

config = TrainConfig("reach-v3", PPOConfig(num_envs=8, horizon=5, episode_steps=10, hidden=(8,), minibatches=2),
                     env_steps=120, eval_every=120, eval_goals=4)
key = jax.random.key(0)
one = train(config, key, folder / "one")
two = train(config, key, folder / "two", devices=jax.devices())
evaluations = [read_records(folder / name)[-1] for name in ("one", "two")]
(folder / "report.json").write_text(json.dumps({{
    "one": difference(two.state, one.state),
    "lanes": lanes_of(two.state.env_state.obs),
    "kinds": [evaluation["kind"] for evaluation in evaluations],
    "returns": [evaluation["episode_return"] for evaluation in evaluations],
    "devices": json.loads((folder / "two" / "run.json").read_text())["devices"],
}}))
"""


def report_of(script: str, folder: Path) -> dict[str, Any]:
    subprocess.run([sys.executable, "-c", script, str(folder)], timeout=1200, check=True)
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Any]:
    """Of both algorithms on a probe."""
    return report_of(PROBES, tmp_path_factory.mktemp("devices"))


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_two_devices_learn_what_one_does(reports, algorithm):
    report = reports[algorithm]
    assert report["iterations"] == ITERATIONS
    # Sums over two devices round differently, and Adam blows up what differs in small gradients.
    assert report["one"] < 1e-3
    assert report["mixed"] < 1e-3


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_checkpoint_goes_on_bit_by_bit_on_as_many_devices(reports, algorithm):
    assert reports[algorithm]["resumed"] == 0.0


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_lanes_are_divided_and_parameters_are_everywhere(reports, algorithm):
    assert reports[algorithm]["lanes"] == [16 // NUM_DEVICES] * NUM_DEVICES
    assert reports[algorithm]["everywhere"]
    assert reports[algorithm]["devices_of_mixed"] == 1


@pytest.mark.full
def test_two_devices_learn_a_task_as_one_does(tmp_path):
    report = report_of(TASK, tmp_path)
    assert report["lanes"] == [4, 4]
    assert report["devices"] == NUM_DEVICES
    assert report["kinds"] == ["evaluation"] * 2
    assert report["one"] < 1e-2
    assert report["returns"][1] == pytest.approx(report["returns"][0], rel=1e-2)
