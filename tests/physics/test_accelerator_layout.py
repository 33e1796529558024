"""A step as laid out for a GPU or TPU, run on a CPU, against the layout for CPUs, which the parity tests measure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.experts import expert_policy

NUM_ENVS, STEPS = 256, 60


@pytest.mark.full
def test_both_layouts_make_the_same_step():
    """From states along noisy experts. Single contacts that appear or slip by rounding move a body by 1e-4 m."""
    env = mw.make("MT10")
    other = mw.make("MT10", backend="accelerator")
    step, other_step = mw.jit(jax.vmap(env.step)), mw.jit(jax.vmap(other.step))
    policy = jax.jit(jax.vmap(expert_policy([spec.name for spec in env.tasks])))
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), NUM_ENVS), jnp.arange(NUM_ENVS) % 10)
    differences = []
    for key in jax.random.split(jax.random.key(1), STEPS):
        noise = 0.1 * jax.random.normal(key, (NUM_ENVS, 4))
        action = jnp.clip(policy(state.obs, state.task) + noise, -1.0, 1.0)
        new, twin = step(state, action), other_step(state, action)
        differences.append(np.abs(np.asarray(new.physics.qpos - twin.physics.qpos)).max(axis=1))
        state = new
    differences = np.concatenate(differences)
    assert np.quantile(differences, 0.99) < 1e-6
    assert np.quantile(differences, 0.999) < 1e-4
    assert differences.max() < 2e-3
