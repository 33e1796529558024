"""Pictures through the adapters of JAX's clients: brax's and gymnax's dict observations, drawn once a step."""

from __future__ import annotations

import pickle

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnax import GymnaxEnv
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.ci

pytest.importorskip("warp")

LANES, SIZE, STEPS = 3, 16, 2
KEYS = jax.random.split(jax.random.key(0), LANES)
ACTIONS = jnp.full((LANES, 4), 0.5)


def make(**options):
    pixels = mw.Pixels(width=SIZE, height=SIZE, **options)
    return mw.make("reach-v3", engine=KinematicEngine, max_episode_steps=STEPS, pixels=pixels)


@pytest.fixture(scope="module")
def env():
    return make()


@pytest.fixture(scope="module")
def camera(env):
    return jax.jit(jax.vmap(mw.camera(env, "corner2", SIZE, SIZE)))


def test_gymnax_observes_a_dict(env, camera, drawn):
    adapted = GymnaxEnv(env)
    obs, state = jax.jit(jax.vmap(adapted.reset))(KEYS)
    step = jax.jit(jax.vmap(adapted.step))
    for number in range(STEPS):
        obs, state, _, _, truncated, info = jax.block_until_ready(step(KEYS, state, ACTIONS))
        assert drawn == [LANES] * (2 + number)
    assert truncated.all()
    assert info["final_observation"].shape == (LANES, 39)
    np.testing.assert_array_equal(obs["pixels"], camera(state))
    np.testing.assert_array_equal(obs["state"], state.obs)
    space = adapted.observation_space()
    assert isinstance(space, gym.spaces.Dict)
    one = jax.tree.map(lambda x: x[0], obs)
    assert bool(space.contains(one))
    assert space.contains(jax.device_get(one))
    drawn_point = space.sample(jax.random.key(0))
    assert bool(space.contains(drawn_point))
    assert drawn_point["pixels"].dtype == jnp.uint8
    assert not space.contains(one["state"])
    assert pickle.loads(pickle.dumps(space)) == space
    assert set(GymnaxEnv(make(depth=True)).observation_space().spaces) == {"state", "pixels", "depth", "segmentation"}


def test_brax_observes_views_drawn_after_the_restart(env, camera, drawn):
    from mjx_metaworld.adapters.brax import BraxEnv, wrap

    wrapped = wrap(BraxEnv(env), episode_length=4, action_repeat=2)
    assert wrapped.observation_size == {"state": (39,), "pixels/view_0": (SIZE, SIZE, 3)}
    step = jax.jit(wrapped.step)
    state = jax.block_until_ready(jax.jit(wrapped.reset)(KEYS))
    for number in range(2):
        state = jax.block_until_ready(step(state, ACTIONS))
        assert drawn == [LANES] * (2 + number)
    assert state.done.all()
    view = np.asarray(state.obs["pixels/view_0"])
    assert 0.0 <= view.min() < view.max() <= 1.0
    np.testing.assert_array_equal(np.round(255 * view), camera(state.pipeline_state.env))
    np.testing.assert_array_equal(state.obs["state"], state.pipeline_state.env.obs)
    assert np.any(state.info["terminal_obs"] != state.obs["state"])


def test_brax_draws_without_our_wrapper_too_and_refuses_depth():
    from mjx_metaworld.adapters.brax import BraxEnv

    env = BraxEnv(make(camera=("corner2", "topview")))
    state = jax.eval_shape(env.reset, jax.random.key(0))
    after = jax.eval_shape(env.step, state, ACTIONS[0])
    assert jax.tree.structure(after.obs) == jax.tree.structure(state.obs)
    assert after.obs["pixels/view_1"].shape == (SIZE, SIZE, 3)
    with pytest.raises(ValueError, match=r"brax observes pictures of colours alone, not .*depth"):
        BraxEnv(make(depth=True))


@pytest.mark.full
def test_braxs_vision_agent_trains_on_the_views(env):
    from brax.training.agents.ppo import networks_vision
    from brax.training.agents.ppo import train as ppo

    from mjx_metaworld.adapters.brax import BraxEnv, wrap

    few = {
        "num_timesteps": 64,
        "num_envs": 4,
        "batch_size": 4,
        "num_minibatches": 2,
        "unroll_length": 4,
        "num_evals": 1,
    }
    _, _, metrics = ppo.train(
        BraxEnv(env),
        episode_length=8,
        wrap_env_fn=wrap,
        network_factory=networks_vision.make_ppo_networks_vision,
        augment_pixels=True,
        num_eval_envs=4,
        **few,
    )
    assert np.isfinite(metrics["eval/episode_reward"])
