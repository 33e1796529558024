"""A `randomization_fn` as users of brax and MuJoCo Playground write it, through brax's wrappers and agents."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics.engine import Engine

NUM_ENVS = 4

pytestmark = [
    pytest.mark.skipif(not find_spec("brax"), reason="brax is not installed"),
    pytest.mark.usefixtures("kinematic"),
]


def randomize(sys, rng):
    """Friction and the object's mass by lane, gravity the same for all."""

    @jax.vmap
    def draw(rng):
        key, mass_key = jax.random.split(rng)
        friction = sys.friction * jax.random.uniform(key, minval=0.5, maxval=1.5)
        return friction, jax.random.uniform(mass_key, minval=0.5, maxval=2.0)

    friction, mass = draw(rng)
    in_axes = none(sys).tree_replace({"friction": 0, "free_mass": 0})
    changes = {"friction": friction, "free_mass": mass, "gravity": sys.gravity.at[2].set(-5.0)}
    return sys.tree_replace(changes), in_axes


def none(sys):
    return jax.tree_util.tree_map(lambda x: None, sys)


def keys(seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.PRNGKey(seed), NUM_ENVS)


of_keys = functools.partial(randomize, rng=keys(7))  # as brax's agents hand it to a wrapper


@pytest.fixture(scope="module")
def adapter() -> ModuleType:
    from mjx_metaworld.adapters import brax

    return brax


@pytest.fixture(scope="module")
def env(kinematic, adapter):
    return adapter.BraxEnv(mw.make("push-v3"))


def test_each_lane_has_its_parameters_in_brax_own_wrappers(env):
    from brax.envs.wrappers import training

    wrapped = training.EvalWrapper(training.wrap(env, episode_length=3, randomization_fn=of_keys))
    before = jax.jit(wrapped.reset)(keys())
    system, _ = of_keys(env.sys)
    dynamics = before.pipeline_state.env.randomised.dynamics
    np.testing.assert_array_equal(dynamics.friction, system.friction)
    np.testing.assert_array_equal(dynamics.free_mass, system.free_mass)
    np.testing.assert_array_equal(dynamics.gravity, np.tile([0.0, 0.0, -5.0], (NUM_ENVS, 1)))
    assert dynamics.part_mass is dynamics.damping is dynamics.gain is None  # left as the scene has them
    after = jax.eval_shape(wrapped.step, before, jnp.zeros((NUM_ENVS, 4)))
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(before)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]
    assert after.obs.shape == (NUM_ENVS, env.observation_size)
    np.testing.assert_array_equal(env.sys.friction, 1.0)  # the environment itself is as it was
    assert jax.eval_shape(env.reset, keys()[0]).pipeline_state.env.randomised is None


@pytest.mark.full
def test_a_lane_keeps_them_in_its_next_episodes_and_terms_draw_the_rest(adapter):
    terms = (mw.randomise.friction(0.1, 0.2), mw.randomise.joint_damping(0.5, 2.0))
    randomised = adapter.BraxEnv(mw.make("push-v3", randomise=terms, privileged=True))

    def only_friction(sys):
        return sys.replace(friction=jnp.arange(1.0, 5.0)), none(sys).replace(friction=0)

    wrapped = adapter.wrap(randomised, episode_length=2, randomization_fn=only_friction)
    state = jax.jit(wrapped.reset)(keys())
    step, damping = jax.jit(wrapped.step), []
    for _ in range(3):
        drawn = state.pipeline_state.env.randomised
        np.testing.assert_array_equal(drawn.dynamics.friction, np.arange(1.0, 5.0))
        np.testing.assert_array_equal(state.obs[:, 39:], jax.vmap(mw.randomise.parameters)(drawn))
        damping.append(np.asarray(drawn.dynamics.damping))
        state = step(state, jnp.zeros((NUM_ENVS, 4)))
    np.testing.assert_array_equal(damping[0], damping[1])
    assert not np.any(damping[1][:, 0] == damping[2][:, 0])  # of the second episode
    model, _ = mw.to_mujoco(randomised.env, state.pipeline_state.env, 2)
    plain, _ = mw.to_mujoco(mw.make("push-v3"), mw.make("push-v3").reset(keys()[0]))
    np.testing.assert_allclose(model.geom_friction, 3.0 * plain.geom_friction)


def test_parameters_of_all_lanes_are_set_on_the_environment(adapter):
    moon = adapter.BraxEnv(mw.make("push-v3"))
    moon.sys = moon.sys.tree_replace({"gravity": jnp.array([0.0, 0.0, -1.62])})
    state = jax.eval_shape(moon.reset, keys()[0])
    assert state.pipeline_state.chosen == ("gravity",)
    moon.sys = moon.sys.tree_replace({"gain": jnp.full(2, 0.9)})
    with pytest.raises(ValueError, match=r"sys sets \('gravity', 'gain'\), where the state was reset \('gravity',\)"):
        jax.eval_shape(moon.step, state, jnp.zeros(4))


