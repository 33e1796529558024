"""Injecting a live reference environment's state, and exporting a state to the original scene."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.parity.record import rollout
from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference
from mjx_metaworld.rendering.to_mujoco import to_mujoco
from mjx_metaworld.suites import goals
from mjx_metaworld.testing import state_from_metaworld

TASKS = ("pick-place-v3", "drawer-open-v3", "peg-insert-side-v3")


@pytest.fixture(scope="module")
def env():
    return mw.make(list(TASKS))


def live(name: str, steps: int):
    """A reference environment some expert steps into an episode, and its last observation."""
    cpu_env, policy = reference_env(name), reference_policy(name).get_action
    obs = start_reference(cpu_env, name, goals(name, seed=2)[0][0])
    for turn in rollout(cpu_env, obs, policy, style="expert", num_steps=steps):
        obs = turn.take().obs
    return cpu_env, obs


@pytest.mark.parametrize("steps", [0, 40])
@pytest.mark.parametrize("name", TASKS)
def test_export_of_an_injected_state_is_the_live_simulation(env, name, steps):
    cpu_env, obs = live(name, steps)
    mujoco.mj_forward(cpu_env.model, cpu_env.data)  # some of the reference's resets leave positions stale
    state = state_from_metaworld(env, TASKS.index(name), cpu_env)
    np.testing.assert_allclose(state.obs, obs, atol=1e-7)  # float32 rounding of coordinates below 1
    assert int(state.episode.step) == steps
    _, data = to_mujoco(env, state)
    # Rounding qpos to float32 moves a body at the end of the arm by up to 1e-6; contacts take no part in positions.
    np.testing.assert_allclose(data.xpos[1:], cpu_env.data.xpos[1:], atol=2e-6)
    np.testing.assert_allclose(data.mocap_pos, cpu_env.data.mocap_pos, atol=1e-7)
    goal = cpu_env._target_pos
    assert goal is not None
    np.testing.assert_allclose(data.site("goal").xpos, goal, atol=1e-6)


def test_injection_is_lossless_in_float64(env):
    cpu_env, _ = live("pick-place-v3", 60)
    with jax.enable_x64(True):
        state = state_from_metaworld(env, 0, cpu_env)
        model, data = to_mujoco(env, state)
    data.ctrl[:] = cpu_env.data.ctrl
    mujoco.mj_forward(model, data)
    # The stored state is all there is: the next steps of MuJoCo C agree to the last bit but for the site's place.
    cpu_env.do_simulation([0.5, -0.5], 5)
    data.ctrl[:] = [0.5, -0.5]
    mujoco.mj_step(model, data, nstep=5)
    # A second mj_forward warm-starts the solver from its own solution, which moves the last digits only.
    np.testing.assert_allclose(data.qpos, cpu_env.data.qpos, atol=1e-9)


def test_hidden_goal_and_one_hot_are_followed():
    env = mw.make(list(TASKS), goal_observable=False, one_hot=True)
    cpu_env, obs = live("drawer-open-v3", 5)
    state = state_from_metaworld(env, 1, cpu_env)
    np.testing.assert_allclose(state.obs, np.concatenate([obs[:36], np.zeros(3), [0, 1, 0]]), atol=1e-7)


def test_structure_is_that_of_reset(env):
    cpu_env, _ = live("drawer-open-v3", 1)
    mine = jax.eval_shape(lambda: state_from_metaworld(env, 1, cpu_env))
    fresh = jax.eval_shape(env.reset, jax.random.key(0))
    assert jax.tree.structure(mine) == jax.tree.structure(fresh)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(mine)] == [(x.shape, x.dtype) for x in jax.tree.leaves(fresh)]


def test_wrong_task_and_unreset_reference_are_refused(env):
    cpu_env, _ = live("drawer-open-v3", 1)
    with pytest.raises(ValueError, match="sawyer_pick_place_v3"):
        state_from_metaworld(env, 0, cpu_env)
    with pytest.raises(ValueError, match="reset"):
        state_from_metaworld(env, 1, reference_env("drawer-open-v3"))


def test_lanes_of_a_batch(env):
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 3), jnp.arange(3))
    for lane, name in enumerate(TASKS):
        model, data = to_mujoco(env, state, lane)
        # Observations of a task with a stale reset lag the state by a substep, in which the hand moves up to 1e-4.
        atol = 2e-4 if env.tasks[lane].stale_reset else 2e-6
        np.testing.assert_allclose(data.body("hand").xpos, state.obs[lane, :3], atol=atol)
        assert model.nq == reference_env(name).model.nq
    with pytest.raises(IndexError, match="lane 3"):
        to_mujoco(env, state, 3)
