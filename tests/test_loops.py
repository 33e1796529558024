"""Other people's loops around the environment: any transformation of JAX reaches the same batch."""

import copy
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import NamedSharding, PartitionSpec

import mjx_metaworld as mw
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.physics.operation import batched
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.vector import restart

ENVS = 4


@pytest.fixture(scope="module")
def env():
    return mw.make("reach-v3", engine=KinematicEngine)


@pytest.fixture(scope="module")
def state(env):
    return mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), ENVS))


@pytest.fixture(scope="module")
def step(env):
    return mw.jit(jax.vmap(env.step))


ACTIONS = jnp.full((ENVS, 4), 0.5)


@pytest.mark.ci
def test_a_compiled_step_runs_inside_every_transformation(env, state, step):
    alone = step(state, ACTIONS).obs
    mesh = jax.make_mesh((1,), ("x",))
    lanes = NamedSharding(mesh, PartitionSpec("x"))
    one = mw.jit(env.step)
    inside = {
        "jit": jax.jit(step)(state, ACTIONS),
        "scan": jax.lax.scan(lambda s, a: (step(s, a), None), state, ACTIONS[None])[0],
        "vmap": jax.vmap(one)(state, ACTIONS),
        "checkify": checkify.checkify(jax.jit(step))(state, ACTIONS)[1],
        "shard_map": jax.jit(jax.shard_map(step, mesh=mesh, in_specs=PartitionSpec("x"), out_specs=PartitionSpec("x")))(
            *jax.device_put((state, ACTIONS), lanes)
        ),
    }
    for name, found in inside.items():
        np.testing.assert_allclose(found.obs, alone, atol=1e-6, err_msg=name)
    slope = jax.grad(lambda a: step(state, a).obs[:, :3].sum())(ACTIONS)
    np.testing.assert_allclose(slope[:, :3], 0.01, rtol=1e-4)  # a unit of action is a centimetre


def test_a_compiled_function_is_compiled_once(state, step):
    step(state, ACTIONS)
    before = step._cache_size()
    step(state, ACTIONS)
    assert step._cache_size() == before


