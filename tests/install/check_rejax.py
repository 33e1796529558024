"""Checks of an installed package beside rejax and gymnax: rejax's PPO learns on its environments for a moment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import rejax  # pyright: ignore[reportMissingImports]  # where this runs

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnax import GymnaxEnv

if __name__ == "__main__":
    env = GymnaxEnv(mw.make("reach-v3", max_episode_steps=8), separate_truncation=False)
    algorithm = rejax.PPO.create(
        env=env,
        env_params=env.default_params,
        num_envs=4,
        num_steps=4,
        num_epochs=1,
        num_minibatches=1,
        total_timesteps=64,
        eval_freq=64,
    ).replace(eval_callback=lambda *_: ())
    state, _ = jax.jit(algorithm.train)(jax.random.key(0))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.actor_ts.params))
