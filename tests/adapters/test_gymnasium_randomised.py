"""Randomised physics through gymnasium: each episode draws, by the lane's seed, and goals stay those without it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import mjx_metaworld as mw
import mjx_metaworld.adapters.gymnasium  # registers
from mjx_metaworld.adapters.gymnasium import make_mt

pytestmark = pytest.mark.usefixtures("kinematic")

ID = "mjx-metaworld/reach-v3"
TERMS = [mw.randomise.gravity(9.0, 10.0), "friction=0.5,1.5", "action_delay=0,2"]


def make(**options):
    return gym.make_vec(ID, num_envs=3, seed=1, max_episode_steps=2, **options)


def drawn(envs) -> np.ndarray:
    return np.stack(envs.unwrapped.call("parameters"))


def test_episodes_draw_anew_and_goals_do_not_change():
    plain, envs = make(), make(randomise=TERMS)
    np.testing.assert_array_equal(plain.reset()[0], envs.reset()[0])
    first = drawn(envs)
    assert len(np.unique(first[:, 2])) == 3  # gravity's z, of each lane its own
    action = np.full((3, 4), 0.5)
    envs.step(action)
    np.testing.assert_array_equal(drawn(envs), first)  # they stay for the episode
    plain.step(action)
    np.testing.assert_array_equal(plain.step(action)[0][:, -3:], envs.step(action)[0][:, -3:])  # both restart
    assert (drawn(envs)[:, 2] != first[:, 2]).all()


def test_a_seed_repeats_what_was_drawn_and_a_masked_reset_leaves_the_others():
    envs = make(randomise=TERMS)
    envs.reset(seed=5)
    first = drawn(envs)
    envs.reset()
    again = drawn(envs)
    assert (again[:, 2] != first[:, 2]).all()
    mask = np.array([False, True, False])
    envs.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal((drawn(envs) == again).all(axis=1), ~mask)
    envs.reset(seed=5)
    np.testing.assert_array_equal(drawn(envs), first)


def test_a_checkpoint_goes_on_with_the_same_draws():
    envs, other = make(randomise=TERMS), make(randomise=TERMS)
    envs.reset(seed=2)
    other.reset(seed=9)
    checkpoints = envs.unwrapped.call("get_checkpoint")
    envs.reset()
    other.unwrapped.call("load_checkpoint", checkpoints)
    other.reset()
    np.testing.assert_array_equal(drawn(envs), drawn(other))


def test_a_single_environment_draws_by_its_seed():
    env = gym.make(ID, randomise="gravity=9,10").unwrapped
    env.reset(seed=3)
    first = np.stack(env._batch.call("parameters"))
    env.reset()
    assert (np.stack(env._batch.call("parameters")) != first).any()
    env.reset(seed=3)
    np.testing.assert_array_equal(np.stack(env._batch.call("parameters")), first)


def test_what_is_no_term_is_refused_and_without_terms_there_are_no_parameters():
    with pytest.raises(ValueError, match="no term is called 'frictoin'; did you mean friction"):
        make_mt("reach-v3", randomise="frictoin=0,1")
    with pytest.raises(TypeError, match="randomise takes terms such as"):
        make_mt("reach-v3", randomise=[3])
    with pytest.raises(AttributeError, match="no 'parameters'"):
        make().unwrapped.call("parameters")