@pytest.mark.ci
@pytest.mark.parametrize("transform", ["restart", "true step"])
def test_a_second_vmap_lowers_to_the_same_loops(transform, env, state):
    """Loops and branches stay what they are, where a second `vmap` used to turn them into selections."""
    if transform == "restart":
        fn, args = lambda s, done: restart(env, s, done), (state, jnp.zeros(ENVS, bool))
    else:
        # Of the kinds of pairs those whose loops end early, which is half of the step's time to lower.
        few = PhysicsConfig(sphere_pairs=0, capsule_pairs=0, box_pairs=0, cylinder_box_pairs=0)
        fn, args = mw.make("reach-v3", physics=few).step, (state, ACTIONS)
    nested = jax.tree.map(lambda x: x.reshape(2, ENVS // 2, *x.shape[1:]), args)
    flat, twice = (jax.jit(f).lower(*a).as_text() for f, a in ((jax.vmap(fn), args), (jax.vmap(jax.vmap(fn)), nested)))
    for operation in ("stablehlo.while", "stablehlo.case", "stablehlo.sort"):
        assert flat.count(operation) == twice.count(operation), operation
    assert flat.count("stablehlo.while") > 0


def test_only_ended_episodes_restart_and_all_of_them(env):
    """More than restart at a time; keys, goals and observations are those of `reset`."""
    size = 50
    reset, lane = jax.jit(jax.vmap(env.reset)), jnp.arange(size)
    restarted = jax.jit(jax.vmap(lambda s, d, i: restart(env, s, d, i)))
    state = reset(jax.random.split(jax.random.key(1), size))
    fresh = reset(jax.vmap(lambda key, i: jax.random.fold_in(key, 1 + i))(state.episode.next_key, lane))
    for ended in (np.zeros(size, bool), np.arange(size) % 7 == 3, np.ones(size, bool)):
        found = restarted(state, jnp.asarray(ended), lane)
        for name in ("obs", "task", "reward"):
            expected = np.where(
                ended.reshape(-1, *[1] * (getattr(fresh, name).ndim - 1)), getattr(fresh, name), getattr(state, name)
            )
            np.testing.assert_array_equal(getattr(found, name), expected)
        differ = found.episode.next_key != state.episode.next_key
        np.testing.assert_array_equal(np.asarray(differ).any(axis=1), ended)


def test_a_new_episode_has_no_slope_from_the_old_one(env, state):
    done = jnp.array([True, False, True, False])
    each = jax.vmap(lambda s, d: restart(env, s, d))
    slope = jax.jit(jax.grad(lambda obs: each(state.replace(obs=obs), done).obs.sum()))(state.obs)
    np.testing.assert_array_equal(slope, np.where(done, 0.0, 1.0)[:, None] * np.ones_like(state.obs))


@pytest.mark.ci
def test_lanes_that_start_at_one_goal_part_ways():
    env = mw.make("reach-v3", max_episode_steps=2, engine=KinematicEngine)
    goal = jnp.asarray(mw.goals("reach-v3", 1)[0][0], jnp.float32)
    vector_env = mw.VectorEnv(env, 8)
    state, step = jax.jit(jax.vmap(lambda _: env.reset_to(0, goal)))(jnp.arange(8)), mw.jit(vector_env.step)
    for _ in range(3):
        state, _ = step(state, jnp.zeros((8, 4)))
    assert len(np.unique(np.asarray(state.episode.rand_vec), axis=0)) == 8


@pytest.mark.ci
def test_seeds_of_a_vector_env_under_vmap_are_vector_envs(env):
    vector_env = mw.VectorEnv(env, ENVS)
    stacked = jax.jit(jax.vmap(vector_env.reset))(jax.random.split(jax.random.key(0)))
    both = jax.jit(jax.vmap(vector_env.step))(stacked, jnp.stack([ACTIONS, ACTIONS]))[1]
    step = jax.jit(vector_env.step)
    for seed in (0, 1):
        alone = step(jax.tree.map(lambda x, seed=seed: x[seed], stacked), ACTIONS)[1]
        np.testing.assert_allclose(both.next_obs[seed], alone.next_obs, atol=1e-6)


def test_an_operation_is_the_same_under_any_number_of_vmaps():
    """The mean of the whole batch shows what an operation sees."""
    operation = batched("less the mean", lambda x: x - x.mean(0), of_one=lambda x: x)
    x = jnp.arange(24.0).reshape(2, 4, 3)
    expected = x - x.reshape(8, 3).mean(0)
    np.testing.assert_allclose(jax.vmap(jax.vmap(operation))(x), expected)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(operation), in_axes=1, out_axes=1))(x), expected)
    np.testing.assert_array_equal(operation(x[0, 0]), x[0, 0])
    scanned = jax.lax.scan(lambda c, _: (jax.vmap(jax.vmap(operation))(c), None), x, None, length=2)[0]
    np.testing.assert_allclose(scanned, expected, atol=1e-6)


@pytest.mark.ci
def test_an_environment_is_freed_with_its_last_user():
    env = mw.make("reach-v3", engine=KinematicEngine)
    state = jax.jit(env.reset)(jax.random.key(0))
    restart(env, state, jnp.array(True))
    jax.jit(lambda s: restart(env, s, jnp.array(True)))(state)
    gone = weakref.ref(env)
    del env
    gc.collect()
    assert gone() is None


def test_a_copy_restarts_itself(state):
    env = mw.make("reach-v3", engine=KinematicEngine)
    one = jax.tree.map(lambda x: x[0], state)
    restart(env, one, jnp.array(True))
    twin = copy.copy(env)
    del env
    gc.collect()
    assert restart(twin, one, jnp.array(True)).obs.shape == (39,)


def test_what_has_no_derivative_says_so():
    operation = batched("the engine", lambda x: x + 1)
    with pytest.raises(NotImplementedError, match=r"'the engine' has no derivative here.*gradients"):
        jax.grad(operation)(1.0)


@pytest.mark.ci
@pytest.mark.parametrize("engine", [KinematicEngine, Engine])
def test_gradients_go_through_a_divided_batch(engine):
    """Traced alone: two steps with a restart between, on the devices at hand, under JAX's check of what varies."""
    vector_env = mw.VectorEnv(mw.make("reach-v3", engine=engine), 2, devices=jax.devices()[:1])
    state = jax.eval_shape(vector_env.reset, jax.random.key(0))

    def loss(action, state):
        for _ in range(2):
            state, _ = vector_env.step(state, action)
        return state.obs.sum()

    assert jax.eval_shape(jax.grad(loss), jnp.zeros((2, 4)), state).shape == (2, 4)
