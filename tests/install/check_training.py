"""Checks of an installed package with the extra `train`: runs of PPO and FastSAC that go on where they ended."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.training import FastSACConfig, PPOConfig, TrainConfig, load, train

ITERATIONS = 10
PPO = PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1)
FASTSAC = FastSACConfig(
    num_envs=4,
    horizon=4,
    episode_steps=8,
    actor_hidden=(8,),
    critic_hidden=(8,),
    batch_per_task=8,
    updates=2,
    replay_size=128,
    warmup_steps=32,
)


def check_going_on(algorithm: PPOConfig | FastSACConfig, folder: Path) -> None:
    """A run in two parts ends as one that was never stopped, bit for bit."""
    steps = ITERATIONS * algorithm.num_envs * algorithm.horizon
    whole = TrainConfig("reach-v3", algorithm, env_steps=steps, eval_every=steps, eval_goals=1, checkpoint_every=64)
    train(dataclasses.replace(whole, env_steps=steps // 2, eval_every=2 * steps), jax.random.key(0), folder / "parts")
    train(whole, jax.random.key(0), folder / "parts")
    train(whole, jax.random.key(0), folder / "whole")
    states = [load(folder / name) for name in ("parts", "whole")]
    assert [state.progress.iteration for state in states] == [ITERATIONS, ITERATIONS]
    leaves = [jax.tree.leaves(jax.tree.map(_numbers, state.state)) for state in states]
    for mine, other in zip(*leaves, strict=True):
        np.testing.assert_array_equal(mine, other)


def _numbers(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


if __name__ == "__main__":
    for each in (PPO, FASTSAC):
        with tempfile.TemporaryDirectory() as name:
            check_going_on(each, Path(name))
