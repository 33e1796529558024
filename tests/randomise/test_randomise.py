"""Parameters of an episode: drawn at resets alone, carried, applied, shown, and nothing without them."""

from __future__ import annotations

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.observation import GRIPPER, HAND, OBJECT, PREVIOUS_FRAME, SECOND_OBJECT
from mjx_metaworld.parity.reference import reference_env, start_reference
from mjx_metaworld.randomise.drawing import check_terms, draw_by_terms
from mjx_metaworld.randomise.signals import command
from mjx_metaworld.testing import KinematicEngine, state_from_metaworld

r = mw.randomise
PHYSICS = (
    r.friction(0.5, 1.5),
    r.object_mass(0.5, 2.0),
    r.joint_damping(0.5, 2.0),
    r.actuator_gain(0.8, 1.2),
    r.gravity(9.0, 10.5),
)
SIGNALS = (
    r.initial_joint_noise(-0.02, 0.02),
    r.action_delay(0, 3),
    r.action_noise(0.0, 0.1),
    r.action_repeat(1, 3),
    r.observation_noise(0.001, 0.01),
)
TASKS = ["reach-v3"]
ENVS = 4


@functools.cache
def vector_env(**options) -> mw.VectorEnv:
    env = mw.make(TASKS, engine=KinematicEngine, max_episode_steps=3, **options)
    return mw.VectorEnv(env, ENVS, resample_task=False)


@functools.cache
def programs(**options):
    vector = vector_env(**options)
    return jax.jit(vector.reset), jax.jit(vector.step)


ALL = {"randomise": PHYSICS + SIGNALS}


def start(**options) -> mw.State:
    return programs(**options)[0](jax.random.key(0))


