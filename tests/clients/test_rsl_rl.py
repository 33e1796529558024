"""rsl_rl's own runner on the adapter."""

from __future__ import annotations

import jax
import pytest

import mjx_metaworld as mw

pytest.importorskip("rsl_rl")

import torch
from rsl_rl import runners

from mjx_metaworld.adapters.rsl_rl import RslRlVecEnv

pytestmark = pytest.mark.usefixtures("kinematic")

NUM_ENVS, EPISODE = 64, 50


def configuration() -> dict:
    network = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu", "obs_normalization": True}
    return {
        "num_steps_per_env": 25,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": {
            "class_name": "PPO",
            "learning_rate": 1e-3,
            "num_learning_epochs": 4,
            "num_mini_batches": 4,
            "gamma": 0.97,
            "entropy_coef": 0.0,
        },
        "actor": network | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.5}},
        "critic": dict(network),
    }


@pytest.fixture(scope="module")
def env(kinematic):
    return RslRlVecEnv(mw.VectorEnv(mw.make("reach-v3", max_episode_steps=EPISODE), NUM_ENVS), device="cpu")


def evaluate(env: RslRlVecEnv, policy) -> tuple[float, float]:
    """Mean reward, and share of episodes that succeeded."""
    obs, _ = env.reset()
    rewards = []
    with torch.inference_mode():
        for _ in range(EPISODE):
            obs, reward, dones, extras = env.step(policy(obs))
            rewards.append(reward.mean())
    assert dones.tolist() == extras["time_outs"].long().tolist() == [1] * NUM_ENVS
    return float(torch.stack(rewards).mean()), float(extras["log"]["Episode/success"])


def test_its_runner_learns_to_reach(env, tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    runner = runners.OnPolicyRunner(env, configuration(), log_dir=str(tmp_path), device="cpu")
    before, _ = evaluate(env, runner.get_inference_policy())
    runner.learn(15, init_at_random_ep_len=True)
    after, solved = evaluate(env, runner.get_inference_policy())
    assert after > 1.5 * before
    assert 0.0 <= solved <= 1.0
    assert (tmp_path / "model_14.pt").exists()


def test_lengths_of_episodes_are_the_environments(env):
    env.reset()
    assert env.episode_length_buf.tolist() == [0] * NUM_ENVS
    env.episode_length_buf = torch.full((NUM_ENVS,), EPISODE - 2)
    assert env.episode_length_buf.dtype == torch.long
    step = torch.zeros(NUM_ENVS, env.num_actions)
    _, _, dones, extras = env.step(step)
    assert "log" not in extras
    assert dones.sum() == 0
    obs, _, dones, extras = env.step(step)
    assert dones.sum() == NUM_ENVS
    assert extras["log"]["Episode/success"] == 0.0
    assert obs.batch_size == (NUM_ENVS,)
    assert torch.equal(obs["policy"], env.get_observations()["policy"])
    assert jax.tree.leaves(env.torch_env.state)[0].shape[0] == NUM_ENVS
    assert (env.max_episode_length, env.num_actions, env.cfg["tasks"]) == (EPISODE, 4, ["reach-v3"])
