"""Autoreset, true successors, and rollouts."""

from __future__ import annotations

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw

pytestmark = pytest.mark.usefixtures("kinematic")


def zero_policy(obs, key):
    return jnp.zeros((obs.shape[0], 4))


@pytest.fixture(scope="module")
def short_episodes(kinematic):
    """Two tasks in four lanes with episodes of three steps, rolled out over seven."""
    env = mw.make(["reach-v3", "door-open-v3"], max_episode_steps=3)
    vector_env = mw.VectorEnv(env, 4, resample_task=False)
    run = jax.jit(lambda key: mw.rollout(vector_env, zero_policy, key, 7))
    return vector_env, *run(jax.random.key(0))


def test_lanes_restart_when_their_episode_ends(short_episodes):
    _, state, transition = short_episodes
    assert np.asarray(transition.truncated)[:, 0].tolist() == [False, False, True, False, False, True, False]
    assert not bool(jnp.any(transition.terminated))
    assert state.episode.step.tolist() == [1] * 4
    assert state.task.tolist() == [0, 1, 0, 1]


def test_a_step_is_an_advance_and_a_restart(short_episodes):
    """So that a loop may end episodes by conditions of its own, too, with one restart."""
    vector_env, state, _ = short_episodes
    state = state.replace(episode=state.episode.replace(step=jnp.array([0, 2, 2, 1])))
    action = jnp.full((4, 4), 0.5)

    @jax.jit
    def both(state, also):
        ahead, transition = vector_env.advance(state, action)
        done = transition.terminated | transition.truncated
        return ahead, vector_env.restart(ahead, done | also), transition

    nobody, own = jnp.zeros(4, bool), jnp.array([True, False, True, False])
    stepped = jax.jit(vector_env.step)(state, action)
    jax.tree.map(np.testing.assert_array_equal, both(state, nobody)[1:], stepped)
    ahead, after, _ = both(state, own)
    assert ahead.episode.step.tolist() == [1, 3, 3, 2]
    assert ahead.truncated.tolist() == [False, True, True, False]
    assert after.episode.step.tolist() == [0, 0, 0, 2]


def test_next_obs_is_the_true_successor_at_an_episode_end(short_episodes):
    _, _, transition = short_episodes
    within = [0, 1, 3, 4]
    np.testing.assert_array_equal(transition.next_obs[jnp.asarray(within)], transition.obs[jnp.asarray(within) + 1])
    # At the end of an episode the goal in next_obs is still the old one; the next obs shows the new one.
    np.testing.assert_array_equal(transition.next_obs[2, :, 36:], transition.obs[2, :, 36:])
    assert not np.any(np.all(transition.next_obs[2, :, 36:] == transition.obs[3, :, 36:], axis=-1))


def test_successive_episodes_have_new_goals(short_episodes):
    _, state, transition = short_episodes
    goals = np.stack([transition.obs[0, :, 36:], transition.obs[3, :, 36:], state.obs[:, 36:]])
    assert len(np.unique(goals.reshape(-1, 3), axis=0)) == 12


def test_every_field_of_a_transition_is_as_annotated(short_episodes):
    _, _, transition = short_episodes
    one = jax.tree.map(lambda x: x[0, 0], transition)
    for name, annotation in typing.get_type_hints(mw.Transition).items():
        if name == "pixels":  # whatever one's cameras draw
            assert one.pixels is None
        else:
            assert isinstance(getattr(one, name), annotation), name


def test_termination_on_success_restarts_too():
    env = mw.make("reach-v3", terminate_on_success=True)
    vector_env = mw.VectorEnv(env, 2)
    state = jax.jit(vector_env.reset)(jax.random.key(0))
    # A goal where the hand already is: success at the first step.
    state = state.replace(episode=state.episode.replace(goal=state.episode.tcp_init))
    after, transition = jax.jit(vector_env.step)(state, jnp.zeros((2, 4)))
    assert transition.terminated.tolist() == [True, True]
    assert transition.metrics.success.tolist() == [1.0, 1.0]
    assert not bool(jnp.any(transition.truncated))
    assert after.episode.step.tolist() == [0, 0]


def test_tasks_are_resampled_on_request():
    vector_env = mw.VectorEnv(mw.make("MT10"), 64)
    tasks = jax.jit(vector_env.reset)(jax.random.key(1)).task
    assert len(np.unique(tasks)) >= 8  # 64 uniform draws of 10 leave out three or more with probability 1e-7


@pytest.mark.parametrize("num_envs", [0, -3, 2.5])
def test_bad_num_envs_is_refused(num_envs):
    with pytest.raises(ValueError, match="num_envs"):
        mw.VectorEnv(mw.make("reach-v3"), num_envs)
