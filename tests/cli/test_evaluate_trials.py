"""The commands for learning in trials, end to end: train, and the evaluation of both splits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.registry import forget_afterwards

from mjx_metaworld.cli import main as cli
from mjx_metaworld.suites import register_suite, resolve
from mjx_metaworld.training import load
from mjx_metaworld.training.records import EVALUATION, ITERATION, read_records
from mjx_metaworld.training.recurrent import no_past

pytestmark = [pytest.mark.ci, pytest.mark.usefixtures("kinematic")]
SMALL = ("horizon=4", "sequence=4", "hidden=[8]", "memory_hidden=[8]", "memory=8", "minibatches=1", "epochs=1")
SUITE = "pair-train"


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """What a command prints with `--json`."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def run(kinematic, tmp_path_factory) -> Iterator[Path]:
    """The folder of a run on a suite of one's own with two tasks, whose test split has another."""
    with pytest.MonkeyPatch.context() as patch:
        forget_afterwards(patch)
        yield train_on_a_suite(tmp_path_factory.mktemp("trials") / "run")


def train_on_a_suite(folder: Path) -> Path:
    """Declare the suite, and train on it into a folder."""
    register_suite(SUITE, ["reach-v3", "door-open-v3"])
    register_suite("pair-test", ["drawer-close-v3"])
    settings = ("num_envs=4", "episode_steps=6", *SMALL)
    steps = ("--env-steps", "32", "--eval-every", "32", "--eval-goals", "2")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", SUITE, "--algo", "rl2", *steps, "--output", str(folder), "--set", *settings])
    assert not ended.value.code
    return folder


@pytest.mark.full  # `training/test_trial_evaluation.py` has its quick twins
def test_both_splits_are_evaluated_in_trials(run, capsys):
    rows = answer(capsys, "eval", str(run), "--num-goals", "2", "--num-steps", "5", "--evaluation-episodes", "2")
    assert [(row["tasks"], row["task"]) for row in rows] == [
        (SUITE, "reach-v3"),
        (SUITE, "door-open-v3"),
        ("pair-test", "drawer-close-v3"),
    ]
    for row in rows:
        assert 0 <= row["success_here"] <= 1
        assert 0 <= row["first_here"] <= 1
        assert row["success_there"] is None
        assert row["return_here"] > 0


def test_a_run_records_its_trials_by_task(run):
    iteration, evaluation = read_records(run, ITERATION)[0], read_records(run, EVALUATION)[-1]
    assert {"belief_loss", "explained_variance", "learning_rate"} < set(iteration)
    assert {f"success/{name}" for name in ("reach-v3", "door-open-v3")} < set(evaluation)


def test_what_was_trained_acts_by_its_memory(run):
    trained = load(run)
    policy = trained.recurrent
    assert policy is not None
    assert not trained.env.one_hot
    state = jax.jit(jax.vmap(trained.env.reset))(jax.random.split(jax.random.key(1), 3))
    action, memory = policy.act(policy.start(3), state.obs, no_past(3, 4), None)
    assert action.shape == (3, 4)
    assert np.asarray(memory).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--adaptation-episodes", "-1"), "adaptation_episodes must not be negative, got -1"),
        (("--evaluation-episodes", "0"), "evaluation_episodes must be positive, got 0"),
        (("--renderer", "opengl"), "renderer is for policies that see"),
    ],
)
def test_what_does_not_fit_a_run_in_trials_is_refused(run, capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", str(run), *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_ml10_is_trained_and_evaluated_beside_the_reference(tmp_path, capsys):
    folder = tmp_path / "run"
    steps = ("--env-steps", "240", "--eval-every", "240", "--eval-goals", "1")  # three iterations
    train = ("train", "ML10-train", "--algo", "rl2", *steps, "--output", str(folder))
    result = answer(capsys, *train, "--set", "num_envs=20", *SMALL)
    assert result["env_steps"] == 240
    rows = answer(capsys, "eval", str(folder), "--reference", "--num-goals", "1", "--num-steps", "20")
    expected = [(suite, spec.name) for suite in ("ML10-train", "ML10-test") for spec in resolve(suite)]
    assert [(row["tasks"], row["task"]) for row in rows] == expected
    # Twenty steps of almost no motion: nothing succeeds by itself but what does so at once, here and there.
    here, there = (np.array([row[side] for row in rows]) for side in ("success_here", "success_there"))
    np.testing.assert_array_equal(here, there)
