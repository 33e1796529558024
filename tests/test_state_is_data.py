"""States are arrays of numbers: saved, restored, compared and donated by whatever handles these."""

import io
import pickle

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import mjx_metaworld as mw
from mjx_metaworld import randomise as r
from mjx_metaworld.rendering.camera import Views
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.vector import reset_to_goals

ENVS = 4
TASKS = ["reach-v3", "door-lock-v3"]  # without points, which a state keeps; one that settles against its prop


@pytest.fixture(scope="module")
def vector_env():
    return mw.VectorEnv(mw.make(TASKS, engine=KinematicEngine, max_episode_steps=3), ENVS)


@pytest.fixture(scope="module")
def step(vector_env):
    return mw.jit(vector_env.step)


@pytest.fixture(scope="module")
def state(vector_env, step):
    return step(mw.jit(vector_env.reset)(jax.random.key(0)), jnp.full((ENVS, 4), 0.5))[0]


def through_npz(state, folder):
    file = io.BytesIO()
    np.savez(file, *jax.tree.leaves(state))
    file.seek(0)
    with np.load(file) as arrays:
        return jax.tree.unflatten(jax.tree.structure(state), [arrays[name] for name in arrays.files])


def through_flax(state, folder):
    template = jax.tree.map(jnp.zeros_like, state)
    return flax.serialization.from_bytes(template, flax.serialization.to_bytes(state))


