"""The gymnax adapter under gymnax's own wrappers and rejax; `make clients` installs both."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnax import GymnaxEnv
from mjx_metaworld.observation import GOAL

pytest.importorskip("gymnax")

from gymnax.environments import spaces
from gymnax.experimental.rollout import RolloutWrapper
from gymnax.wrappers.compat import LegacyStepAPIWrapper
from gymnax.wrappers.gym import GymnaxToGymWrapper, GymnaxToVectorGymWrapper
from gymnax.wrappers.purerl import FlattenObservationWrapper, LogWrapper

pytestmark = pytest.mark.usefixtures("kinematic")

NUM_ENVS = 4


@pytest.fixture(scope="module")
def env(kinematic):
    return GymnaxEnv(mw.make(["reach-v3", "door-open-v3"], max_episode_steps=2, one_hot=True))


def rollout(env, num_steps: int):
    """The loop of PureJaxRL: a vectorized reset, then a scan over vectorized steps."""
    params = env.default_params
    reset = jax.vmap(env.reset, in_axes=(0, None))
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    def body(carry, key):
        keys = jax.random.split(key, NUM_ENVS)
        obs, state, *rest = step(keys, carry, jax.vmap(env.action_space(params).sample)(keys), params)
        return state, (obs, *rest)

    def run(key):
        obs, state = reset(jax.random.split(key, NUM_ENVS), params)
        return obs, jax.lax.scan(body, state, jax.random.split(key, num_steps))[1]

    return jax.jit(run)(jax.random.key(0))


def test_wrappers_of_pure_rl_log_flat_episodes(env):
    wrapped = LogWrapper(FlattenObservationWrapper(env))
    first, (*_, terminated, truncated, info) = rollout(wrapped, 4)
    assert first.shape == (NUM_ENVS, 41)
    assert wrapped.observation_space(env.default_params).shape == (41,)
    assert not terminated.any()
    assert truncated[:, 0].tolist() == info["returned_episode"][:, 0].tolist() == [False, True, False, True]
    assert (info["returned_episode_lengths"][-1] == 2).all()
    assert (info["returned_episode_returns"][-1] > 0).all()
    assert info["returned_episode_valid"][:, 0].tolist() == [False, True, True, True]
    np.testing.assert_array_equal(info["final_observation"][1][:, GOAL], first[:, GOAL])


def test_five_values_come_with_gymnaxs_wrapper_and_with_ours(env):
    five = GymnaxEnv(env.env, separate_truncation=False)
    first, (obs, reward, done, _) = rollout(five, 3)
    other, (other_obs, other_reward, other_done, _) = rollout(LegacyStepAPIWrapper(env), 3)
    for ours, theirs in ((first, other), (obs, other_obs), (reward, other_reward), (done, other_done)):
        np.testing.assert_array_equal(ours, theirs)


def test_spaces_are_of_both_kinds(env):
    for space, like in (
        (env.action_space(), env.env.action_space),
        (env.observation_space(), env.env.observation_space),
    ):
        assert isinstance(space, spaces.Box)
        assert isinstance(space, gymnasium.spaces.Box)
        assert space == like
        assert spaces.gymnax_space_to_gym_space(space) == like
        for copied in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
            assert copied == space
            assert isinstance(copied, spaces.Box)


def test_gymnasiums_interface_by_gymnaxs_wrappers(env):
    single = GymnaxToGymWrapper(env, seed=0)
    assert single.observation_space.contains(np.asarray(single.reset()[0]))
    ends = [single.step(single.action_space.sample())[2:4] for _ in range(2)]
    assert [bool(truncated) for _, truncated in ends] == [False, True]
    vector = GymnaxToVectorGymWrapper(env, num_envs=3, seed=0)
    assert vector.reset()[0].shape == (3, 41)
    obs, reward, _, truncated, _ = vector.step(vector.action_space.sample())
    assert obs.shape == (3, 41)
    assert reward.shape == truncated.shape == (3,)


def test_rollouts_by_gymnaxs_evaluation(env):
    keys = jax.random.split(jax.random.key(0), NUM_ENVS)
    obs, action, reward, _, done, returns = RolloutWrapper(env=env).batch_rollout(keys, None)
    assert obs.shape == (NUM_ENVS, 2, 41)
    assert action.shape == (NUM_ENVS, 2, 4)
    assert done.tolist() == [[False, True]] * NUM_ENVS
    np.testing.assert_allclose(returns[:, 0], reward.sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("PPO", {"num_envs": 16, "num_steps": 32, "num_minibatches": 4, "num_epochs": 2}),
        ("SAC", {"num_envs": 16, "buffer_size": 512, "fill_buffer": 64, "batch_size": 32, "num_epochs": 1}),
    ],
)
def test_rejax_trains_and_evaluates(algorithm, settings):
    rejax = pytest.importorskip("rejax")
    env = GymnaxEnv(mw.make("reach-v3", max_episode_steps=20), separate_truncation=False)
    learner = getattr(rejax, algorithm).create(
        env=env,
        env_params=env.default_params,
        total_timesteps=1024,
        eval_freq=512,
        normalize_observations=True,
        **settings,
    )
    state, (lengths, returns) = jax.jit(learner.train)(jax.random.key(0))
    assert state.global_step == 1024
    assert lengths.shape == (3, 128)  # before, after a half and after all of it, of so many episodes
    assert (np.asarray(lengths) == 20).all()
    assert np.isfinite(returns).all()
    assert (np.asarray(returns) > 0).all()
    assert jnp.isfinite(jax.flatten_util.ravel_pytree(state.actor_ts.params)[0]).all()
