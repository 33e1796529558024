"""Trials: goals that are kept over episodes, and change with the trial."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw

pytestmark = pytest.mark.usefixtures("kinematic")
LANES, EPISODES, STEPS = 4, 2, 3


@pytest.fixture(scope="module")
def trials(kinematic):
    """Two tasks that lanes draw, in trials of two episodes of three steps; the states of three trials and a bit."""
    env = mw.make(["reach-v3", "door-open-v3"], max_episode_steps=STEPS)
    vector_env = mw.VectorEnv(env, LANES)

    def step(now, _):
        new, transition = mw.step_trials(vector_env, now, jnp.zeros((LANES, 4)), EPISODES)
        return new, (now, transition)

    def run(key):
        last, (before, transitions) = jax.lax.scan(step, mw.begin_trials(vector_env, key), length=20)
        return before, transitions, last

    return vector_env, *jax.jit(run)(jax.random.key(0))


def test_a_trial_keeps_its_goal_and_the_next_has_another(trials):
    _, before, transitions, _ = trials
    done = np.asarray(transitions.terminated | transitions.truncated)
    assert done[:, 0].tolist() == ([False, False, True] * 7)[:20]
    assert before.episode[:, 0].tolist() == ([0] * 3 + [1] * 3) * 3 + [0] * 2
    goals = np.asarray(before.state.episode.goal)
    trial = np.arange(20) // (EPISODES * STEPS)
    for number in range(4):
        np.testing.assert_array_equal(goals[trial == number], np.tile(goals[6 * number], (sum(trial == number), 1, 1)))
    assert len(np.unique(goals.reshape(-1, 3), axis=0)) == 4 * LANES
    assert len(set(before.task[::6, 0].tolist())) == 2  # lanes draw a task with a goal


def test_each_episode_of_a_trial_begins_in_one_state(trials):
    _, before, _, _ = trials
    first, second = (jax.tree.map(lambda x, at=at: np.asarray(x)[at], before.state) for at in (0, STEPS))
    jax.tree.map(np.testing.assert_array_equal, first, second.replace(cost_estimate=first.cost_estimate))


@pytest.mark.ci
def test_a_trial_of_one_episode_is_an_episode(trials):
    vector_env, _, _, last = trials
    action = jnp.zeros((LANES, 4))
    step = jax.jit(lambda now: mw.step_trials(vector_env, now, action, 1))
    plain = jax.jit(lambda state: vector_env.step(state, action))
    now, state = last.replace(episode=jnp.zeros(LANES, jnp.int32)), last.state
    for _ in range(4):
        (now, found), (state, expected) = step(now), plain(state)
        jax.tree.map(np.testing.assert_array_equal, (now.state, found), (state, expected))


def test_a_trial_that_is_ended_early_gives_way_to_another_goal(trials):
    vector_env, before, _, _ = trials
    ended = jnp.arange(LANES) < 2
    for at in (1, 4):  # in its first episode and in its last
        now = jax.tree.map(lambda x, at=at: x[at], before)
        after = jax.jit(lambda now: mw.end_trials(vector_env, now, ended))(now)
        same = np.all(np.asarray(after.state.episode.goal) == np.asarray(now.state.episode.goal), axis=-1)
        np.testing.assert_array_equal(same, ~ended)
        np.testing.assert_array_equal(after.episode, np.where(ended, 0, now.episode))
        np.testing.assert_array_equal(after.state.episode.step, np.where(ended, 0, now.state.episode.step))


def test_the_number_of_episodes_must_be_positive(trials):
    vector_env, _, _, last = trials
    with pytest.raises(ValueError, match="episodes must be a positive integer, got 0"):
        mw.step_trials(vector_env, last, jnp.zeros((LANES, 4)), 0)
