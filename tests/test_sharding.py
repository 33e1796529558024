"""Lanes divided among devices: the same results as on one, no communication, and errors for what cannot be divided.

And lanes divided by a user's own `shard_map` or `pmap`: steps, and resets to goals that are settled on the host.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from support.many_devices import EPISODE_STEPS, NUM_DEVICES, NUM_ENVS, NUM_STEPS, run_on_devices

import mjx_metaworld as mw
from mjx_metaworld.cli.benchmark import claim_devices, default_devices
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.ci

SEVERAL = ["pick-place-v3", "door-open-v3"]
CAPACITY = 1237  # transitions of a task in a replay buffer
SETTLING = ["door-lock-v3", "reach-v3"]  # the first settles against its prop, by a callback to the host


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory) -> tuple[dict[str, Any], dict[str, list[list[list[float]]]], dict[str, Any]]:
    """What is asked below of one task without dynamics, by one process, whose start takes as long as each."""
    ways = ["vmap", "shard_map"] + ["pmap"] * request.config.getoption("--full")
    calls = (
        ("compare_rollouts", "kinematic", ["reach-v3"]),
        ("divide_goals", ways, SETTLING[:1]),
        ("sample_in_shares", CAPACITY),
    )
    rollouts, observations, samples = run_on_devices(tmp_path_factory.mktemp("devices") / "report.json", *calls)
    return rollouts, observations, samples


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="kinematic"),
        pytest.param(("kinematic", SEVERAL), id="kinematic, several tasks", marks=pytest.mark.full),
        pytest.param(("true", SEVERAL), id="true", marks=pytest.mark.full),
        pytest.param(("kinematic", SETTLING, "settled"), id="settled on the host", marks=pytest.mark.full),
    ],
)
def rollouts(request, quick, tmp_path_factory) -> dict[str, Any]:
    """Rollouts of the same batch on four devices and on one."""
    if not request.param:
        return quick[0]
    file = tmp_path_factory.mktemp("sharding") / "report.json"
    # With the newer code generator: the one that tests and `mw.jit` ask for rounds two true steps differently.
    return run_on_devices(file, ("compare_rollouts", *request.param), default_flags=request.param[0] == "true")[0]


def test_four_devices_compute_what_one_does(rollouts):
    """From the start, and from a state that was kept as numpy arrays on one device.

    Kinematic steps agree bit by bit. True ones are two programs, in whose sums the compiler may round a last bit
    differently; accelerations, with which the next solve begins, are a thousand times larger than velocities.
    """

    def bound(leaf: str) -> float:
        return 0.0 if not rollouts["rounds"] else 1e-3 if "qacc" in leaf else 1e-6

    for errors in (rollouts["difference"], rollouts["continued"]):
        assert not {leaf: error for leaf, error in errors.items() if error > bound(leaf)}


def test_every_device_has_its_lanes_and_exchanges_nothing(rollouts):
    assert rollouts["devices"] == list(range(NUM_DEVICES))
    assert rollouts["shards"] == [[NUM_ENVS // NUM_DEVICES, 39]] * NUM_DEVICES
    assert rollouts["collectives"] == []


def test_devices_restart_their_own_lanes(rollouts):
    truncated = np.asarray(rollouts["truncated"]).reshape(NUM_STEPS, NUM_DEVICES, -1)
    # Device d begins d steps into the episodes: its first ends after EPISODE_STEPS - d more, then every EPISODE_STEPS.
    expected = [[(step + 1 + d) % EPISODE_STEPS == 0 for d in range(NUM_DEVICES)] for step in range(NUM_STEPS)]
    np.testing.assert_array_equal(truncated, np.broadcast_to(np.asarray(expected)[..., None], truncated.shape))


def test_a_sample_is_divided_and_what_it_is_drawn_from_is_not(quick):
    """Its rows are those of one device; a copy of a share of the buffer would cost more than the updates."""
    samples = quick[2]
    assert samples["cut"] == []
    assert samples["shards"] == [4 * 8 // NUM_DEVICES] * NUM_DEVICES
    assert set(samples["difference"].values()) == {0.0}


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


# --- a user's own division ---


@pytest.fixture(
    scope="module", params=[pytest.param(False, id="one"), pytest.param(True, id="two", marks=pytest.mark.full)]
)
def observations(request, quick, tmp_path_factory) -> dict[str, list[list[list[float]]]]:
    """Observations after `reset_to` and after a step, by each way to divide four lanes."""
    if not request.param:
        return quick[1]
    file = tmp_path_factory.mktemp("divided") / "report.json"
    return run_on_devices(file, ("divide_goals", ["vmap", "shard_map", "pmap"], SETTLING))[0]


# `pmap` divides the same function into a program of its own, which takes as long again to compile.
@pytest.mark.parametrize("way", ["shard_map", pytest.param("pmap", marks=pytest.mark.full)])
def test_goals_are_settled_on_every_device(observations, way):
    for divided, together in zip(observations[way], observations["vmap"], strict=True):
        # Metres of order one in float32; two programs round differently.
        assert [row == pytest.approx(other, abs=1e-6) for row, other in zip(divided, together, strict=True)] == [
            True
        ] * 4
