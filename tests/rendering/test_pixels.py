"""Pictures beside the state: the same as a camera's, once a step and lane, in every loop."""

from __future__ import annotations

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.vector import restart

pytest.importorskip("warp")

TASKS = ("reach-v3", "window-open-v3")
LANES = 4
SIZE = 16
STEPS = 3  # an episode's
ACTIONS = jnp.full((LANES, 4), 0.5)


def make(pixels, **options):
    return mw.make(TASKS, engine=KinematicEngine, max_episode_steps=STEPS, pixels=pixels, **options)


@pytest.fixture(scope="module")
def env():
    return make(mw.Pixels("corner2", SIZE, SIZE))


@pytest.fixture(scope="module")
def camera(env):
    return jax.jit(jax.vmap(mw.camera(env, "corner2", SIZE, SIZE)))


@pytest.fixture(scope="module")
def vector_env(env):
    return mw.VectorEnv(env, LANES, resample_task=False)


@pytest.fixture(scope="module")
def reset(vector_env):
    return jax.jit(vector_env.reset)


@pytest.fixture(scope="module")
def step(vector_env):
    return jax.jit(vector_env.step)


def test_pictures_stand_beside_the_state(env, camera, reset, step):
    state = reset(jax.random.key(0))
    assert (state.pixels.shape, state.pixels.dtype) == ((LANES, SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(state.pixels, camera(state))
    after, transition = step(state, ACTIONS)
    np.testing.assert_array_equal(transition.pixels, state.pixels)
    np.testing.assert_array_equal(after.pixels, camera(after))
    assert np.any(np.asarray(after.pixels) != np.asarray(state.pixels))


def test_a_lane_is_drawn_once_a_step_also_where_it_restarts(camera, reset, step, drawn):
    state = jax.block_until_ready(reset(jax.random.key(0)))
    for number in range(1, 2 * STEPS + 1):
        state, transition = jax.block_until_ready(step(state, ACTIONS))
        assert bool(transition.truncated.all()) == (number % STEPS == 0)
        assert drawn == [LANES] * (number + 1)
    np.testing.assert_array_equal(state.pixels, camera(state))  # of the new episode


def test_single_environments_are_drawn_by_reset_and_step(env, camera, drawn):
    state = jax.jit(env.reset_to)(0, jnp.asarray(mw.goals("reach-v3", 1)[0][0]))
    after = jax.jit(env.step)(state, ACTIONS[0])
    jax.block_until_ready(after)
    assert drawn == [1, 1]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *[state, after] * 2)
    np.testing.assert_array_equal(camera(batch), batch.pixels)


@pytest.mark.ci
def test_a_loop_of_ones_own_draws_after_its_restarts(env, camera, reset, step, drawn):
    @jax.jit
    def own_step(state, action):
        after = jax.vmap(env.blind.step)(state, action)
        assert after.pixels is None
        restarted = jax.vmap(lambda *args: restart(env, *args, resample_task=False))
        return restarted(after, after.truncated, jnp.arange(LANES))

    state = reset(jax.random.key(0))
    expected = step(state, ACTIONS)[0]
    jax.block_until_ready(expected)
    drawn.clear()
    found = jax.block_until_ready(own_step(state, ACTIONS))
    assert drawn == [LANES]
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.ci
def test_a_rollout_keeps_the_pictures_and_its_policy_sees_them(vector_env, camera, drawn):
    def policy(obs, pixels, key):
        assert pixels.shape == (LANES, SIZE, SIZE, 3)
        return jnp.full((LANES, 4), 0.5) * pixels.astype(jnp.float32).mean((1, 2, 3))[:, None] / 255

    run = jax.jit(lambda key: mw.rollout(vector_env, policy, key, STEPS + 1, sees=True))
    state, transitions = jax.block_until_ready(run(jax.random.key(0)))
    assert drawn == [LANES] * (STEPS + 2)
    assert transitions.pixels.shape == (STEPS + 1, LANES, SIZE, SIZE, 3)
    np.testing.assert_array_equal(state.pixels, camera(state))
    blind = mw.VectorEnv(vector_env.env.blind, LANES)
    with pytest.raises(ValueError, match=r"pixels=mw\.Pixels"):
        mw.rollout(blind, policy, jax.random.key(0), 1, sees=True)


def test_without_pixels_nothing_is_there(env, reset):
    assert env.blind.pixels is None
    state = jax.eval_shape(env.blind.reset, jax.random.key(0))
    assert state.pixels is None
    plain = mw.make(TASKS, engine=KinematicEngine)
    assert plain.blind is plain
    assert plain.draw(state) is state
    assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(reset(jax.random.key(0)))) - 1


def test_several_cameras_and_depth(env):
    pixels = mw.Pixels(["corner2", "gripperPOV"], SIZE, SIZE, depth=True)
    assert hash(pixels) == hash(mw.Pixels(("corner2", "gripperPOV"), SIZE, SIZE, depth=True))
    state = jax.eval_shape(make(pixels).reset, jax.random.key(0))
    assert state.pixels.color.shape == (2, SIZE, SIZE, 3)
    assert state.pixels.depth.shape == (2, SIZE, SIZE)


def test_ones_own_function_draws_what_it_will(env, reset):
    """Here a camera whose place every episode draws anew."""

    def shaken(env):
        draw = mw.camera(env, "corner2", SIZE, SIZE)

        def of_state(state):
            shift = 0.2 * jax.random.normal(jax.random.fold_in(jax.random.key(1), state.episode.next_key[0]), (3,))
            return draw(state, camera_pos=jnp.array([1.3, -0.2, 1.1]) + shift)

        return of_state

    found = jax.jit(jax.vmap(make(shaken).reset))(jax.random.split(jax.random.key(0), 2), jnp.zeros(2, int))
    assert np.mean(found.pixels[0] != found.pixels[1]) > 0.3


def test_copies_share_the_cameras(env):
    twin = pickle.loads(pickle.dumps(env))
    assert twin == env == copy.deepcopy(env)
    assert twin.step == env.step
    assert hash(twin) == hash(env)
    assert env.blind != env
    assert "pixels=Pixels(camera='corner2', width=16" in repr(env)
    assert "pixels" not in repr(env.blind)
    cameras = [value for place, value in env.engine.operations.items() if place[0] == "pixels"]
    assert len(cameras) == 1


def test_cameras_may_be_named_by_a_generator():
    pixels = mw.Pixels(name for name in ("corner2", "topview"))  # pyright: ignore[reportArgumentType]
    assert pixels == mw.Pixels(("corner2", "topview"))
    assert pixels.shapes.shape == (2, 64, 64, 3)


def test_bad_pixels_are_refused():
    with pytest.raises(TypeError, match=r"pixels must be mw\.Pixels.*got 64"):
        make(64)
    with pytest.raises(ValueError, match="no camera 'side'; available: topview"):
        mw.Pixels("side")
    with pytest.raises(TypeError, match="camera must be a name or a sequence of names, got 5"):
        mw.Pixels(5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="height must be an integer from 1 to 4096, got 0"):
        mw.Pixels(height=0)
    with pytest.raises(ValueError, match=r"camera_pos must have shape \(3,\), got \(2,\)"):
        mw.Pixels(camera_pos=(1.0, 2.0))
