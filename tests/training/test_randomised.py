"""Training whose episodes draw physics and signals: recorded with the run, and evaluated on the scenes as they are."""

import dataclasses

import jax
import numpy as np
import pytest
from support.run_folders import write_run

from mjx_metaworld.cli.train import Train, configuration
from mjx_metaworld.training import TrainConfig, load, train
from mjx_metaworld.training.checkpoint import CheckpointError
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.run_folder import read_run
from mjx_metaworld.training.train import build, environment, run_folder

TINY_PPO = PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1)
RANDOMISED = TrainConfig(
    "reach-v3", TINY_PPO, env_steps=32, eval_goals=1, checkpoint_every=16, randomise=("friction=0.5,1.5",)
)
pytestmark = [pytest.mark.ci, pytest.mark.usefixtures("kinematic")]


def test_a_run_draws_in_training_and_keeps_that_in_its_record(tmp_path):
    train(RANDOMISED, jax.random.key(0), tmp_path)
    again = load(tmp_path)
    assert read_run(tmp_path).config == again.config == RANDOMISED
    friction = again.state.env_state.randomised.dynamics.friction
    assert len(np.unique(friction)) == TINY_PPO.num_envs
    assert np.all((friction >= 0.5) & (friction <= 1.5))
    assert again.env.randomise is None, "evaluations are of the scenes as they are"
    with pytest.raises(CheckpointError, match=r"randomise \('friction=0.5,1.5',\), now \(\)"):
        train(dataclasses.replace(RANDOMISED, randomise=()), jax.random.key(0), tmp_path)


def test_runs_that_draw_otherwise_have_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = jax.random.key(0)
    write_run(run_folder(RANDOMISED, key), {"reach-v3": [0.1]}, config=RANDOMISED)
    assert run_folder(RANDOMISED, key).name == "reach-v3-ppo-0"
    plain = dataclasses.replace(RANDOMISED, randomise=())
    assert run_folder(RANDOMISED, key) != run_folder(plain, key)


def test_policies_can_be_tested_in_other_physics():
    env, _ = build(RANDOMISED)
    other = environment(RANDOMISED, ("gravity=1,2",))
    assert [repr(term) for term in other.randomise or ()] == ["gravity(1, 2)"]
    assert other.observation_size == env.observation_size


def test_the_command_takes_terms():
    config = configuration(Train("reach-v3", randomise=("object_mass=1,2", "action_delay=0,1")))
    assert config.randomise == ("object_mass=1,2", "action_delay=0,1")
    with pytest.raises(ValueError, match="no term is called 'mass'"):
        configuration(Train("reach-v3", randomise=("mass=1,2",)))
