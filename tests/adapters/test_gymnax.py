"""The gymnax adapter, driven as gymnax's clients drive it; `tests/clients` has their own code."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnax import GymnaxEnv
from mjx_metaworld.observation import GOAL

pytestmark = pytest.mark.usefixtures("kinematic")

NUM_ENVS = 4


def rollout(env, params, num_steps: int):
    """PureJaxRL's way to drive environments: jitted reset, then a scan over vmapped steps."""
    obs, state = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(jax.random.split(jax.random.key(0), NUM_ENVS), params)

    def step(carry, key):
        obs, state = carry
        keys = jax.random.split(key, NUM_ENVS)
        actions = jnp.zeros((NUM_ENVS, *env.action_space(params).shape))
        obs, state, *rest = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, actions, params)
        return (obs, state), (obs, *rest)

    return obs, jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[1])(
        (obs, state), jax.random.split(jax.random.key(1), num_steps)
    )


def test_a_steps_key_draws_the_episode_that_follows():
    """As gymnax's own step does: lanes that were made alike part ways, and raw keys do as well as typed ones."""
    env = GymnaxEnv(mw.make("reach-v3", max_episode_steps=1))
    _, state = env.reset(jax.random.key(0))
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None)))
    keys = jax.random.split(jax.random.key(1), 2)
    obs, after, *_ = step(keys[jnp.array([0, 0, 1])], state, jnp.zeros(4))
    np.testing.assert_array_equal(obs[0], obs[1])
    assert not np.any(obs[0, GOAL] == obs[2, GOAL])
    np.testing.assert_array_equal(step(jax.random.key_data(keys), state, jnp.zeros(4))[0], obs[1:])
    assert after.episode.key_impl == state.episode.key_impl


@pytest.mark.parametrize("wrong", ["reach-v3", None])
def test_what_is_no_environment_is_refused(wrong):
    with pytest.raises(TypeError, match=r"env must be an environment, as mw.make makes one, got"):
        GymnaxEnv(wrong)
    env = mw.make("reach-v3")
    with pytest.raises(TypeError, match=r"env must be an environment, as mw.make makes one, got VectorEnv"):
        GymnaxEnv(mw.VectorEnv(env, 2))
    with pytest.raises(ValueError, match="separate_truncation must be True or False, got 'no'"):
        GymnaxEnv(env, separate_truncation="no")


@pytest.mark.parametrize(("separate_truncation", "num_values"), [(True, 6), (False, 5)])
def test_steps_have_the_shapes_that_gymnaxs_clients_scan_over(separate_truncation, num_values):
    env = GymnaxEnv(mw.make("reach-v3", max_episode_steps=7), separate_truncation=separate_truncation)
    assert env.default_params.max_steps_in_episode == 7
    assert env.observation_space(env.default_params).shape == (39,)
    key = jax.random.key(0)
    obs, state = jax.eval_shape(env.reset, key, env.default_params)
    after = jax.eval_shape(env.step, key, state, jnp.zeros(4), env.default_params)
    assert len(after) == num_values
    assert jax.tree.leaves(after[:2]) == jax.tree.leaves((obs, state))
    assert [x.dtype for x in after[2:-1]] == [jnp.float32] + [jnp.bool_] * (num_values - 4)
    assert {*mw.Metrics.__dataclass_fields__, "terminated", "truncated", "discount"} <= set(after[-1])
    assert after[-1]["final_observation"] == obs


def test_episodes_restart_with_fresh_goals_and_keep_their_true_ends():
    env = GymnaxEnv(mw.make("reach-v3", max_episode_steps=2))
    assert env.default_params.max_steps_in_episode == 2
    assert env.observation_space(env.default_params).shape == (39,)
    first, (obs, reward, terminated, truncated, info) = rollout(env, env.default_params, 3)
    assert truncated[:, 0].tolist() == [False, True, False]
    assert not terminated.any()
    assert (reward > 0).all()
    assert (info["discount"] == 1.0).all()
    np.testing.assert_array_equal(info["truncated"], truncated)
    np.testing.assert_array_equal(info["final_observation"][0], obs[0])
    np.testing.assert_array_equal(info["final_observation"][1][:, GOAL], first[:, GOAL])
    assert not np.any(np.all(obs[1][:, GOAL] == first[:, GOAL], axis=-1))
    assert set(mw.Metrics.__dataclass_fields__) <= set(info)


def test_spaces_are_gymnasiums_and_draw_from_keys():
    env = GymnaxEnv(mw.make("reach-v3"))
    inner = env.env
    for space, like in ((env.action_space(), inner.action_space), (env.observation_space(), inner.observation_space)):
        assert space == like
        assert space.contains(space.sample())
        keys = jax.random.split(jax.random.key(0), NUM_ENVS)
        points = jax.jit(jax.vmap(space.sample))(keys)
        assert points.shape == (NUM_ENVS, *space.shape)
        assert points.dtype == space.dtype
        assert not np.array_equal(points[0], points[1])
        assert jax.jit(jax.vmap(space.contains))(points).all()
        assert not space.contains(points[0] + 10.0)
        assert not space.contains(points)
        np.testing.assert_array_equal(space.sample(jax.random.PRNGKey(0)), space.sample(jax.random.key(0)))
        assert pickle.loads(pickle.dumps(space)) == space
    assert env.num_actions == 4
    assert env.name == "mjx-metaworld/reach-v3"
