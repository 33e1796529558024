"""Checks of an installed package with the extra `brax`: brax's PPO learns on its environments for a moment."""

from __future__ import annotations

from brax.training.agents.ppo import train as ppo

import mjx_metaworld as mw
from mjx_metaworld.adapters.brax import BraxEnv, wrap

if __name__ == "__main__":
    _, _, metrics = ppo.train(
        BraxEnv(mw.make("reach-v3")),
        num_timesteps=64,
        episode_length=8,
        wrap_env_fn=wrap,
        num_envs=4,
        batch_size=4,
        num_minibatches=1,
        unroll_length=4,
        num_updates_per_batch=1,
        num_evals=2,
        num_eval_envs=4,
    )
    assert metrics["eval/avg_episode_length"] == 8, metrics
