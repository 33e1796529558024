"""Runs that are killed go on as if nothing had happened, and what cannot be used is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from support.children import environment
from support.training_probes import RUN_CONFIG, assert_bitwise_equal, learn_alone, probe, probe_learner, run_probe

from mjx_metaworld.training import TrainConfig, load, train
from mjx_metaworld.training.checkpoint import CheckpointError, Checkpoints, first_line
from mjx_metaworld.training.loop import DivergedError
from mjx_metaworld.training.ppo import PPOConfig, make_ppo
from mjx_metaworld.training.run_folder import open_run, read_run

ITERATIONS = 6
TINY = TrainConfig("reach-v3", PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    state, progress = run_probe(folder, ITERATIONS)
    return folder, state, progress


def test_a_run_in_two_parts_equals_one_in_one_bit_by_bit(uninterrupted, tmp_path):
    _, expected, expected_progress = uninterrupted
    _, halfway = run_probe(tmp_path, ITERATIONS // 2)
    assert halfway.iteration == ITERATIONS // 2
    state, progress = run_probe(tmp_path, ITERATIONS)
    assert_bitwise_equal(state, expected)
    assert (progress.iteration, progress.env_steps) == (expected_progress.iteration, expected_progress.env_steps)


# That runs go on bit by bit without a kill is shown above, and for the other states, their buffers included, by
# `test_sac.py`, `test_fastsac.py` and `test_rl2.py`.
@pytest.mark.full
@pytest.mark.parametrize("algorithm", ["ppo", "sac", "fastsac", "rl2"])
def test_a_killed_process_goes_on_bit_by_bit(tmp_path, algorithm):
    command = [sys.executable, "-m", "support.training_probes", str(tmp_path), "1000000", algorithm]
    process = subprocess.Popen(command, env=environment())
    kill_after_checkpoint(process, tmp_path, 4)
    upto = max(int(folder.name) for folder in finished_checkpoints(tmp_path)) + 3
    state, progress = run_probe(tmp_path, upto, algorithm=algorithm)
    assert progress.iteration == upto
    whole, _ = run_probe(tmp_path / "whole", upto, upto, algorithm)
    assert_bitwise_equal(state, whole)


def kill_after_checkpoint(process: subprocess.Popen, folder: Path, iteration: int) -> None:
    """SIGKILL a run that has written the checkpoint of at least this iteration."""
    end = time.monotonic() + 600
    while not any(int(done.name) >= iteration for done in finished_checkpoints(folder)):
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < end, "no checkpoint within ten minutes"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def finished_checkpoints(folder: Path) -> list[Path]:
    return [path for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]


def restore(folder: Path, number: int | None = None) -> Any:
    """State of a checkpoint, by default of the newest that is whole."""
    checkpoints = Checkpoints(folder)
    try:
        restored = checkpoints.restore(probe_learner("ppo").init, number=number)
    finally:
        checkpoints.close()
    assert restored is not None
    return restored[0]


def damage(checkpoint: Path) -> None:
    damaged = [path for path in checkpoint.rglob("*") if path.is_file() and "/d/" in str(path)]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_run_goes_on_from_the_checkpoint_before_a_broken_one(uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "checkpoints" / str(ITERATIONS)
    damage(newest)
    broken = {path.relative_to(newest): path.read_bytes() for path in newest.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match=rf"{newest} is broken .*\. Going on from the one before, {ITERATIONS - 1}\."):
        restore(tmp_path)
    assert newest.is_dir(), "who only reads moves nothing"
    with pytest.warns(UserWarning, match="is broken"):
        assert_bitwise_equal(run_probe(tmp_path, ITERATIONS)[0], expected)
    aside = tmp_path / "broken" / f"checkpoints-{ITERATIONS}"
    assert {path.relative_to(aside): path.read_bytes() for path in aside.rglob("*") if path.is_file()} == broken
    assert_bitwise_equal(restore(tmp_path), expected)


def test_where_no_checkpoint_is_whole_nothing_is_touched(uninterrupted, tmp_path):
    """As after a change of version: a run that began anew in its folder would be lost."""
    shutil.copytree(uninterrupted[0], tmp_path, dirs_exist_ok=True)
    for checkpoint in finished_checkpoints(tmp_path):
        damage(checkpoint)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=f"checkpoints/{ITERATIONS} is broken or of another version"):
        run_probe(tmp_path, ITERATIONS)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.ci
def test_whatever_part_of_a_checkpoint_is_lost_a_warning_names_it_or_nothing_is_amiss(uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    newest = folder / "checkpoints" / str(ITERATIONS)
    parts = [path.relative_to(folder) for path in newest.rglob("*") if path.is_file()]
    before, complaints = restore(folder, ITERATIONS - 1), []
    for number, part in enumerate(parts):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        (copy / part).unlink()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state = restore(copy)
        told = [str(warning.message).replace(str(copy), "") for warning in caught if "broken" in str(warning.message)]
        complaints += told
        if told:
            assert_bitwise_equal(state, before)
        else:  # a file for the reader alone, or a checkpoint that does not count any more
            assert any(equal(state, whole) for whole in (before, expected))
    assert len(complaints) > 1  # of the arrays and the progress at least
    assert all(f"/checkpoints/{ITERATIONS} is broken" in complaint for complaint in complaints)


def equal(one: object, other: object) -> bool:
    try:
        assert_bitwise_equal(one, other)
    except AssertionError:
        return False
    return True


def test_of_a_long_error_the_cause_at_its_end_is_told():
    assert first_line(ValueError("short\nand\n  broken")) == "ValueError: short and broken"
    told = first_line(ValueError("Error writing " + 300 * "/folder" + ": No space left on device"))
    assert told.startswith("ValueError: Error writing /folder")
    assert told.endswith("/folder: No space left on device")
    assert len(told) < 330


def test_half_a_checkpoint_does_not_count(uninterrupted, tmp_path):
    folder, expected, _ = uninterrupted
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "checkpoints" / str(ITERATIONS)
    newest.rename(newest.with_name(f"{ITERATIONS}.orbax-checkpoint-tmp"))  # what a kill while writing leaves
    assert_bitwise_equal(run_probe(tmp_path, ITERATIONS)[0], expected)


def test_a_checkpoint_of_another_network_is_refused(uninterrupted):
    folder, _, _ = uninterrupted
    other = make_ppo(dataclasses.replace(RUN_CONFIG, hidden=(16, 16)), probe(lambda task, obs, action: task * 1.0))
    checkpoints = Checkpoints(folder)
    with pytest.raises(CheckpointError, match="broken or of another version"):
        checkpoints.restore(other.init)
    checkpoints.close()


def test_a_run_whose_networks_are_no_longer_finite_ends_with_the_checkpoints_of_before(tmp_path):
    learner = probe_learner("ppo")

    def diverging(state):
        state, report = learner.iterate(state)
        return state.replace(
            actor=jax.tree.map(lambda x: jnp.where(state.iteration > 2, jnp.nan, x), state.actor)
        ), report

    steps = learner.steps_per_iteration
    with pytest.raises(DivergedError, match=f"after {3 * steps:,} env steps networks or statistics are not finite"):
        learn_alone(learner._replace(iterate=diverging), jax.random.key(0), tmp_path, ITERATIONS, 1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]


def test_a_folder_of_another_run_is_refused(tmp_path):
    key = jax.random.key(0)
    open_run(tmp_path, TINY, key, {})
    open_run(tmp_path, dataclasses.replace(TINY, env_steps=7, eval_every=9), key, {})  # only longer or looked at less
    assert read_run(tmp_path).config == TINY, "nothing has gone on yet"
    (tmp_path / "run.json").rename(tmp_path / "run.tmp")  # a kill at the very start leaves half a file of this name
    open_run(tmp_path, TINY, key, {})
    algorithm = dataclasses.replace(TINY.algorithm, gamma=0.5)
    other = dataclasses.replace(TINY, tasks="push-v3", algorithm=algorithm)
    with pytest.raises(CheckpointError, match=r"eval_goals \d+, now 2"):
        open_run(tmp_path, dataclasses.replace(TINY, eval_goals=2), key, {})
    with pytest.raises(CheckpointError, match=r"tasks 'reach-v3', now 'push-v3'; gamma 0.99, now 0.5"):
        open_run(tmp_path, other, key, {})
    with pytest.raises(CheckpointError, match=r"random key \[0, 0\], now \[0, 1\]"):
        open_run(tmp_path, TINY, jax.random.key(1), {})


def test_folders_without_a_run_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no training run"):
        load(tmp_path)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CheckpointError, match="is not empty and holds no training run"):
        train(TINY, jax.random.key(0), tmp_path)
    (tmp_path / "run.json").write_text('{"config": {"algorithm": {"name": "dreamer"}}}')
    with pytest.raises(CheckpointError, match=r"run.json is broken or of another version: .*'dreamer'"):
        load(tmp_path)
    (tmp_path / "run.json").write_text('{"config": ')
    with pytest.raises(CheckpointError, match=r"run.json is broken"):
        load(tmp_path)


def test_configurations_survive_their_file(tmp_path):
    config = dataclasses.replace(TINY, tasks=("reach-v3", "push-v3"), stop_at_success=0.5)
    open_run(tmp_path, config, jax.random.key(3), {"device": "cpu"})
    run = read_run(tmp_path)
    assert run.config == config
    assert run.key == [0, 3]
    assert json.loads((tmp_path / "run.json").read_text())["device"] == "cpu"


@pytest.mark.full
def test_the_command_goes_on_after_a_kill_bit_by_bit(tmp_path):
    def command(folder: Path, iterations: int) -> list[str]:
        settings = ["num_envs=8", "horizon=5", "episode_steps=20", "hidden=[8]", "minibatches=2"]
        steps = ["--env-steps", str(40 * iterations), "--eval-every", "1000000", "--checkpoint-every", "40"]
        options = [*steps, "--eval-goals", "1", "--output", str(folder)]
        return [sys.executable, "-m", "mjx_metaworld", "train", "reach-v3", *options, "--set", *settings]

    process = subprocess.Popen(command(tmp_path / "killed", 1_000_000))
    kill_after_checkpoint(process, tmp_path / "killed", 2)
    reached = max(int(folder.name) for folder in finished_checkpoints(tmp_path / "killed")) + 3
    subprocess.run(command(tmp_path / "killed", reached), check=True)
    subprocess.run(command(tmp_path / "whole", reached), check=True)
    killed, whole = load(tmp_path / "killed"), load(tmp_path / "whole")
    assert killed.progress.iteration == whole.progress.iteration == reached
    assert_bitwise_equal(killed.state, whole.state)