ALL = "a system has gravity, friction, free_mass, part_mass, damping, gain"
WRONG_NAMES = {
    "replaced": (lambda sys: sys.tree_replace({"frictoin": 1.0}), f"no 'frictoin' to randomize: {ALL}"),
    "read": (lambda sys: sys.geom_friction, f"no 'geom_friction' to randomize: in its place is friction; {ALL}"),
    "nested": (lambda sys: sys.replace(**{"opt.gravity": 0}), "no 'opt.gravity' to randomize: in its place is gravity"),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_names_that_do_not_exist_are_refused(env, case):
    change, message = WRONG_NAMES[case]
    with pytest.raises(AttributeError, match=message):
        change(env.sys)


WRONG_VALUES = {
    "axis": (lambda sys: (sys.replace(friction=jnp.ones(4)), none(sys)), r"friction must have shape \(\) .*\(4,\); "),
    "none": (lambda sys: (sys.replace(gain=None), none(sys)), "gain must have shape .* got None"),
    "type": (lambda sys: ({"friction": jnp.ones(4)}, {"friction": 0}), "must return the system that it was given"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_values_that_do_not_fit_are_refused(env, adapter, case):
    change, message = WRONG_VALUES[case]
    wrapped = adapter.wrap(env, randomization_fn=change)
    with pytest.raises((ValueError, TypeError), match=message):
        jax.eval_shape(wrapped.reset, keys())


def test_what_observations_cannot_show_is_refused(adapter):
    seeing = adapter.BraxEnv(mw.make("push-v3", randomise=mw.randomise.friction(1, 1), privileged=True))
    with pytest.raises(ValueError, match="would not show free_mass, gravity, which randomization_fn sets and no term"):
        jax.eval_shape(adapter.wrap(seeing, randomization_fn=of_keys).reset, keys())


@pytest.mark.full
@pytest.mark.parametrize("wrapper", ["ours", "brax"])
def test_agents_train_with_it(adapter, wrapper):
    from brax.training.agents.ppo import train as ppo

    seen = []
    _, _, metrics = ppo.train(
        adapter.BraxEnv(mw.make("push-v3")),
        wrap_env_fn=adapter.wrap if wrapper == "ours" else None,
        randomization_fn=lambda sys, rng: seen.append(rng.shape) or randomize(sys, rng),
        num_timesteps=256,
        episode_length=10,
        num_envs=8,
        num_eval_envs=4,
        num_evals=2,
        batch_size=8,
        num_minibatches=1,
        num_updates_per_batch=1,
        unroll_length=10,
    )
    assert seen == [(8, 2), (4, 2)]
    assert np.isfinite(metrics["eval/episode_reward"])


@pytest.mark.full
def test_lanes_step_as_with_terms_of_the_same_values(adapter):
    """In the engine itself, bit for bit: a push of the object, by brax's wrappers and by a term."""
    from brax.envs.wrappers import training

    system, _ = of_keys(adapter.system_of(mw.make("push-v3", engine=Engine)))

    def same(key, drawn, nominal):  # of lane 0: a term knows no lanes, the others are set in the state
        return drawn.replace(
            dynamics=mw.randomise.Dynamics(
                gravity=system.gravity, friction=system.friction[0], free_mass=system.free_mass[0]
            )
        )

    env = mw.make("push-v3", engine=Engine, randomise=[same])
    plain = mw.make("push-v3", engine=Engine)
    wrapped = training.wrap(adapter.BraxEnv(plain), episode_length=100, randomization_fn=of_keys)
    theirs = jax.jit(wrapped.reset)(keys())
    ours = jax.jit(jax.vmap(env.reset))(keys())
    dynamics = ours.randomised.dynamics.replace(friction=system.friction, free_mass=system.free_mass)
    assert dynamics.friction[0] == ours.randomised.dynamics.friction[0]
    ours = ours.replace(randomised=ours.randomised.replace(dynamics=dynamics))
    left = jax.jit(jax.vmap(plain.reset))(keys())
    expert = jax.vmap(mw.expert(env))
    steps = [jax.jit(x) for x in (jax.vmap(env.step), wrapped.step, jax.vmap(plain.step))]
    for _ in range(60):
        action = jnp.clip(expert(ours.obs, ours.task), -1.0, 1.0)
        ours, theirs, left = (step(state, action) for step, state in zip(steps, (ours, theirs, left), strict=True))
        chex.assert_trees_all_equal(theirs.pipeline_state.env, ours)
    assert np.abs(np.asarray(ours.physics.qpos - left.physics.qpos)).max(axis=1).min() > 1e-4  # they do matter
