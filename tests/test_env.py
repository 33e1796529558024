"""The environment's contract: shapes, purity, no recompilation, bad input."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.tasks import registered


@functools.cache
def mt10() -> mw.MetaWorldEnv:
    return mw.make("MT10")


@functools.cache
def compiled():
    """One compiled step and reset for all tests of this file; the step counts its traces."""
    traces = []

    def step(state, action):
        traces.append(1)
        return jax.vmap(mt10().step)(state, action)

    return jax.jit(jax.vmap(mt10().reset)), jax.jit(step), traces


def batch(key: int = 0):
    reset, _, _ = compiled()
    return reset(jax.random.split(jax.random.key(key), 16), jnp.arange(16) % 10)


def test_shapes_and_types():
    state = batch()
    assert state.obs.shape == (16, 39)
    assert state.obs.dtype == jnp.float32
    assert state.physics.qpos.shape == (16, 19)
    assert state.truncated.dtype == bool
    assert mt10().observation_size == 39
    assert mt10().action_size == 4
    assert mt10().observation_space.shape == (39,)
    assert mt10().action_space.shape == (4,)


def test_random_steps_stay_finite_and_within_bounds():
    _, step, _ = compiled()
    state, rng = batch(), np.random.default_rng(0)
    low, high = mt10().observation_space.low, mt10().observation_space.high
    for _ in range(100):
        state = step(state, jnp.asarray(rng.uniform(-1, 1, (16, 4)), jnp.float32))
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in (state.obs, state.reward, state.physics.qvel))
    assert bool(jnp.all(state.obs >= low))
    assert bool(jnp.all(state.obs <= high))
    assert bool(jnp.all(state.episode.step == 100))


def test_no_recompilation_when_tasks_and_goals_change():
    reset, step, traces = compiled()
    step(batch(0), jnp.zeros((16, 4)))
    before = len(traces)
    tasks = jnp.flip(jnp.arange(16) % 10)
    step(reset(jax.random.split(jax.random.key(5), 16), tasks), jnp.ones((16, 4)))
    assert len(traces) == before


def test_a_lane_does_not_depend_on_its_neighbours():
    """The same lane among other neighbours, in another place of the batch. XLA may fuse a multiplication with an
    addition in some places of a loop and not in others, so a last bit may differ; see `test_contract.py`."""
    _, step, _ = compiled()
    rng = np.random.default_rng(1)
    state, action = batch(), jnp.asarray(rng.uniform(-1, 1, (16, 4)), jnp.float32)
    order = jnp.asarray(rng.permutation(16))
    permuted = step(jax.tree.map(lambda x: x[order], state), action[order])
    straight = step(state, action)
    np.testing.assert_allclose(straight.obs[order], permuted.obs, atol=1e-6)


def test_single_environment_equals_its_lane():
    """Without vmap the same arithmetic runs on one lane; float32 rounding differs, contacts at rest amplify it."""
    _, step, _ = compiled()
    state = batch()
    action = jnp.full((16, 4), 0.3)
    lanes = step(state, action)
    single = jax.jit(mt10().step)(jax.tree.map(lambda x: x[2], state), action[2])
    np.testing.assert_allclose(single.obs, lanes.obs[2], atol=1e-5)


def test_reset_is_a_function_of_its_key():
    np.testing.assert_array_equal(batch(3).obs, batch(3).obs)
    assert not np.array_equal(batch(3).obs, batch(4).obs)


def test_invalid_action_counts_as_zero_and_leaves_other_lanes_alone():
    _, step, _ = compiled()
    state = batch()
    action = jnp.full((16, 4), 0.5)
    bad = action.at[3].set(jnp.nan).at[7, 1].set(jnp.inf)
    zeroed = action.at[3].set(0.0).at[7].set(0.0)
    after_bad, after_zero = step(state, bad), step(state, zeroed)
    np.testing.assert_array_equal(after_bad.obs, after_zero.obs)
    assert np.flatnonzero(after_bad.episode.invalid_action).tolist() == [3, 7]
    assert not bool(jnp.any(after_zero.episode.invalid_action))


def test_actions_are_clipped():
    _, step, _ = compiled()
    state = batch()
    wild = jnp.concatenate([jnp.full((16, 3), 30.0), jnp.full((16, 1), 0.5)], axis=1)
    mild = jnp.concatenate([jnp.ones((16, 3)), jnp.full((16, 1), 0.5)], axis=1)
    np.testing.assert_array_equal(step(state, wild).obs, step(state, mild).obs)


def test_numpy_states_may_be_closed_over():
    """As a state that was kept on the host and goes into a function that is mapped and compiled."""
    env = mw.make("reach-v3")
    state = jax.device_get(jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 2)))
    new = jax.eval_shape(lambda action: jax.vmap(env.step)(state, action), jnp.zeros((2, 4)))
    assert new.obs.shape == (2, 39)


def test_hidden_goal_and_one_hot():
    env = mw.make("MT10", goal_observable=False, one_hot=True)
    state = env.reset(jax.random.key(0), 4)
    assert state.obs.shape == (49,)
    np.testing.assert_array_equal(state.obs[36:39], 0.0)
    np.testing.assert_array_equal(state.obs[39:], np.eye(10)[4])


def test_reset_to_places_the_goal():
    env = mt10()
    for index, rand_vecs in enumerate(mw.goals("MT10", seed=0)):
        state = env.reset_to(index, rand_vecs[0])
        np.testing.assert_allclose(state.episode.rand_vec[: rand_vecs.shape[1]], rand_vecs[0], rtol=1e-6)
        np.testing.assert_array_equal(state.obs[:18], state.obs[18:36])
    far = env.reset_to(0, jnp.asarray([0.3, 0.4, 0.02, 0.4, 0.9, 0.45]))
    np.testing.assert_allclose(far.episode.goal, [0.4, 0.9, 0.45], rtol=1e-6)


def test_a_task_without_points_settles_alone_as_among_others():
    alone, among = mw.make("door-lock-v3"), mw.make(["door-lock-v3", "reach-v3"])
    assert alone.tasks[0].settles_against_prop
    assert not alone.tasks[0].points
    vectors = jnp.asarray(mw.goals("door-lock-v3", seed=1)[0][:2])
    task = jnp.zeros(2, jnp.int32)
    first = jax.jit(jax.vmap(lambda t, v: alone.reset_to(t, v)))(task, vectors)
    padded = jnp.pad(vectors, ((0, 0), (0, among.rand_vec_size - vectors.shape[1])))
    expected = jax.jit(jax.vmap(lambda t, v: among.reset_to(t, v)))(task, padded)
    np.testing.assert_array_equal(first.obs, expected.obs)


def test_unknown_names_list_near_matches():
    with pytest.raises(ValueError, match="reach-v3"):
        mw.make("reach-v2")
    with pytest.raises(ValueError, match="MT10"):
        mw.make("MT11")
    with pytest.raises(ValueError, match="v2"):
        mw.make("reach-v3", reward_version="v7")
    with pytest.raises(ValueError, match="max_episode_steps"):
        mw.make("reach-v3", max_episode_steps=0)


def test_bad_actions_and_goals_are_refused_at_trace_time():
    env = mt10()
    state = jax.eval_shape(env.reset, jax.random.key(0))
    with pytest.raises(ValueError, match=r"\(4,\).*\(3,\)"):
        jax.eval_shape(env.step, state, jnp.zeros(3))
    with pytest.raises(TypeError, match="int32"):
        jax.eval_shape(env.step, state, jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match="rand_vec"):
        env.reset_to(0, jnp.zeros(5))
    with pytest.raises(ValueError, match="task must be in"):
        env.reset_to(10, jnp.zeros(6))


@pytest.mark.full
def test_v1_reward_and_the_distance_after_the_first_step():
    env = mw.make("bin-picking-v3", reward_version="v1")
    step, state = jax.jit(env.step), env.reset_to(0, mw.goals("bin-picking-v3", seed=0)[0][0])
    state = step(state, jnp.asarray([0.0, 0.0, -1.0, 0.0]))
    assert float(state.reward) < 0.0  # v2 is never negative
    assert float(state.metrics.in_place_reward) == 0.0  # v1 does not report it
    first = state.episode.first_distance
    np.testing.assert_allclose(first, jnp.linalg.norm(state.obs[4:7] - state.episode.goal), rtol=1e-6)
    for _ in range(40):
        state = step(state, jnp.asarray([-1.0, 1.0, -1.0, 1.0]))
    assert float(state.episode.first_distance) == float(first)


def test_suites_and_tasks_agree():
    assert [spec.name for spec in mt10().tasks] == [
        "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
        "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
    ]  # fmt: skip
    assert set(mw.list_tasks()) == {spec.name for spec in registered()}
    assert "MT10" in mw.list_suites()
