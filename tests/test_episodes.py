"""Running episodes: what counts as success and return, what is kept, and how a policy is called."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.episodes import batched, begin_episodes, finish_episodes, run_episodes, step_episodes
from mjx_metaworld.suites import goal_batch
from mjx_metaworld.vector import reset_to_goals, select_envs

GOALS = mw.goals("reach-v3", 1)[0][:3]


@pytest.fixture(scope="module")
def env():
    """Reach, whose step does nothing but count and take reward and success from the action."""
    env = mw.make("reach-v3")

    def step(state, action):
        success = (action[1] > 0).astype(state.reward.dtype)
        episode = state.episode.replace(step=state.episode.step + 1)
        return state.replace(reward=action[0], metrics=state.metrics.replace(success=success), episode=episode)

    env.step = step
    return env


@pytest.fixture(scope="module")
def first(env) -> mw.State:
    return reset_to_goals(env, [GOALS])


def test_states_at_goals_are_those_of_single_resets(env, first):
    single = mw.jit(env.reset_to)(0, jnp.asarray(GOALS[1], float))
    np.testing.assert_allclose(first.obs[1], single.obs, atol=1e-6)
    np.testing.assert_array_equal(first.episode.rand_vec, GOALS.astype(np.float32))


def test_success_is_at_any_step_and_the_return_may_end_there(env, first):
    rewards, successes = np.array([1.0, 2.0, 4.0]), np.array([[0, 0, 0], [0, 1, 0], [1, 0, 1]], float)
    whole = until = begin_episodes(first)
    for step, reward in enumerate(rewards):
        action = jnp.zeros((3, 4)).at[:, 0].set(reward).at[:, 1].set(successes[:, step])
        whole = step_episodes(env, whole, action)
        until = step_episodes(env, until, action, until_success=True)
    assert whole.stats.success.tolist() == until.stats.success.tolist() == [False, True, True]
    assert whole.stats.episode_return.tolist() == [7.0, 7.0, 7.0]
    assert until.stats.episode_return.tolist() == [7.0, 3.0, 1.0]  # that of the step that succeeds counts


def test_a_run_keeps_states_and_draws_anew_for_every_environment_and_step(env, first):
    def policy(obs, task, key):
        return jax.random.uniform(key, (4,)) * jnp.array([1.0, -1.0, 0.0, 0.0])

    run = run_episodes(env, batched(policy), lambda: first, 6, steps_per_call=3, keep=True)
    assert run.kept is not None
    assert run.kept.episode.step.tolist() == [[0] * 3, [3] * 3, [6] * 3]
    assert run.state.episode.step.tolist() == [6] * 3
    assert not run.stats.success.any()
    assert len(set(run.stats.episode_return.tolist())) == 3
    again = run_episodes(env, batched(policy), lambda: first, 6, steps_per_call=3)
    np.testing.assert_array_equal(run.stats.episode_return, again.stats.episode_return)
    assert again.kept is None
    other = run_episodes(env, batched(policy), lambda: first, 6, steps_per_call=3, seed=1)
    assert not np.any(run.stats.episode_return == other.stats.episode_return)


@pytest.mark.parametrize("num_steps", [0, 7, -3])
def test_steps_that_do_not_make_up_calls_are_refused(env, first, num_steps):
    with pytest.raises(ValueError, match=f"num_steps must be a positive multiple of 3, got {num_steps}"):
        run_episodes(env, batched(lambda obs, task, key: jnp.zeros(4)), lambda: first, num_steps, steps_per_call=3)


def test_a_batch_of_goals_is_padded_and_knows_its_tasks():
    task, rand_vec = goal_batch([np.ones((2, 3)), np.full((1, 6), 2.0)], 6, [4, 1])
    assert task.tolist() == [4, 4, 1]
    assert rand_vec.tolist() == [[1.0] * 3 + [0.0] * 3] * 2 + [[2.0] * 6]
    assert goal_batch([np.ones((2, 3)), np.ones((1, 3))], 3)[0].tolist() == [0, 0, 1]


def test_selection_takes_arrays_of_any_rank():
    new, old = (jnp.ones(3), jnp.ones((3, 2))), (jnp.zeros(3), jnp.zeros((3, 2)))
    taken = select_envs(jnp.array([True, False, True]), new, old)
    assert taken[0].tolist() == [1.0, 0.0, 1.0]
    assert taken[1].tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    assert select_envs(jnp.array(False), new, old)[0].tolist() == [0.0] * 3


def test_episodes_that_end_in_a_rollout_are_told_apart():
    """A success counts for its own episode, also where that began in the rollout before."""
    ends = np.array([[0, 0, 1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 1, 0]], bool).T  # (steps, envs)
    success = np.array([[0, 1, 0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 0, 0]], float).T
    reward = np.arange(16.0).reshape(8, 2)
    zero = jnp.zeros(())
    plain = mw.Transition(zero, zero, zero, zero, zero, zero, mw.Metrics(*[zero] * 7), zero)

    def transitions(steps: slice) -> mw.Transition:
        return plain.replace(
            reward=jnp.asarray(reward[steps]),
            terminated=jnp.zeros_like(ends[steps]),
            truncated=jnp.asarray(ends[steps]),
            metrics=plain.metrics.replace(success=jnp.asarray(success[steps])),
            task=jnp.zeros(ends[steps].shape, jnp.int32),
        )

    in_progress, first = jax.jit(finish_episodes)(transitions(slice(0, 4)))
    _, second = jax.jit(finish_episodes)(transitions(slice(4, 8)), in_progress)
    done, solved, returns, length = (
        np.concatenate([getattr(part, name) for part in (first, second)])
        for name in ("done", "success", "episode_return", "length")
    )
    np.testing.assert_array_equal(done, ends)
    np.testing.assert_array_equal(solved[ends], [False, True, False, True])  # step by step: 1, 2, 5, 6
    np.testing.assert_array_equal(length[ends], [2, 3, 3, 5])
    np.testing.assert_array_equal(returns[ends], [4.0, 6.0, 24.0, 45.0])
    assert first.mean(first.success) == 0.5
    assert np.isnan(first.replace(done=jnp.zeros_like(first.done)).mean(first.success))
    assert (success.max(axis=0) > 0).mean() == 1.0  # what a maximum over the window would show
