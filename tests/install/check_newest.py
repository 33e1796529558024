"""Checks of an installed package with the newest jax: MT10 in a batch, over two devices, and a gradient."""

from __future__ import annotations

from importlib.metadata import version

import jax
import jax.numpy as jnp

import mjx_metaworld as mw

NUM_ENVS, DEVICES, STEPS = 20, 2, 3


def check_batch(env: mw.MetaWorldEnv) -> None:
    """Reset and step MT10 in a plain `vmap`."""
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), NUM_ENVS))
    state = mw.jit(jax.vmap(env.step))(state, jnp.ones((NUM_ENVS, env.action_size)))
    assert state.obs.shape == (NUM_ENVS, env.observation_size)
    assert bool(jnp.isfinite(state.obs).all() & jnp.isfinite(state.reward).all())


def check_devices(env: mw.MetaWorldEnv) -> None:
    """A rollout of a `VectorEnv` that is divided among two CPU devices; every second step ends the episodes."""
    assert len(jax.devices()) == DEVICES, jax.devices()
    batch = mw.VectorEnv(env, NUM_ENVS, devices=jax.devices())

    def policy(obs: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (NUM_ENVS, env.action_size), minval=-1.0, maxval=1.0)

    state, steps = mw.jit(lambda key: mw.rollout(batch, policy, key, STEPS))(jax.random.key(1))
    assert steps.next_obs.shape == (STEPS, NUM_ENVS, env.observation_size)
    assert steps.truncated.any(axis=1).tolist() == [False, True, False]
    assert {shard.device for shard in state.obs.addressable_shards} == set(jax.devices())
    assert bool(jnp.isfinite(steps.next_obs).all() & jnp.isfinite(steps.reward).all())


def check_gradient() -> None:
    """The hand's height after a step, with respect to the action: it rises with the third entry."""
    env = mw.make("reach-v3")
    state = jax.jit(env.reset)(jax.random.key(0))
    gradient = mw.jit(jax.grad(lambda action: env.step(state, action).obs[2]))(jnp.zeros(env.action_size))
    assert bool(jnp.isfinite(gradient).all()), gradient
    assert float(gradient[2]) > 0.0, gradient


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", DEVICES)
    print(*(f"{name} {version(name)}" for name in ("jax", "jaxlib")), flush=True)
    mt10 = mw.make("MT10", max_episode_steps=2)
    check_batch(mt10)
    check_devices(mt10)
    check_gradient()
