"""One environment: its sizes, options and bad input. What holds in all lanes of all tasks is in `test_contract.py`."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import mt50
from support.mt50 import LANES, compiled, fresh

import mjx_metaworld as mw
from mjx_metaworld.observation import OBJECT
from mjx_metaworld.tasks import registered
from mjx_metaworld.testing import KinematicEngine


@functools.cache
def mt10() -> mw.MetaWorldEnv:
    return mw.make("MT10", engine=KinematicEngine)


@functools.cache
def test_sizes():
    assert mt10().observation_size == 39
    assert mt10().action_size == 4
    assert mt10().observation_space.shape == (39,)
    assert mt10().action_space.shape == (4,)
    assert mw.make("MT10", one_hot=True, engine=KinematicEngine).observation_space.shape == (49,)


def test_environments_say_what_they_are():
    assert repr(mt10()) == (
        "MetaWorldEnv([reach-v3, push-v3, pick-place-v3, ... 10 in all], goal_observable=True, one_hot=False, "
        "reward_version='v2', max_episode_steps=500, terminate_on_success=False)"
    )
    vector_env = mw.VectorEnv(mt10(), 4, resample_task=False)
    assert repr(vector_env) == f"VectorEnv({mt10()!r}, 4, resample_task=False, devices=1)"


@pytest.mark.full  # a step without vmap takes longer to compile than MT50 with it
def test_single_environment_equals_its_lane():
    """Without vmap the same arithmetic runs on one lane; float32 rounding differs, contacts at rest amplify it."""
    env = mw.make("reach-v3")
    state = fresh()
    lane = mt50.environment().tasks.index(env.tasks[0])
    action = jnp.full((LANES, 4), 0.3)
    lanes = compiled().step(state, action)
    physics = jax.tree.map(lambda x: x[lane], state.physics)
    physics = physics.replace(mocap_pos=lanes.physics.mocap_pos[lane])
    scene, ctrl = env.rows(jnp.int32(0)).scene, jnp.array([0.3, -0.3])
    moved, poses, _ = jax.jit(env.engine.step)(scene, physics, ctrl, state.cost_estimate[lane])
    np.testing.assert_allclose(moved.qpos, lanes.physics.qpos[lane], atol=1e-5)
    np.testing.assert_allclose(poses.hand_pos, lanes.obs[lane, :3], atol=1e-5)


def test_invalid_action_counts_as_zero_and_leaves_other_lanes_alone():
    step, state = compiled().step, fresh()
    action = jnp.full((LANES, 4), 0.5)
    bad = action.at[3].set(jnp.nan).at[7, 1].set(jnp.inf)
    zeroed = action.at[3].set(0.0).at[7].set(0.0)
    after_bad, after_zero = step(state, bad), step(state, zeroed)
    np.testing.assert_array_equal(after_bad.obs, after_zero.obs)
    assert np.flatnonzero(after_bad.episode.invalid_action).tolist() == [3, 7]
    assert not bool(jnp.any(after_zero.episode.invalid_action))


def test_actions_are_clipped():
    step, state = compiled().step, fresh()
    wild = jnp.concatenate([jnp.full((LANES, 3), 30.0), jnp.full((LANES, 1), 0.5)], axis=1)
    mild = jnp.concatenate([jnp.ones((LANES, 3)), jnp.full((LANES, 1), 0.5)], axis=1)
    np.testing.assert_array_equal(step(state, wild).obs, step(state, mild).obs)


def test_numpy_states_may_be_closed_over():
    """As a state that was kept on the host and goes into a function that is mapped and compiled."""
    env = mw.make("reach-v3")
    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(jax.vmap(env.reset), keys))
    new = jax.eval_shape(lambda action: jax.vmap(env.step)(state, action), jnp.zeros((2, 4)))
    assert new.obs.shape == (2, 39)


def test_hidden_goal_and_one_hot():
    env = mw.make(["reach-v3", "push-v3", "door-open-v3"], goal_observable=False, one_hot=True, engine=KinematicEngine)
    start = jax.jit(env.reset)(jax.random.key(0), 1)
    for state in (start, jax.jit(env.step)(start, jnp.zeros(4))):
        assert state.obs.shape == (42,)
        np.testing.assert_array_equal(state.obs[36:39], 0.0)
        np.testing.assert_array_equal(state.obs[39:], [0.0, 1.0, 0.0])


def test_reset_to_places_the_goal():
    env = mt10()
    reset_to = jax.jit(env.reset_to)
    for index, rand_vecs in enumerate(mw.goals("MT10", seed=0)):
        padded = np.pad(rand_vecs[0], (0, env.rand_vec_size - rand_vecs.shape[1]))
        state = reset_to(jnp.int32(index), padded)
        np.testing.assert_allclose(state.episode.rand_vec, padded, rtol=1e-6)
        np.testing.assert_array_equal(state.obs[:18], state.obs[18:36])
    far = reset_to(jnp.int32(0), jnp.asarray([0.3, 0.4, 0.02, 0.4, 0.9, 0.45]))
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


def test_the_distance_after_the_first_step_whatever_the_counter_says():
    """Whoever spreads the ends of first episodes over time sets the counter of an episode's steps."""
    step, state, still = compiled().step, fresh(), jnp.zeros((LANES, 4))
    steps, unset = state.episode.step, state.episode.first_distance
    for change in ({"step": steps + 137}, {"first_distance": jnp.zeros_like(unset)}):  # 0: as states had it once
        after = step(state.replace(episode=state.episode.replace(**change)), still)
        expected = jnp.linalg.norm(after.obs[:, OBJECT] - after.episode.goal, axis=1)
        np.testing.assert_allclose(after.episode.first_distance, expected, rtol=1e-5)
    rewound = step(after.replace(episode=after.episode.replace(step=steps)), still + 1.0)
    np.testing.assert_array_equal(rewound.episode.first_distance, after.episode.first_distance)


def test_suites_and_tasks_agree():
    assert [spec.name for spec in mt10().tasks] == [
        "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
        "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
    ]  # fmt: skip
    assert set(mw.list_tasks()) == {spec.name for spec in registered()}
    assert "MT10" in mw.list_suites()


@pytest.mark.parametrize("task", [2, -1, np.int64(7), jnp.int32(5)])
def test_a_task_that_is_not_there_is_refused(task):
    env = mw.make(["reach-v3", "push-v3"], engine=KinematicEngine)
    for start in (lambda: env.reset(jax.random.key(0), task), lambda: env.reset_to(task, np.zeros(env.rand_vec_size))):
        with pytest.raises(ValueError, match=rf"task must be in 0..1, got {int(task)}"):
            start()