def test_a_reset_draws_by_its_key_alone():
    first, again, other = (programs(**ALL)[0](jax.random.key(seed)) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    dynamics = first.randomised.dynamics
    for leaf, bounds in (
        (dynamics.friction, (0.5, 1.5)),
        (dynamics.free_mass, (0.5, 2.0)),
        (dynamics.gain, (0.8, 1.2)),
    ):
        assert np.all((leaf >= bounds[0]) & (leaf <= bounds[1]))
        assert len(np.unique(leaf)) == np.size(leaf)
    assert np.all((dynamics.gravity[:, 2] <= -9.0) & (dynamics.gravity[:, 2] >= -10.5))
    assert not np.array_equal(dynamics.friction, other.randomised.dynamics.friction)


def test_an_episode_keeps_its_parameters_and_a_restart_draws_them_anew():
    state, action = start(**ALL), jnp.full((ENVS, 4), 0.5)
    drawn = [state.randomised.dynamics]
    for _ in range(3):
        state, _ = programs(**ALL)[1](state, action)
        drawn.append(state.randomised.dynamics)
    chex.assert_trees_all_equal(drawn[0], drawn[1], drawn[2])
    assert not np.any(np.asarray(drawn[3].friction) == drawn[2].friction)
    assert not np.any(state.randomised.action_delay.pending)


def test_without_it_a_state_has_no_such_leaves():
    plain, randomised = start(), start(**ALL)
    assert plain.randomised is None
    chex.assert_trees_all_equal(plain.episode.rand_vec, randomised.episode.rand_vec)  # goals are drawn as before
    chex.assert_trees_all_equal(plain.episode.next_key, randomised.episode.next_key)


def test_a_state_of_another_kind_of_environment_is_refused():
    action = jnp.zeros((ENVS, 4))
    with pytest.raises(ValueError, match="the state has no parameters"):
        programs(**ALL)[1](start(), action)
    with pytest.raises(ValueError, match="the state has parameters"):
        programs()[1](start(**ALL), action)


# --- actions ---


def robot_actions(terms, actions: np.ndarray) -> np.ndarray:
    """The actions (n, 4) that reach the robot."""

    @jax.jit
    def run(actions: jax.Array) -> jax.Array:
        drawn = draw_by_terms(check_terms(terms), jax.random.key(3), vector_env().env.nominal(jnp.int32(0)))
        return jax.lax.scan(lambda now, x: command(now, *x), drawn, (actions, jnp.arange(len(actions))))[1]

    return np.asarray(run(jnp.asarray(actions, jnp.float32)))


ACTIONS = np.linspace(-0.9, 0.9, 24).reshape(6, 4).astype(np.float32)


def test_an_action_comes_late():
    found = robot_actions(r.action_delay(2, 2), ACTIONS)
    np.testing.assert_array_equal(found, np.concatenate([np.zeros((2, 4)), ACTIONS[:-2]]))
    np.testing.assert_array_equal(robot_actions(r.action_delay(0, 0), ACTIONS), ACTIONS)


def test_an_action_is_held():
    np.testing.assert_array_equal(robot_actions(r.action_repeat(3, 3), ACTIONS), ACTIONS[[0, 0, 0, 3, 3, 3]])


def test_an_action_is_held_then_late():
    found = robot_actions([r.action_delay(1, 1), r.action_repeat(2, 2)], ACTIONS)
    np.testing.assert_array_equal(found[1:], ACTIONS[[0, 0, 2, 2, 4]])


def test_an_action_is_noisy_in_every_step_anew():
    noise = robot_actions(r.action_noise(0.1, 0.1), np.zeros((200, 4)))
    assert 0.08 < noise.std() < 0.12
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.2


def test_the_robot_moves_by_the_action_that_reached_it():
    env = vector_env(randomise=r.action_delay(1, 1)).env
    state = jax.jit(env.reset)(jax.random.key(0))
    step = jax.jit(env.step)
    once = step(state, jnp.array([1.0, 0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(once.physics.mocap_pos, state.physics.mocap_pos)
    assert step(once, jnp.zeros(4)).physics.mocap_pos[0] > state.physics.mocap_pos[0]


# --- observations ---


@pytest.mark.ci
def test_observed_positions_are_noisy_and_rewards_are_not():
    options = {"randomise": r.observation_noise(0.01, 0.01)}
    plain, noisy, action = start(), start(**options), jnp.full((ENVS, 4), 0.5)
    for _ in range(2):
        before = noisy.obs
        (plain, _), (noisy, _) = programs()[1](plain, action), programs(**options)[1](noisy, action)
        np.testing.assert_allclose(noisy.reward, plain.reward, rtol=1e-5)
        np.testing.assert_array_equal(noisy.obs[:, PREVIOUS_FRAME], before[:, :18])
    difference = np.abs(np.asarray(noisy.obs - plain.obs))[:, :18]
    entries = np.arange(18)
    is_noisy = np.isin(entries, [*entries[HAND], *entries[OBJECT]])
    assert np.all(difference[:, is_noisy].max(0) > 1e-4)
    assert not difference[:, [GRIPPER, *entries[SECOND_OBJECT]]].any()
    assert difference.max() < 0.06


@pytest.mark.ci
def test_privileged_observations_show_the_parameters():
    options = ALL | {"privileged": True, "one_hot": True}
    state, env = start(**options), vector_env(**options).env
    values = np.asarray(jax.vmap(r.parameters)(state.randomised))
    assert env.observation_size == 39 + values.shape[1] + 1 == state.obs.shape[1]
    np.testing.assert_array_equal(state.obs[:, 39:-1], values)
    np.testing.assert_array_equal(state.obs[:, -1], 1.0)
    assert env.observation_space.contains(np.asarray(state.obs[0]))
    after, _ = programs(**options)[1](state, jnp.zeros((ENVS, 4)))
    np.testing.assert_array_equal(after.obs[:, 39:-1], values)


def test_an_arm_begins_elsewhere_and_is_observed_there():
    options = {"randomise": r.initial_joint_noise(-0.02, 0.02)}
    plain, moved = start(), start(**options)
    shift = np.asarray(moved.physics.qpos - plain.physics.qpos)
    np.testing.assert_allclose(shift[:, :7], np.asarray(moved.randomised.joint_offset), atol=1e-6)
    assert not shift[:, 7:].any()
    distance = np.linalg.norm(np.asarray(moved.obs - plain.obs)[:, HAND], axis=1)
    assert np.all((distance > 1e-4) & (distance < 0.06))
    assert not np.allclose(moved.episode.tcp_init, plain.episode.tcp_init, atol=1e-4)


# --- terms of one's own ---


def heavy_and_slippery(key, drawn, nominal):
    mass = jax.random.uniform(key, (), minval=0.5, maxval=1.0)  # kg, in all scenes that have a free body
    factor = mass / jnp.where(nominal.free_mass > 0, nominal.free_mass, 1.0)
    dynamics = drawn.dynamics.replace(free_mass=factor, friction=1.0 / factor)
    return drawn.replace(dynamics=dynamics, own={"mass": mass, "task": nominal.task})


def test_a_term_of_ones_own_sees_the_scene():
    env = mw.make(["reach-v3", "door-lock-v3"], engine=KinematicEngine, randomise=[heavy_and_slippery])
    state = jax.jit(env.reset)(jax.random.key(0), 0)
    drawn, nominal = state.randomised, env.nominal(0)
    np.testing.assert_allclose(drawn.dynamics.free_mass * nominal.free_mass, drawn.own["mass"], rtol=1e-6)
    np.testing.assert_allclose(nominal.gravity, [0.0, 0.0, -9.81], rtol=1e-6)
    assert env.nominal(1).free_mass == 0.0
    assert env.nominal(1).part_mass > 0.0
    assert env.identity() is None


def test_terms_multiply():
    terms = (r.friction(2.0, 2.0), r.friction(3.0, 3.0))
    drawn = draw_by_terms(terms, jax.random.key(0), vector_env().env.nominal(jnp.int32(0)))
    assert drawn.dynamics.friction == 6.0


ALONE = {
    "gravity": r.gravity(9.0, 10.0),
    "action_repeat": r.action_repeat(1, 2),
    "action_delay": r.action_delay(0, 2),
    "action_noise": r.action_noise(0.0, 0.1),
    "observation_noise": r.observation_noise(0.0, 0.1),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_term_that_takes_anothers_place_is_refused(name):
    term = ALONE[name]
    with pytest.raises(ValueError, match=f"one term {name}, .*{name}.*{name}"):
        mw.make("reach-v3", engine=KinematicEngine, randomise=[term, r.friction(0.5, 1.5), term])


def test_of_every_other_parameter_there_may_be_several_terms():
    terms = (*PHYSICS[:4], r.initial_joint_noise(-0.01, 0.01))
    assert check_terms(terms * 2) == terms * 2


BAD = {
    "finite": (lambda: r.friction(0.5, float("inf")), ValueError, "friction takes finite numbers, got high=inf"),
    "order": (lambda: r.friction(2.0, 1.0), ValueError, "low <= high, got low=2, high=1"),
    "sign": (lambda: r.friction(-1.0, 1.0), ValueError, "friction must be at least 0, got low=-1"),
    "mass": (lambda: r.object_mass(0.0, 1.0), ValueError, "object_mass must be above 0, got low=0"),
    "large": (lambda: r.friction(0, 1e39), ValueError, "friction must be at most 3.40282e+38, got high=1e+39"),
    "small": (lambda: r.object_mass(1e-50, 1), ValueError, "must be at least 1.17549e-38 in float32, got low=1e-50"),
    "offset": (lambda: r.initial_joint_noise(0, 100), ValueError, "must be at most 3.14159, got high=100"),
    "steps": (lambda: r.action_repeat(1, 2**31 - 1), ValueError, "high must be an integer from 1 to 2147483646"),
    "integer": (lambda: r.action_delay(0.5, 1), ValueError, "action_delay's low must be an integer >= 0, got 0.5"),
    "repeat": (lambda: r.action_repeat(0, 1), ValueError, "action_repeat's low must be a positive integer, got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_ranges_are_refused(case):
    make, error, message = BAD[case]
    with pytest.raises(error, match=re.escape(message)):
        make()


BAD_TERMS = {
    "no function": (["friction"], TypeError, "takes terms such as .* got 'friction'"),
    "unhashable": ([type("T", (), {"__call__": print, "__hash__": None})()], TypeError, "must be hashable"),
    "result": ([lambda key, drawn, nominal: None], TypeError, "must return mw.randomise.Randomised, got NoneType"),
    "shape": (
        [lambda key, drawn, nominal: drawn.replace(dynamics=drawn.dynamics.replace(friction=jnp.ones(2)))],
        TypeError,
        r"friction must have shape \(\), got \(2,\)",
    ),
    "complex": (
        [lambda key, drawn, nominal: drawn.replace(dynamics=drawn.dynamics.replace(friction=jnp.ones(()) * 1j))],
        TypeError,
        "randomised friction must be real numbers, got complex64",
    ),
    "text": (
        [lambda key, drawn, nominal: drawn.replace(joint_offset="none")],
        TypeError,
        "randomised joint_offset must be real numbers, got 'none'",
    ),
    "own": (
        [lambda key, drawn, nominal: drawn.replace(own={"x": jnp.ones(2) * 1j})],
        TypeError,
        r"randomised own\['x'\] must be real numbers, got complex64",
    ),
    "struct": (
        [lambda key, drawn, nominal: drawn.replace(action_repeat=2)],
        TypeError,
        "randomised action_repeat must be Repeat or None, got int",
    ),
}


@pytest.mark.parametrize("case", BAD_TERMS)
def test_bad_terms_are_refused_when_an_environment_is_made(case):
    terms, error, message = BAD_TERMS[case]
    with pytest.raises(error, match=message):
        mw.make("reach-v3", engine=KinematicEngine, randomise=terms)


@pytest.mark.parametrize("gravity", [[0, 0, -9], np.array([0, 0, -9]), (False, False, True)])
def test_parameters_of_ones_own_are_floats(gravity):
    term = lambda key, drawn, nominal: drawn.replace(dynamics=drawn.dynamics.replace(gravity=gravity))  # noqa: E731
    drawn = draw_by_terms([term], jax.random.key(0), vector_env().env.nominal(jnp.int32(0)))
    chex.assert_trees_all_equal(drawn.dynamics.gravity, jnp.asarray(gravity, float))


def test_privileged_without_parameters_is_refused():
    with pytest.raises(ValueError, match="privileged observations show what is randomised"):
        mw.make("reach-v3", engine=KinematicEngine, privileged=True)


# --- around ---


def test_environments_know_what_they_randomise():
    options = {"engine": KinematicEngine}
    env, other = (mw.make("reach-v3", randomise=r.friction(0.5, high), **options) for high in (1.5, 1.6))
    assert env != other
    assert "randomise=(friction(0.5, 1.5),), privileged=False" in repr(env)
    assert "randomise" not in repr(mw.make("reach-v3", **options))


def test_a_lane_goes_to_mujoco_with_its_parameters():
    state, env = start(**ALL), vector_env(**ALL).env
    plain, _ = mw.to_mujoco(vector_env().env, start())
    for lane in range(2):
        model, data = mw.to_mujoco(env, state, lane)
        dynamics = jax.tree.map(lambda x, lane=lane: np.asarray(x[lane], float), state.randomised.dynamics)
        np.testing.assert_allclose(model.opt.gravity, dynamics.gravity)
        reference, _ = mw.to_mujoco(vector_env().env, start(), lane)
        np.testing.assert_allclose(model.geom_friction, dynamics.friction * reference.geom_friction)
        np.testing.assert_allclose(model.actuator_gainprm[:, 0], dynamics.gain * reference.actuator_gainprm[:, 0])
        assert np.all(np.isfinite(data.qacc))
    assert plain.opt.gravity[2] == -9.81


def test_parameters_can_be_chosen():
    env, state = vector_env(**ALL).env, start(**ALL)
    dynamics = state.randomised.dynamics.replace(gravity=jnp.zeros((ENVS, 3)))
    chosen = state.replace(randomised=state.randomised.replace(dynamics=dynamics))
    model, _ = mw.to_mujoco(env, chosen)
    assert not model.opt.gravity.any()


def test_a_state_of_the_reference_has_parameters_without_effect():
    env = mw.make("reach-v3", engine=KinematicEngine, **(ALL | {"privileged": True}))
    cpu_env = reference_env("reach-v3")
    start_reference(cpu_env, "reach-v3", mw.goals("reach-v3", 1)[0][0])
    state = state_from_metaworld(env, 0, cpu_env)
    dynamics = state.randomised.dynamics
    np.testing.assert_allclose(dynamics.gravity, [0.0, 0.0, -9.81], rtol=1e-6)
    for leaf in (dynamics.friction, dynamics.free_mass, dynamics.damping, state.randomised.action_repeat.steps):
        np.testing.assert_array_equal(leaf, 1)
    assert not np.any(state.randomised.observation_noise.scale)
    assert state.obs.shape == (env.observation_size,)
    cpu_env.close()


@pytest.mark.ci
def test_a_policy_carries_its_own_and_knows_its_tasks():
    vector = vector_env()

    def policy(state, count, key):
        return jax.random.uniform(key, (ENVS, 4)), count + 1, {"count": count, "task": state.task}

    out = jax.jit(lambda key: mw.rollout(vector, policy, key, 4, carry=jnp.int32(5)))(jax.random.key(0))
    assert out.carry == 9
    np.testing.assert_array_equal(out.extras["count"], [5, 6, 7, 8])
    np.testing.assert_array_equal(out.extras["task"], out.transitions.task)
    state, transitions = mw.rollout(vector, lambda obs, key: jax.random.uniform(key, (ENVS, 4)), jax.random.key(0), 4)
    chex.assert_trees_all_close(out.transitions, transitions, atol=1e-5)
    chex.assert_trees_all_equal(out.state.task, state.task)
