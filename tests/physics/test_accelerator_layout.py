"""A step as laid out for a GPU or TPU, run on a CPU, against the layout for CPUs, which the parity tests measure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import mt50
from support.mt50 import LANES

import mjx_metaworld as mw
from mjx_metaworld.experts import expert_policy

NUM_ENVS, STEPS = 256, 60
FEW = ("pick-place-v3", "door-open-v3")  # a free body that is grasped, a part that is pulled


@pytest.mark.parametrize("tasks", [FEW[:1], pytest.param(FEW, marks=pytest.mark.full)], ids=["one", "two"])
def test_both_layouts_make_the_same_step_of_few_tasks(tasks):
    """From states along noisy experts, by the engines alone; 256 environments, so that the hard ones are compacted."""
    env = mw.make(tasks, backend="accelerator")
    names = [spec.name for spec in mt50.environment().tasks]
    rows = np.array([names.index(name) for name in tasks])[np.arange(LANES) % len(tasks)]
    noise = np.random.default_rng(0).normal(size=(60, LANES, 4)).astype(np.float32)
    before, after, ctrls = [], [], []
    state = mt50.fresh(0, rows)
    for step in range(60):
        action = jnp.clip(mt50.compiled().expert(state.obs, state.task) + 0.1 * noise[step], -1.0, 1.0)
        new = mt50.compiled().step(state, action)
        if step in (20, 40, 59):
            before.append(state.physics.replace(mocap_pos=new.physics.mocap_pos))
            after.append(new.physics)
            ctrls.append(jnp.stack([action[:, 3], -action[:, 3]], axis=1))
        state = new
    physics, expected, ctrl, task = (
        jax.tree.map(lambda *x: jnp.concatenate(x)[:NUM_ENVS], *parts)
        for parts in (before, after, ctrls, [jnp.arange(LANES) % len(tasks)] * 3)
    )

    @jax.jit
    @jax.vmap
    def step_elsewhere(task, physics, ctrl):
        return env.engine.step(env.rows(task).scene, physics, ctrl, jnp.int32(0))[0]

    found = step_elsewhere(task, physics, ctrl)
    assert np.abs(found.qpos - physics.qpos).max() > 1e-3  # it moves
    check(np.abs(np.asarray(found.qpos - expected.qpos)).max(axis=1))


def check(differences: np.ndarray) -> None:
    """Rounding, but for single contacts that appear or slip by it, which move a body by 1e-4 m."""
    assert np.quantile(differences, 0.9) < 1e-6
    assert np.quantile(differences, 0.98) < 1e-4
    assert differences.max() < 2e-3


@pytest.mark.full
def test_both_layouts_make_the_same_step():
    """From states along noisy experts. Single contacts that appear or slip by rounding move a body by 1e-4 m.

    With AVX2 one step of the 15,360 turns pick-place's cylinder by 2.6e-3 otherwise. Both layouts are as far from
    MuJoCo C there, 1.8e-3 the one for CPUs and 4.3e-3 the other; why was not looked into.
    """
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
    assert differences.max() < 5e-3
