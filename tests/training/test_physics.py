"""Runs with an accuracy of their own: recorded, compared, and kept by whatever opens the run."""

from __future__ import annotations

import dataclasses

import jax
import pytest
from rich.console import Console
from support.run_folders import write_run

from mjx_metaworld.cli.evaluate_checkpoint import evaluate_checkpoint
from mjx_metaworld.cli.evaluation import Evaluation
from mjx_metaworld.cli.train import Train, command_of, configuration
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.training import TrainConfig, load, train
from mjx_metaworld.training.checkpoint import CheckpointError
from mjx_metaworld.training.config import as_json, from_json
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.run_folder import open_run, read_run
from mjx_metaworld.training.train import run_folder
from mjx_metaworld.view.acting import acting_of_run

TINY_PPO = PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1)
PLAIN = TrainConfig("reach-v3", TINY_PPO, env_steps=32, eval_goals=1, checkpoint_every=16)
ROOMY = dataclasses.replace(PLAIN, physics=PhysicsConfig(box_pairs=20, max_contacts=64))
pytestmark = pytest.mark.usefixtures("kinematic")


def test_a_record_holds_the_accuracy_and_older_ones_mean_the_default():
    assert from_json(as_json(ROOMY)) == ROOMY
    older = {name: value for name, value in as_json(PLAIN).items() if name != "physics"}
    assert from_json(older) == PLAIN
    with pytest.raises(ValueError, match="this is no configuration"):
        from_json(as_json(PLAIN) | {"physics": {"pairs": 1}})


def test_a_run_goes_on_with_its_accuracy_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = jax.random.key(0)
    write_run(run_folder(PLAIN, key), {"reach-v3": [0.5]}, config=PLAIN)
    assert run_folder(PLAIN, key) != run_folder(ROOMY, key), "each has a folder of its own"
    told = r"another run: physics\.box_pairs 12, now 20; physics\.max_contacts 48, now 64"
    with pytest.raises(CheckpointError, match=told):
        open_run(run_folder(PLAIN, key), ROOMY, key, {})


def test_the_command_takes_an_accuracy():
    args = Train("reach-v3", physics=("box_pairs=20", "max_contacts=64"))
    assert configuration(args).physics == ROOMY.physics
    assert "--physics box_pairs=20 max_contacts=64" in command_of(args)


@pytest.mark.full
def test_what_opens_a_run_has_its_accuracy(tmp_path):
    train(ROOMY, jax.random.key(0), tmp_path)
    assert read_run(tmp_path).config == ROOMY
    assert load(tmp_path).env.engine.config.accuracy == ROOMY.physics
    assert acting_of_run(tmp_path).env.engine.config.accuracy == ROOMY.physics
    other = acting_of_run(tmp_path, ("box_pairs=30",)).env.engine.config.accuracy
    assert other == PhysicsConfig(box_pairs=30, max_contacts=64)
    told = Console(record=True, width=200)
    (figures,) = evaluate_checkpoint(tmp_path, Evaluation(1, 8, 0, physics=("box_pairs=30",)), told)
    assert 0 <= figures.success_here <= 1
    assert "box_pairs=30" in told.export_text()
