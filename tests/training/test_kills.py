"""Training that is killed at random moments, again and again, and equals the run that never was, bit for bit.

A killed process may be starting, compiling, learning, or writing a checkpoint, a record or a program of the cache.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.killed_runs import Forks, Request, forks
from support.training_probes import assert_bitwise_equal, probe_learner

from mjx_metaworld.training import load
from mjx_metaworld.training.checkpoint import Checkpoints
from mjx_metaworld.training.records import EVALUATION, read_records

pytestmark = pytest.mark.full
KILLS = 20
SEED = 4
FOREVER = 1_000_000
CASES = [
    *(("probe", algorithm) for algorithm in ("ppo", "sac", "fastsac", "rl2")),
    ("train", "ppo"),
    ("train", "fastsac"),
]


@pytest.fixture(scope="module")
def forking(tmp_path_factory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("cache")) as made:
        yield made


def newest(folder: Path) -> int:
    return max((int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdigit()), default=0)


def state_of(folder: Path, kind: str, algorithm: str) -> tuple[Any, int]:
    if kind == "train":
        trained = load(folder)
        return trained.state, trained.progress.iteration
    checkpoints = Checkpoints(folder)
    restored = checkpoints.restore(probe_learner(algorithm).init)
    checkpoints.close()
    assert restored is not None
    return restored[0], restored[1].iteration


@pytest.mark.usefixtures("kinematic")
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("probe", "ppo"),
        ("probe", "sac"),
        ("probe", "fastsac"),
        ("probe", "rl2"),
        ("train", "ppo"),
        ("train", "fastsac"),
    ],
)
def test_a_run_that_is_killed_at_random_moments_goes_on_bit_by_bit(forking, tmp_path, kind, algorithm, devices):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    seed, began = f"{SEED} {kind} {algorithm} {devices}", time.monotonic()
    rng, reached = random.Random(seed), [0]
    once = Request(str(tmp_path / "once"), 1, kind, algorithm, devices)
    for folder in ("once", "again"):  # the first compiles
        began = time.monotonic()
        assert forking.join(forking.start(dataclasses.replace(once, folder=str(tmp_path / folder)))) == 0
    start = time.monotonic() - began
    print(f"killed by the seed {seed!r}")
    for number in range(KILLS):
        before = reached[-1]
        request = Request(str(killed), FOREVER, kind, algorithm, devices)
        if number % 2:  # while it starts or soon after
            assert forking.kill(request, rng.uniform(0.0, 1.2 * start))
        else:  # while it learns and writes
            assert forking.kill(request, rng.uniform(0.0, 0.5), lambda before=before: newest(killed) > before)
        reached.append(newest(killed))
    assert reached == sorted(reached), "a checkpoint was lost"
    last = reached[-1] + 4
    for folder, every in ((killed, 1), (whole, FOREVER)):
        assert forking.join(forking.start(Request(str(folder), last, kind, algorithm, devices, every))) == 0
    (state, iteration), (expected, expected_iteration) = (state_of(f, kind, algorithm) for f in (killed, whole))
    assert iteration == expected_iteration == last
    assert_bitwise_equal(state, expected)
    if kind == "train":
        assert evaluations(killed) == evaluations(whole)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """Records without wall clock."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in read_records(folder, EVALUATION)]
