"""Rollouts in trials: what is seen, when it is forgotten, and what counts as following it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.trial_probes import EPISODES, trial_probe, trying_pays

from mjx_metaworld.training.normalize import no_moments
from mjx_metaworld.training.proximal import advantages
from mjx_metaworld.training.recurrent import RecurrentActor
from mjx_metaworld.training.trial_rollout import Rollout, TrialLanes

LANES, STEPS, HORIZON = 4, 3, 14  # a trial has six steps
ACTOR = RecurrentActor(
    hidden=(8,), memory_hidden=(8,), memory_size=4, span=6.0, action_size=2, goal_size=1, initial_std=0.5
)


def rolled_out(*, across: bool, terminates: bool = False, iteration: int = 10) -> tuple[TrialLanes, Any, Rollout]:
    env = trial_probe(trying_pays, num_envs=LANES, episode_steps=STEPS, cue=True, terminates=terminates)
    lanes = TrialLanes(env, ACTOR, across_episodes=across)

    def run(key: jax.Array) -> Any:
        state, moments = env.reset(key), no_moments((2,))
        params = lanes.init_actor(key, moments, state.obs)
        start = state, lanes.nothing_carried(LANES)
        (state, carried), rollout = lanes.collect(params, moments, start, jax.random.split(key, HORIZON))
        return lanes.spread_trials(jnp.asarray(iteration), state, carried, rollout)

    state, carried, rollout = jax.jit(run)(jax.random.key(0))
    return lanes, (state, carried), jax.tree.map(np.asarray, rollout)


@pytest.fixture(scope="module")
def across():
    return rolled_out(across=True)


@pytest.fixture(scope="module")
def within():
    return rolled_out(across=False)


def ends() -> tuple[np.ndarray, np.ndarray]:
    """Steps that end an episode, and those that end a trial."""
    step = np.arange(HORIZON) + 1
    return step % STEPS == 0, step % (STEPS * EPISODES) == 0


def test_the_memory_is_forgotten_exactly_where_a_trial_ends(across):
    _, (_, carried), rollout = across
    _, over = ends()
    assert rollout.over[:, 0].tolist() == over.tolist()
    begins = np.append(True, over[:-1])
    empty = ~rollout.memory.any(-1)
    np.testing.assert_array_equal(empty, np.tile(begins[:, None], LANES))
    assert np.asarray(carried.memory).any(-1).all()  # two steps into the third trial
    assert carried.step.tolist() == [2] * LANES


def test_the_step_before_is_seen_but_for_the_first_of_an_episode(across):
    _, _, rollout = across
    done, over = ends()
    obs, action, reward, ended = np.split(rollout.seen, [2, 4, 5], axis=-1)
    taken = np.clip(rollout.transition.action, -1, 1)
    begins = np.append(True, done[:-1])
    np.testing.assert_array_equal(action[begins], 0.0)
    np.testing.assert_array_equal(reward[begins], 0.0)
    goes_on = np.flatnonzero(~begins)
    np.testing.assert_array_equal(action[goes_on], taken[goes_on - 1])
    np.testing.assert_allclose(reward[goes_on, :, 0], rollout.transition.reward[goes_on - 1] / 10, rtol=1e-6)
    np.testing.assert_array_equal(ended[:, 0, 0], np.append(False, (done & ~over)[:-1]))
    np.testing.assert_array_equal(obs[..., 0], 0.0)  # the goal
    assert np.abs(rollout.judged[..., 0]).min() > 0


def test_the_next_episode_follows_within_a_trial(across):
    _, _, rollout = across
    _, over = ends()
    on = np.flatnonzero(~over[:-1])
    np.testing.assert_array_equal(rollout.judged_next[on], rollout.judged[on + 1])
    np.testing.assert_array_equal(rollout.terminated, np.tile(over[:, None], LANES))
    assert not rollout.truncated.any()
    clock = rollout.judged[:, 0, 2:4]
    np.testing.assert_allclose(clock[:6, 0], np.array([0, 1, 2, 0, 1, 2]) / STEPS, rtol=1e-6)
    np.testing.assert_array_equal(clock[:7, 1], [0, 0, 0, 0.5, 0.5, 0.5, 0])


def test_or_more_of_the_same_episode_does(within):
    _, _, rollout = within
    done, _ = ends()
    on = np.flatnonzero(~done[:-1])
    np.testing.assert_array_equal(rollout.judged_next[on], rollout.judged[on + 1])
    np.testing.assert_array_equal(rollout.truncated, np.tile(done[:, None], LANES))
    assert not rollout.terminated.any()
    cue = rollout.judged_next[2, :, 1]  # the first episode's, which its last observation shows
    np.testing.assert_array_equal(cue, rollout.judged[2, :, 1])
    assert np.abs(cue).min() > 0
    assert not rollout.judged[3, :, 1].any()
    assert not rolled_out(across=False, terminates=True)[2].truncated.any()


def test_estimates_reach_over_a_trial_as_a_plain_loop_does(across):
    _, _, rollout = across
    generator = np.random.default_rng(0)
    value, next_value = generator.normal(size=(2, HORIZON, LANES)).astype(np.float32)
    gamma, gae_lambda = 0.9, 0.8
    found = advantages(
        rollout.transition.reward,
        rollout.terminated,
        rollout.truncated,
        value,
        next_value,
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    trial_steps = STEPS * EPISODES
    for lane in range(LANES):
        for t in range(HORIZON):
            last = min(HORIZON, (t // trial_steps + 1) * trial_steps) - 1
            expected = 0.0
            for later in range(t, last + 1):
                follows = 0.0 if (later + 1) % trial_steps == 0 else next_value[later, lane]
                error = rollout.transition.reward[later, lane] + gamma * follows - value[later, lane]
                expected += (gamma * gae_lambda) ** (later - t) * error
            np.testing.assert_allclose(found[t, lane], expected, rtol=1e-4, atol=1e-4)


def test_first_trials_are_cut_short_at_different_times():
    # Trials of two steps in rollouts of one would be cut in either half of the lanes; here one phase fills a rollout.
    env = trial_probe(trying_pays, num_envs=LANES, episode_steps=7)
    lanes = TrialLanes(env, ACTOR, across_episodes=True)

    def run(key: jax.Array) -> Any:
        state, moments = env.reset(key), no_moments((2,))
        params = lanes.init_actor(key, moments, state.obs)
        start = state, lanes.nothing_carried(LANES)
        (state, carried), rollout = lanes.collect(params, moments, start, jax.random.split(key, 7))
        return state.key, *lanes.spread_trials(jnp.zeros((), jnp.int32), state, carried, rollout)

    keys, state, carried, rollout = jax.jit(run)(jax.random.key(0))
    early = np.array([False, True, False, True])  # of two phases the second
    np.testing.assert_array_equal(rollout.over[-1], early)
    np.testing.assert_array_equal(rollout.truncated[-1], early)
    assert not rollout.over[:-1].any()
    np.testing.assert_array_equal(state.episode, np.where(early, 0, 1))
    np.testing.assert_array_equal(~np.asarray(carried.memory).any(-1), early)
    np.testing.assert_array_equal(carried.past.done, ~early)
    changed = (jax.random.key_data(state.key) != jax.random.key_data(keys)).any(-1)
    np.testing.assert_array_equal(changed, early)


def test_a_sequence_from_a_stored_memory_gives_what_acted(across):
    lanes, _, rollout = across
    state = lanes.env.reset(jax.random.key(0))
    params = lanes.init_actor(jax.random.key(0), no_moments((2,)), state.obs)
    start = 4  # amid a trial; the next begins two steps later
    fresh = np.vstack([np.zeros((1, LANES), bool), rollout.over[start:-1]])
    out = jax.jit(ACTOR.apply)(params, rollout.seen[start:], rollout.memory[start], fresh)
    np.testing.assert_allclose(out.mean, rollout.mean[start:], atol=1e-6)
    remembered = np.where(rollout.over[start:-1, :, None], 0.0, out.memory[:-1])
    np.testing.assert_allclose(remembered, rollout.memory[start + 1 :], atol=1e-6)