def through_orbax(state, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state", jax.eval_shape(lambda: state))


def through_pickle(state, folder):
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("way", [through_npz, through_flax, through_orbax, through_pickle])
def test_a_state_is_saved_and_restored_bit_for_bit(way, state, step, tmp_path):
    found = way(state, tmp_path)
    chex.assert_trees_all_equal(found, state)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert [np.asarray(x).dtype for x in jax.tree.leaves(found)] == [x.dtype for x in jax.tree.leaves(state)]
    for _ in range(4):  # beyond the end of the episode, which the key then follows
        (state, _), (found, _) = step(state, jnp.zeros((ENVS, 4))), step(found, jnp.zeros((ENVS, 4)))
    chex.assert_trees_all_equal(found, state)


def test_a_state_without_points_is_saved_too(tmp_path):
    state = jax.jit(mw.make("reach-v3", engine=KinematicEngine).reset)(jax.random.key(0))
    chex.assert_trees_all_equal(through_orbax(state, tmp_path), state)


@pytest.mark.ci
def test_a_state_goes_on_among_more_lanes(vector_env, state, step):
    """And among fewer: lanes are rows, and a lane's number only tells apart those with the same key."""
    more = jax.tree.map(lambda x: jnp.concatenate([x, x]), jax.tree.map(np.asarray, state))
    wide = mw.VectorEnv(vector_env.env, 2 * ENVS)
    found, _ = mw.jit(wide.step)(more, jnp.zeros((2 * ENVS, 4)))
    expected, _ = step(state, jnp.zeros((ENVS, 4)))
    half = jax.tree.map(lambda x: x[:ENVS], found)
    for mine, theirs in zip(jax.tree.leaves(half), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


# --- keys ---


@pytest.fixture(scope="module")
def reach():
    """Without a prop to settle against, which keys have no part in."""
    return mw.VectorEnv(mw.make("reach-v3", engine=KinematicEngine, max_episode_steps=3), ENVS)


@pytest.mark.ci
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_a_key_of_any_generator_is_kept_and_followed(impl, reach):
    check_keys_are_kept_and_followed(reach, impl)


@pytest.mark.full
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_a_key_of_any_generator_is_kept_and_followed_by_several_tasks(impl, vector_env):
    check_keys_are_kept_and_followed(vector_env, impl)


def check_keys_are_kept_and_followed(vector_env, impl):
    key = jax.random.key(3, impl=impl)
    state = vector_env.reset(key)
    assert state.episode.key_impl == impl
    assert state.episode.next_key.dtype == jnp.uint32
    again = through_npz(state, None)
    done = jnp.ones(ENVS, bool)
    first, second = vector_env.restart(state, done), vector_env.restart(again, done)
    chex.assert_trees_all_equal(first, second)
    assert not np.array_equal(first.episode.rand_vec, state.episode.rand_vec)
    assert first.episode.key_impl == impl


@pytest.mark.ci
def test_raw_and_typed_keys_are_the_same(reach):
    check_raw_and_typed_keys(reach, 0)


@pytest.mark.full
def test_raw_and_typed_keys_are_the_same_to_several_tasks(vector_env):
    check_raw_and_typed_keys(vector_env, 1)


def check_raw_and_typed_keys(vector_env, task):
    env, raw, typed = vector_env.env, jax.random.PRNGKey(5), jax.random.key(5)
    goal = jnp.asarray(mw.goals(TASKS[task], 1)[0][0])
    goal = jnp.pad(goal, (0, env.rand_vec_size - len(goal)))
    for make in (
        jax.jit(env.reset),
        vector_env.reset,
        lambda key: env.reset_to(task, goal, key),
        lambda key: mw.rollout(vector_env, lambda obs, key: jax.random.uniform(key, (ENVS, 4)), key, 2),
    ):
        chex.assert_trees_all_equal(make(raw), make(typed))
    state = vector_env.reset(typed)
    wrapped = state.episode.replace(next_key=jax.random.wrap_key_data(state.episode.next_key))
    done = jnp.ones(ENVS, bool)
    restarted = vector_env.restart(state.replace(episode=wrapped), done)
    chex.assert_trees_all_equal(restarted, vector_env.restart(state, done))


@pytest.mark.parametrize("key", [3, "3", jnp.zeros(2), None])
def test_what_is_no_key_is_refused(key, vector_env):
    with pytest.raises(TypeError, match=r"key must be a random key, as jax\.random\.key\(0\)"):
        vector_env.env.reset(key)


# --- donation ---

KEYS = jax.random.split(jax.random.key(0), ENVS)
MAKERS = {
    "reset": lambda env: env.reset(KEYS[0]),
    "reset with a task": lambda env: env.reset(KEYS[0], jnp.int32(len(env.tasks) - 1)),
    "vmap of reset": lambda env: jax.vmap(env.reset)(KEYS, jnp.zeros(ENVS, jnp.int32)),
    "jit of reset": lambda env: jax.jit(env.reset)(KEYS[0]),
    "reset_to": lambda env: env.reset_to(jnp.int32(0), jnp.zeros(env.rand_vec_size), KEYS[0]),
    "vmap of reset_to": lambda env: jax.vmap(env.reset_to)(
        jnp.zeros(ENVS, jnp.int32), jnp.zeros((ENVS, env.rand_vec_size))
    ),
    "reset_to_goals": lambda env: reset_to_goals(env, [mw.goals(spec.name, 1)[0][:2] for spec in env.tasks]),
    "step": lambda env: env.step(env.reset(KEYS[0]), jnp.zeros(4)),
    "VectorEnv.reset": lambda env: mw.VectorEnv(env, ENVS).reset(KEYS[0]),
    "VectorEnv.restart": lambda env: mw.VectorEnv(env, ENVS).restart(jax.vmap(env.reset)(KEYS), jnp.ones(ENVS, bool)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_made_can_be_donated(maker, reach):
    assert_donatable(MAKERS[maker](reach.env))
    assert not any(key.is_deleted() for key in KEYS)


@pytest.mark.full
@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_made_of_several_tasks_can_be_donated(maker, vector_env):
    assert_donatable(MAKERS[maker](vector_env.env))


def assert_donatable(state):
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)
    changed = jax.jit(
        lambda tree: jax.tree.map(lambda x: x ^ True if x.dtype == bool else x + 1, tree), donate_argnums=0
    )
    jax.block_until_ready(changed(state))
    assert all(x.is_deleted() for x in jax.tree.leaves(state))


def test_what_a_reset_was_given_is_not_donated_with_it(reach):
    env = reach.env
    given = (jnp.int32(0), jnp.full(env.rand_vec_size, 0.1), jax.random.PRNGKey(1))
    assert_donatable(env.reset_to(*given))
    assert not any(x.is_deleted() for x in given)


def test_a_function_of_states_is_exported_to_a_file():
    """With all that a state may hold; read again, it takes and gives the same structs."""
    signals = (r.action_delay(0, 2), r.action_noise(0.0, 0.1), r.action_repeat(1, 2), r.observation_noise(0.0, 0.01))
    terms = (r.friction(0.5, 1.5), *signals)
    lanes = mw.VectorEnv(mw.make("reach-v3", engine=KinematicEngine, randomise=terms), 2)
    trials = jax.eval_shape(lambda key: mw.begin_trials(lanes, key), jax.random.key(0))
    _, transition = jax.eval_shape(lanes.step, trials.state, jnp.zeros((2, 4)))
    given = (trials, transition, Views(jnp.zeros(3, jnp.uint8), jnp.zeros(2), jnp.zeros(2, jnp.int32)))
    file = jax.export.export(jax.jit(lambda *structs: structs))(*given).serialize()
    read = jax.export.deserialize(file)
    assert read.out_tree == jax.tree.structure(given)
    assert read.in_tree == jax.tree.structure((given, {}))
