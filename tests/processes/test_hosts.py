"""Several processes of one program, on this machine: what they compute, what they write, and how they end together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engines import KINEMATIC_PRELUDE
from support.host_probes import ends, run_processes, start

from mjx_metaworld.processes.cluster import ADDRESS, NUMBER, OWN, Place, environments_here, place_of
from mjx_metaworld.processes.hosts import any_process, broadcast, exchange, from_leader, is_leader
from mjx_metaworld.training.records import read_records

ALGORITHMS = ("ppo", "fastsac", "sac", "rl2", "clone")
ITERATIONS, HALFWAY = 6, 4
ROUNDING = 1e-3  # as in `training/test_devices.py`


def given(address: str = "host:1234", number: str = "2", own: str = "0") -> dict[str, str]:
    return {name: value for name, value in {ADDRESS: address, NUMBER: number, OWN: own}.items() if value}


def test_three_variables_name_the_place_of_a_process():
    assert place_of(given(own="1")) == Place("host:1234", 2, 1)
    assert place_of(given("[::1]:80")) == Place("[::1]:80", 2, 0)
    assert place_of({}) is None
    assert place_of(given(number="", own="")) is None  # the coordinator of a cluster that JAX finds


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (given(address=""), f"{ADDRESS} must be set"),
        (given(number="", own="1"), f"{NUMBER} must be set"),
        (given(address="host"), "HOST:PORT of process 0, got 'host'"),
        (given(address=":12"), "HOST:PORT"),
        (given(address="host:70000"), "HOST:PORT"),
        (given(number="two"), "positive number of processes, got 'two'"),
        (given(number="0"), "positive"),
        (given(own="2"), f"0 to 1, since {NUMBER} is 2, got '2'"),
        (given(own="-1"), "0 to 1"),
    ],
)
def test_places_that_make_no_sense_are_refused(variables, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        place_of(variables)


def test_a_process_on_its_own_is_its_leader():
    assert is_leader()
    assert exchange(-7) == [-7]
    assert any_process(True)
    assert not any_process(False)
    assert broadcast(b"abc") == b"abc"
    assert from_leader(lambda: {"told": 1}) == {"told": 1}


def difference(one: Any, other: Any) -> float:
    """Largest difference of nested numbers, relative to those of more than one."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return max(difference(one[name], other[name]) for name in one)
    one, other = np.asarray(one, float), np.asarray(other, float)
    return float((np.abs(one - other) / np.maximum(1.0, np.abs(one))).max(initial=0.0))


# --- the same numbers ---


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> dict[str, list[Any]]:
    """A rollout and runs of the algorithms by one device, by two of one process, and by one each of two processes."""
    folder = tmp_path_factory.mktemp("hosts")
    calls = [("roll_out",), *(("learn", name, ITERATIONS, name) for name in ALGORITHMS)]
    kinds = {"one": (1, 1), "devices": (1, 2), "processes": (2, 1)}
    results = {
        kind: run_processes(folder / kind, *calls, processes=processes, devices=devices)
        for kind, (processes, devices) in kinds.items()
    }
    return {kind: [folder / kind, *result] for kind, result in results.items()}


@pytest.mark.full
def test_two_processes_roll_out_what_two_devices_do_and_one(computed):
    rolled = {kind: results[1] for kind, results in computed.items()}
    assert np.asarray(rolled["processes"]["truncated"]).any()  # some lanes have restarted
    assert rolled["processes"] == rolled["devices"] == rolled["one"]


@pytest.mark.full
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_processes_learn_what_two_devices_do_bit_by_bit_and_one_up_to_rounding(computed, algorithm):
    learnt = {kind: results[2 + ALGORITHMS.index(algorithm)] for kind, results in computed.items()}
    assert learnt["processes"]["iteration"] == ITERATIONS
    assert difference(learnt["processes"]["numbers"], learnt["devices"]["numbers"]) == 0.0
    assert difference(learnt["processes"]["numbers"], learnt["one"]["numbers"]) < ROUNDING


@pytest.mark.full
@pytest.mark.parametrize(
    ("processes", "devices"), [(1, 1), (1, 2), (2, 1), (4, 1)], ids=["one", "two devices", "two", "four"]
)
def test_a_checkpoint_of_two_processes_goes_on_in_any_number(computed, tmp_path, processes, devices):
    folder = computed["processes"][0]
    for name in ("ppo", "fastsac"):
        shutil.copytree(folder / name, tmp_path / name)
        shutil.rmtree(tmp_path / name / "checkpoints" / str(ITERATIONS))
        assert (tmp_path / name / "checkpoints" / str(HALFWAY)).is_dir()
    calls = [("learn", name, ITERATIONS, name) for name in ("ppo", "fastsac")]
    results = run_processes(tmp_path, *calls, processes=processes, devices=devices)
    for name, resumed in zip(("ppo", "fastsac"), results, strict=True):
        whole = computed["processes"][2 + ALGORITHMS.index(name)]
        assert resumed["iteration"] == ITERATIONS
        bound = 0.0 if processes * devices == 2 else ROUNDING
        assert difference(resumed["numbers"], whole["numbers"]) <= bound


@pytest.mark.full
def test_a_checkpoint_of_one_process_goes_on_in_two(computed, tmp_path):
    for kind in ("one", "devices"):
        shutil.copytree(computed[kind][0] / "ppo", tmp_path / kind)
        shutil.rmtree(tmp_path / kind / "checkpoints" / str(ITERATIONS))
    one, devices = run_processes(
        tmp_path, *[("learn", "ppo", ITERATIONS, kind) for kind in ("one", "devices")], processes=2
    )
    assert difference(devices["numbers"], computed["devices"][2]["numbers"]) == 0.0
    assert difference(one["numbers"], computed["one"][2]["numbers"]) < ROUNDING


