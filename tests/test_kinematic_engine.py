"""The engine without dynamics: the hand follows, nothing else moves, and all around it is as with the true physics."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine

STEPS = 40


@functools.cache
def environment() -> mw.MetaWorldEnv:
    return mw.make("MT50", engine=KinematicEngine)


@functools.cache
def walk() -> tuple[mw.State, mw.State, np.ndarray]:
    """All 50 tasks at reset and under actions that wander: first and last state, and the actions (steps, 50, 4)."""
    env, rng = environment(), np.random.default_rng(0)
    actions = rng.uniform(-1.5, 1.5, (STEPS, 50, 4)).astype(np.float32)

    def step(state, action):
        return jax.vmap(env.step)(state, action), None

    first = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 50), jnp.arange(50))
    return first, jax.jit(lambda state: jax.lax.scan(step, state, actions)[0])(first), actions


@pytest.mark.ci
def test_all_tasks_step_and_stay_finite():
    _, last, _ = walk()
    for leaf in (last.obs, last.reward, last.physics, last.metrics):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(leaf))
    assert (last.reward >= 0).all()
    np.testing.assert_array_equal(last.episode.step, STEPS)


def test_the_hand_follows_the_mocap_within_its_bounds():
    env = environment()
    first, last, actions = walk()
    low, high = (np.array([getattr(spec, name) for spec in env.tasks]) for name in ("hand_low", "hand_high"))
    expected = np.asarray(first.physics.mocap_pos)
    for action in np.clip(actions[..., :3], -1, 1):
        expected = np.clip(expected + 0.01 * action, low, high)
    np.testing.assert_allclose(last.physics.mocap_pos, expected, atol=1e-5)  # a sum of forty float32
    bounds = env.observation_space
    inside = np.clip(last.physics.mocap_pos, bounds.low[:3], bounds.high[:3])
    np.testing.assert_allclose(last.obs[:, :3], inside, atol=1e-6)
    assert (np.linalg.norm(last.obs[:, :3] - first.obs[:, :3], axis=1) > 0.005).all()


@pytest.mark.parametrize(("effort", "ends"), [(-1.0, "open"), (1.0, "closed")])
def test_the_gripper_opens_and_closes_at_once(effort, ends):
    env = mw.make("reach-v3", engine=KinematicEngine)
    step = jax.jit(env.step)
    state = jax.jit(env.reset)(jax.random.key(0))
    extreme, halfway = (step(state, jnp.array([0.0, 0.0, 0.0, e])).obs[3] for e in (effort, effort / 2))
    assert extreme > halfway if ends == "open" else extreme < halfway
    assert 0.0 <= extreme <= 1.0


def test_objects_stay_and_nothing_touches():
    first, last, _ = walk()
    robot = slice(0, 9)
    np.testing.assert_array_equal(np.delete(last.physics.qpos, robot, 1), np.delete(first.physics.qpos, robot, 1))
    np.testing.assert_array_equal(last.physics.prop_pos, first.physics.prop_pos)
    np.testing.assert_array_equal(last.physics.qvel, 0)
    env = environment()
    state = jax.tree.map(lambda x: x[0], last)
    scene = env.rows(state.task).scene
    assert not jax.jit(env.engine.step)(scene, state.physics, jnp.ones(2), state.cost_estimate)[1].touching


def test_resets_are_those_of_the_true_engine():
    """To the bit, but for rounding: with and without the one-hot vector and the goal."""
    tasks, options = ["pick-place-v3", "door-open-v3"], {"goal_observable": False, "one_hot": True}
    engines = (KinematicEngine, None)
    ours, true = (mw.make(tasks, engine=engine, **options) for engine in engines)
    keys, task = jax.random.split(jax.random.key(1), 4), jnp.arange(4) % 2
    mine, theirs = (jax.jit(jax.vmap(env.reset))(keys, task) for env in (ours, true))
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    np.testing.assert_allclose(mine.obs, theirs.obs, atol=1e-6)  # a metre in float32
    np.testing.assert_array_equal(mine.physics.qpos, theirs.physics.qpos)
    action = jnp.zeros((4, 4))
    after, true_after = (jax.eval_shape(jax.vmap(env.step), mine, action) for env in (ours, true))
    assert jax.tree.structure(after) == jax.tree.structure(true_after)
    assert jax.tree.leaves(after) == jax.tree.leaves(true_after)


def test_states_that_were_kept_on_the_host_are_stepped_outside_a_jit():
    env = environment()
    state = jax.tree.map(lambda x: np.asarray(x)[0], walk()[0])
    args = env.rows(state.task).scene, state.physics, np.ones(2, np.float32), state.cost_estimate
    for mine, theirs in zip(
        *map(jax.tree.leaves, (env.engine.step(*args), jax.jit(env.engine.step)(*args))), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)  # a metre in float32


def test_the_reach_expert_succeeds():
    env = mw.make("reach-v3", engine=KinematicEngine, terminate_on_success=True)
    step, expert = jax.jit(env.step), jax.jit(mw.expert(env))
    state = jax.jit(env.reset)(jax.random.key(2))
    for _ in range(100):
        state = step(state, jnp.clip(expert(state.obs, state.task), -1.0, 1.0))
        if state.terminated:
            break
    assert state.terminated
    assert state.metrics.success == 1.0


@pytest.mark.ci
def test_a_step_is_differentiable():
    env = mw.make("reach-v3", engine=KinematicEngine)
    state = jax.jit(env.reset)(jax.random.key(0))
    gradient = jax.jit(jax.jacobian(lambda action: env.step(state, action).obs[:3]))(jnp.full(4, 0.3))
    np.testing.assert_allclose(gradient, np.eye(3, 4) * 0.01, atol=1e-7)
