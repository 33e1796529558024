"""skrl's own agent and trainer on the adapter."""

from __future__ import annotations

import pytest

import mjx_metaworld as mw

pytest.importorskip("skrl")
pytest.importorskip("torch")

import torch
from skrl.agents.torch.ppo import PPO
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.trainers.torch import SequentialTrainer

from mjx_metaworld.adapters.skrl import SkrlEnv

pytestmark = pytest.mark.usefixtures("kinematic")

NUM_ENVS, EPISODE, ROLLOUT = 64, 25, 25


class Policy(GaussianMixin, Model):
    def __init__(self, **spaces):
        Model.__init__(self, **spaces)
        GaussianMixin.__init__(self)
        self.mean = torch.nn.Sequential(
            torch.nn.BatchNorm1d(self.num_observations, affine=False),
            torch.nn.Linear(self.num_observations, 64),
            torch.nn.ELU(),
            torch.nn.Linear(64, self.num_actions),
        )
        self.log_std = torch.nn.Parameter(torch.full((self.num_actions,), -0.7))

    def compute(self, inputs, role=""):
        return self.mean(inputs["observations"]), {"log_std": self.log_std}


class Value(DeterministicMixin, Model):
    def __init__(self, **spaces):
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = torch.nn.Sequential(
            torch.nn.BatchNorm1d(self.num_observations, affine=False),
            torch.nn.Linear(self.num_observations, 64),
            torch.nn.ELU(),
            torch.nn.Linear(64, 1),
        )

    def compute(self, inputs, role=""):
        return self.net(inputs["observations"]), {}


@pytest.fixture(scope="module")
def env(kinematic):
    return SkrlEnv(mw.VectorEnv(mw.make("reach-v3", max_episode_steps=EPISODE), NUM_ENVS), device="cpu")


def test_its_trainer_trains_ppo(env, tmp_path):
    torch.manual_seed(0)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    agent = PPO(
        models={"policy": Policy(**spaces), "value": Value(**spaces)},
        memory=RandomMemory(memory_size=ROLLOUT, num_envs=env.num_envs, device=env.device),
        cfg={
            "rollouts": ROLLOUT,
            "mini_batches": 4,
            "time_limit_bootstrap": True,
            "experiment": {"directory": str(tmp_path), "write_interval": ROLLOUT, "checkpoint_interval": 0},
        },
        **spaces,
    )
    weights = [parameter.clone() for parameter in agent.models["policy"].parameters()]
    tracked = []
    agent.track_data = lambda name, value: tracked.append((name, value))
    settings = {"timesteps": 3 * ROLLOUT, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(env=env, agents=agent, cfg=settings).train()
    after = list(agent.models["policy"].parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert not any(torch.equal(*pair) for pair in zip(weights, after, strict=True))
    successes = [value for name, value in tracked if name == "Info / success"]
    assert len(successes) == 3
    assert all(0.0 <= value <= 1.0 for value in successes)


def test_steps_have_the_shapes_of_skrl(env):
    obs, infos = env.reset()
    assert torch.equal(env.reset()[0], obs)  # no new episodes
    assert infos == {}
    env.torch_env.set_episode_length(torch.full((NUM_ENVS,), EPISODE - 1))
    following, reward, terminated, truncated, infos = env.step(torch.zeros(NUM_ENVS, 4))
    assert reward.shape == terminated.shape == truncated.shape == (NUM_ENVS, 1)
    assert (terminated.dtype, truncated.dtype) == (torch.bool, torch.bool)
    assert truncated.all()
    assert not terminated.any()
    assert infos["terminal_observation"].shape == following.shape == obs.shape
    assert not torch.equal(infos["terminal_observation"], following)
    assert torch.equal(env.reset()[0], following)
    assert (env.num_envs, env.num_agents, env.state_space, env.state()) == (NUM_ENVS, 1, None, None)
