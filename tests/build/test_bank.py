"""The settled states from which resets start: which row a goal gets, and what a host settles instead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.build import settle as settling
from mjx_metaworld.build.bank import build_bank
from mjx_metaworld.env import MetaWorldEnv, starts
from mjx_metaworld.suites import resolve
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.types import State

DOOR = "door-lock-v3"


def resets(env: MetaWorldEnv, count: int) -> State:
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(5), count))


def distances(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n,) of each vector from the row nearest to it."""
    return np.abs(np.asarray(vectors)[:, None] - rows).max(-1).min(1)


def test_a_goal_gets_the_row_whose_prop_stood_nearest():
    reach, box = resolve(["reach-v3", "box-close-v3"])
    bank = build_bank([reach, box], num_points=3, num_rand=6)
    assert bank.count.tolist() == [1, 128]
    np.testing.assert_allclose(bank.pull[1], [0.0, 0.0, 0.0, 1.0, 1.0, 0.0], atol=1e-6)  # the lid moves no box
    goals = bank.rand_vec[1:6] + np.array([0.03, -0.02, 0.0, 1e-4, -1e-4, 0.0])
    found = jax.vmap(lambda goal: starts.nearest_row(bank, jnp.int32(1), goal))(goals)
    assert found.tolist() == [1, 2, 3, 4, 5]
    assert starts.nearest_row(bank, jnp.int32(0), jnp.ones(6)) == 0


def test_fresh_goals_are_continuous():
    env = mw.make(DOOR, engine=KinematicEngine)
    states = resets(env, 32)
    vectors = np.asarray(states.episode.rand_vec)
    assert len(np.unique(vectors[:, 0])) == 32
    assert np.median(distances(vectors, env._bank.rand_vec)) > 1e-4
    assert bool(states.finite.all())


@pytest.mark.full
def test_banked_goals_are_the_rows():
    env = mw.make(DOOR, engine=KinematicEngine, goals="banked")
    assert distances(resets(env, 32).episode.rand_vec, env._bank.rand_vec).max() < 1e-6


@pytest.mark.full
def test_a_settled_reset_is_that_of_its_goal(monkeypatch):
    env = mw.make(DOOR, engine=KinematicEngine, goals="settled", max_episode_steps=2)
    assert env.identity() is None
    assert "goals='settled'" in repr(env)
    monkeypatch.setattr(settling, "write_arrays", lambda *_: pytest.fail("goals that never come again fill no files"))
    state = resets(env, 3)
    monkeypatch.undo()
    expected = mw.jit(jax.vmap(lambda vector: env.reset_to(0, vector)))(state.episode.rand_vec)
    np.testing.assert_array_equal(state.obs, expected.obs)
    np.testing.assert_array_equal(state.physics.qpos, expected.physics.qpos)
    # Asked for again, as for the lane that fills up a batch of restarts, nothing is simulated.
    monkeypatch.setattr(starts, "settle", lambda *_, **__: pytest.fail("simulated twice"))
    np.testing.assert_array_equal(resets(env, 3).obs, state.obs)


@pytest.mark.full
def test_restarts_settle_on_the_host():
    env = mw.make([DOOR, "reach-v3"], engine=KinematicEngine, goals="settled", max_episode_steps=2)
    lanes = mw.VectorEnv(env, 20, resample_task=False)
    state, step = mw.jit(lanes.reset)(jax.random.key(0)), mw.jit(lanes.step)
    for _ in range(5):
        state, _ = step(state, jnp.zeros((20, 4)))
    assert np.asarray(state.episode.step).tolist() == [1] * 20
    doors = np.asarray(state.episode.rand_vec)[::2]
    assert len(np.unique(doors[:, 0])) == 10
    settled = mw.jit(jax.vmap(lambda vector: env.reset_to(0, vector)))(doors)
    np.testing.assert_array_equal(state.physics.qpos[::2, :7], settled.physics.qpos[:, :7])  # which these steps keep


def test_unknown_kinds_of_goals_are_named():
    with pytest.raises(ValueError, match="unknown goals 'fresh'; available: nearest, settled, banked"):
        mw.make("reach-v3", goals="fresh")  # pyright: ignore[reportArgumentType]
