"""n-step windows against a plain loop, over the ends of episodes and of rollouts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjx_metaworld.training.n_step import Steps, join, n_step, nothing_pending

GAMMA = 0.9
TIME, ENVS = 20, 6


def steps(terminated: np.ndarray, truncated: np.ndarray) -> Steps:
    """Steps (time, envs) marked by their numbers; successors by these and a half."""
    marks = np.arange(terminated.size, dtype=np.float32).reshape(terminated.shape)
    made = Steps(
        obs=np.stack([marks, -marks], -1),
        task=np.zeros(marks.shape, np.int32),
        action=marks[..., None],
        reward=marks + 1.0,
        terminated=terminated,
        truncated=truncated,
        next_obs=np.stack([marks + 0.5, -marks - 0.5], -1),
    )
    return jax.tree.map(jnp.asarray, made)


def random_steps() -> Steps:
    terminated, truncated = np.random.default_rng(0).random((2, TIME, ENVS)) < 0.1
    return steps(terminated, truncated)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_windows_equal_a_plain_loop(n):
    made = random_steps()
    found = jax.jit(n_step, static_argnums=(1, 2))(made, n, GAMMA)
    assert found.reward.shape == (TIME - n + 1, ENVS)
    for t, env in np.ndindex(*found.reward.shape):
        expected, last, discount = 0.0, t, 1.0
        for step in range(t, t + n):
            expected += discount * float(made.reward[step, env])
            discount *= GAMMA
            last = step
            if made.terminated[step, env]:
                discount = 0.0
            if made.terminated[step, env] or made.truncated[step, env]:
                break
        assert float(found.reward[t, env]) == pytest.approx(expected, rel=1e-5)
        assert float(found.discount[t, env]) == pytest.approx(discount, rel=1e-5)
        np.testing.assert_array_equal(found.next_obs[t, env], made.next_obs[last, env])
        np.testing.assert_array_equal(found.obs[t, env], made.obs[t, env])
        np.testing.assert_array_equal(found.action[t, env], made.action[t, env])


def test_a_truncation_within_a_window_goes_on_from_its_own_successor():
    no = np.zeros((3, 1), bool)
    found = n_step(steps(no, no | np.array([[False], [True], [False]])), 3, GAMMA)
    # Rewards 1 and 2; the third step belongs to the next episode.
    assert float(found.reward[0, 0]) == pytest.approx(1 + 0.9 * 2)
    assert float(found.discount[0, 0]) == pytest.approx(0.9**2)
    assert float(found.next_obs[0, 0, 0]) == 1.5


def test_a_termination_within_a_window_leaves_nothing_to_come():
    no = np.zeros((3, 1), bool)
    found = n_step(steps(no | np.array([[False], [True], [False]]), no), 3, GAMMA)
    assert float(found.reward[0, 0]) == pytest.approx(1 + 0.9 * 2)
    assert float(found.discount[0, 0]) == 0.0


@pytest.mark.parametrize(("n", "horizon"), [(1, 4), (3, 4), (3, 2), (5, 4)])
def test_windows_of_several_rollouts_are_those_of_all_in_one(n, horizon):
    made = random_steps()
    pending, found = nothing_pending(n, ENVS, 2, 1), []
    for first in range(0, TIME, horizon):
        rollout = jax.tree.map(lambda x, first=first: x[first : first + horizon], made)
        due, pending = join(pending, rollout, jnp.asarray(first == 0))
        windows = n_step(due, n, GAMMA)
        assert windows.reward.shape == (horizon, ENVS)
        found.append(windows)
    stand_in = jax.tree.map(lambda x: x[: n - 1], found[0])
    at_once = jax.tree.map(lambda *x: jnp.concatenate(x)[n - 1 :], *found)
    jax.tree.map(np.testing.assert_array_equal, at_once, n_step(made, n, GAMMA))
    # Before the first rollout nothing is pending: its first steps stand in, a window each.
    alone = jax.tree.map(lambda x: x[: n - 1], n_step(made, 1, GAMMA))
    jax.tree.map(np.testing.assert_array_equal, stand_in, alone)