# --- the command ---

SETTINGS = ("num_envs=8", "horizon=5", "episode_steps=10", "hidden=[8]", "minibatches=2")


def command(folder: Path, *arguments: str) -> list[str]:
    """Train `reach-v3` without dynamics, as one of several processes."""
    kinematic = folder / "kinematic.py"
    kinematic.write_text(KINEMATIC_PRELUDE)
    words = [sys.executable, "-m", "mjx_metaworld", "train", "reach-v3", "--distributed", "--import", str(kinematic)]
    words += ["--output", str(folder / "run"), "--devices", "1", "--eval-goals", "2", "--set", *SETTINGS]
    return [*words, *arguments]


def iterations(folder: Path) -> list[int]:
    """Iterations of the checkpoints."""
    return sorted(int(path.name) for path in (folder / "run" / "checkpoints").glob("*") if path.name.isdigit())


@pytest.mark.full
def test_the_first_process_writes_and_prints(tmp_path):
    schedule = ["--env-steps", "120", "--eval-every", "80", "--checkpoint-every", "40", "--json"]
    first, second = ends(start(command(tmp_path, *schedule), 2))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["env_steps"] == 120
    assert "frozen goals" in first.err
    assert second.out == ""
    assert "frozen goals" not in second.err
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (about["processes"], about["devices"]) == (2, 2)
    assert iterations(tmp_path) == [1, 2, 3]
    assert [record["env_steps"] for record in read_records(tmp_path / "run", "evaluation")] == [80, 120]
    assert len(read_records(tmp_path / "run", "start")) == 1
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    assert not (tmp_path / "run" / "run.lock").exists()
    ended = ends(start(command(tmp_path, "--env-steps", "160"), 4))  # and four go on
    assert [end.code for end in ended] == [0] * 4
    assert "Going on from the checkpoint at 120 env steps" in ended[0].out
    assert not any(end.out for end in ended[1:])


@pytest.mark.full
def test_what_cannot_be_done_is_refused_by_all(tmp_path):
    for end in ends(start(command(tmp_path), 3)):
        assert end.code == 2
        assert "num_envs must be a multiple of the number of devices, 3 of 3 processes, got 8" in end.err
    (end,) = ends(start(command(tmp_path)))
    assert end.code == 2
    assert "no cluster was found" in end.err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "another's").touch()
    first, second = ends(start(command(tmp_path), 2))
    assert (first.code, second.code) == (1, 1)
    assert "is not empty and holds no training run" in first.err
    assert "process 0 has failed" in second.err


@pytest.mark.full
def test_a_process_whose_partner_does_not_come_ends_with_the_address():
    here = environments_here(2)[1]
    code = "from mjx_metaworld.processes.cluster import connect; connect(seconds=2)"
    waiting = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | here, capture_output=True, text=True, timeout=60
    )
    assert waiting.returncode == 1
    assert f"all 2 processes at {here[ADDRESS]} were not together within 2 s" in waiting.stderr


@pytest.fixture
def training(tmp_path):
    """Two processes of a run that does not end by itself, and has a checkpoint."""
    endless = ("--env-steps", "100000000", "--eval-every", "4000", "--checkpoint-every", "400")
    processes = start(command(tmp_path, *endless), 2)
    try:
        end = time.monotonic() + 300
        while not iterations(tmp_path):
            assert [process.poll() for process in processes] == [None, None], "the run ended by itself"
            assert time.monotonic() < end, "no checkpoint within five minutes"
            time.sleep(0.1)
        yield processes
    finally:
        for process in processes:
            process.kill()


@pytest.mark.full
@pytest.mark.parametrize("asked", [0, 1])
def test_all_end_with_a_checkpoint_of_the_same_iteration_when_one_is_asked_to(training, tmp_path, asked):
    training[asked].send_signal(signal.SIGTERM)
    first, second = ends(training, timeout=60)
    assert (first.code, second.code) == (143, 143), first.err + second.err
    newest = iterations(tmp_path)[-1]
    assert f"Ended with the checkpoint at {40 * newest:,} env steps" in " ".join(first.out.split())
    assert read_records(tmp_path / "run")[-1]["env_steps"] == 40 * newest
    assert second.out == ""


@pytest.mark.full
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_dies_ends_the_other_and_the_same_command_goes_on(training, tmp_path, killed):
    training[killed].kill()
    ended = ends(training, timeout=60)
    assert ended[killed].code == -signal.SIGKILL
    left = ended[1 - killed]
    assert left.code != 0
    assert "another process has ended or cannot be reached" in left.err
    assert "Go on: mjx-metaworld train reach-v3" in left.err
    newest = iterations(tmp_path)[-1]
    steps = 40 * (newest + 3)
    first, second = ends(start(command(tmp_path, "--env-steps", str(steps)), 2))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert f"Going on from the checkpoint at {40 * newest:,} env steps" in first.out
    assert iterations(tmp_path)[-1] == newest + 3


@pytest.mark.full
def test_a_process_whose_partner_hangs_ends_within_a_minute(training: list[subprocess.Popen[str]]):
    training[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    err = training[0].communicate(timeout=60)[1]
    assert training[0].returncode != 0
    assert time.monotonic() - began < 60
    assert "stopped sending heartbeats" in err
