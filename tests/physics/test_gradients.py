"""Gradients of the observation after ten control steps with respect to the actions; see docs/guides/gradients.md."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.gradient_probe import PRECISE, STEPS, half_after_expert, probe

import mjx_metaworld as mw

# Central differences, in float64, over twice these changes of an action in [-1, 1]. Rounding, and what the solver and
# the convex routine leave undone, weigh most over the smallest; kinks on the way, such as another edge of a hull that
# touches, over the largest. So a derivative need only agree with one of them.
WIDTHS = (1e-7, 1e-6, 1e-5)
RELATIVE, ABSOLUTE = 1e-4, 1e-7


@pytest.mark.full
def test_gradients_in_float32_through_mw_jit():
    """Finite, not zero, and zero where causality wants it: as users call it, in a batch, for a mean over it."""
    env = mw.make(["push-v3", "drawer-open-v3"])
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4), jnp.arange(4, dtype=jnp.int32) % 2)

    def mean_hand(actions):
        def step(state, action):
            return jax.vmap(env.step)(state, action), None

        return jnp.mean(jax.lax.scan(step, state, actions)[0].obs[:, :3])

    actions = jnp.asarray(np.random.default_rng(0).uniform(-0.9, 0.9, (STEPS, 4, 4)), jnp.float32)
    gradient = np.asarray(mw.jit(jax.grad(mean_hand))(actions))
    assert gradient.shape == actions.shape
    assert np.isfinite(gradient).all()
    # Each of the three displacements moves the hand, and the earlier the more, as the weld drags it there in time.
    assert (gradient[:-1, :, :3] > 0.0).all()
    # The mean is over 4 hands of 3 coordinates; the hand follows the mocap body, a centimetre for an action of one.
    assert gradient.sum(0)[:, :3].max() < 2 * 0.01 * STEPS / 12


@pytest.mark.full
def test_gradients_of_all_tasks():
    """Finite everywhere; equal to central differences where the same contacts act throughout both episodes."""
    with jax.enable_x64(True):
        env = mw.make("MT50", physics=PRECISE)
        lanes = 2 * len(env.tasks)
        tasks = jnp.arange(lanes, dtype=jnp.int32) % len(env.tasks)
        state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), lanes), tasks)
        state = half_after_expert(env, state)
        at = probe(env, state)
        gradient = np.asarray(mw.jit(at.gradient)(at.actions))
        directions = jnp.asarray(np.random.default_rng(1).normal(size=at.actions.shape))
        run = mw.jit(at.observed_and_acting)
        expected, same = [], []
        for width in WIDTHS:
            (ahead, acting_ahead), (behind, acting_behind) = (
                run(at.actions + side * width * directions) for side in (1, -1)
            )
            expected.append(np.asarray(ahead - behind) / (2 * width))
            same.append(np.asarray(acting_ahead == acting_behind).reshape(lanes, -1).all(axis=1))

    names = np.array([spec.name for spec in env.tasks])[np.asarray(tasks)]
    assert np.isfinite(gradient).all(), names[~np.isfinite(gradient).all(axis=(0, 2))]
    error = np.abs(np.sum(gradient * np.asarray(directions), axis=(0, 2)) - np.array(expected))
    agrees = np.any(error <= RELATIVE * np.abs(expected) + ABSOLUTE, axis=0)
    same_at_all = np.all(same, axis=0)
    assert (agrees | ~same_at_all).mean() >= 0.98, names[~agrees & same_at_all]
    assert same_at_all.mean() > 0.8
