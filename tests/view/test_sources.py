"""Sources of frames: simulations that are steered while they go on, and recordings of trajectories."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.episodes import batched
from mjx_metaworld.tasks.spec import ACTION_SCALE
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.sources import Choice, Control, Simulation, drive, recording_of, spread

pytestmark = pytest.mark.usefixtures("kinematic")
STEPS = 8


@pytest.fixture(scope="module")
def env(kinematic):
    return mw.make("reach-v3", max_episode_steps=STEPS)


@pytest.fixture(scope="module")
def act(env):
    scripted = mw.expert(env)
    return batched(lambda obs, task, key: jnp.clip(scripted(obs, task), -1, 1))


@pytest.fixture(scope="module")
def prepared(env, act):
    simulation = Simulation(env, act, spread(1, 2))
    simulation.prepare()
    return simulation


@pytest.fixture
def simulation(prepared):
    prepared.restart(spread(1, 2))
    prepared.control = Control(np.zeros(2, bool), np.zeros(3, np.float32), np.float32(-1))
    return prepared


def test_frames_are_those_of_the_environment(env, act, simulation):
    simulation.extend(3)
    state = reset_to_goals(env, [mw.goals("reach-v3", 1)[0][i : i + 1] for i in range(2)], (0, 0))
    np.testing.assert_array_equal(simulation.frame(0).goal, state.episode.goal)
    step, act = jax.jit(jax.vmap(env.step)), jax.jit(act)
    for index in range(4):
        frame = simulation.frame(index)  # each lane of a task has another goal
        np.testing.assert_allclose(frame.hand_target, state.physics.mocap_pos, atol=1e-6)
        np.testing.assert_array_equal(frame.step, [index, index])
        state = step(state, act(state, jax.random.key(0)))


def test_an_episode_ends_and_can_begin_anew(simulation):
    assert simulation.live
    simulation.extend(1000)
    assert (len(simulation), simulation.live) == (STEPS + 1, False)
    assert simulation.metrics(4).success.shape == (5, 2)
    before = simulation.frame(0).goal
    simulation.restart(Choice((0, 0), goal=2))
    assert (len(simulation), simulation.live) == (1, True)
    assert np.abs(simulation.frame(0).goal - before).min(axis=1).max() > 0
    simulation.restart(Choice((0, 0), goal=49))  # the last one; the next lane begins at the first
    np.testing.assert_array_equal(simulation.frame(0).goal[1], before[0])


def test_a_goal_is_put_elsewhere_within_its_bounds(simulation):
    (spec,) = simulation.specs
    simulation.extend(4)
    moved = simulation.move_goal(1, np.array([0.02, 0.85, 7.0]))
    np.testing.assert_allclose(moved, [0.02, 0.85, spec.goal_high[2]], atol=1e-6)
    other = simulation.frame(0).goal[0]
    simulation.extend(8)
    np.testing.assert_array_equal(simulation.frame(8).goal, [other, moved])
    # The reward is that of the new goal.
    distance = np.linalg.norm(simulation.frame(8).hand_target[1] - moved)
    assert abs(simulation.frame(8).metrics.obj_to_target[1] - distance) < 0.05  # of the finger tips, below the hand


def test_a_lane_is_driven_by_hand(simulation):
    start = simulation.frame(0).hand_target
    target = start[0] + np.array([0.03, 0.0, -0.015], np.float32)
    simulation.control = Control(np.array([True, False]), target, np.float32(1.0))
    simulation.extend(2)
    np.testing.assert_allclose(simulation.frame(1).hand_target[0], start[0] + [0.01, 0, -0.01], atol=1e-6)
    simulation.extend(STEPS)
    np.testing.assert_allclose(simulation.frame(STEPS).hand_target[0], target, atol=1e-6)
    expert_moved = np.abs(simulation.frame(STEPS).hand_target[1] - start[1]).max()
    assert expert_moved > 0.02


def test_driving_takes_a_centimetre_a_step():
    control = Control(np.ones(1, bool), np.array([1.0, 0.5, 0.2004], np.float32), np.float32(0.25))
    action = drive(control, jnp.array([[0.0, 0.5, 0.2]]))
    np.testing.assert_allclose(action, [[1.0, 0.0, 0.0004 / ACTION_SCALE, 0.25]], atol=1e-4)


def test_a_recording_shows_the_moments_that_were_kept(env):
    trajectory = mw.record(env, mw.expert(env), num_steps=STEPS, every=4, num_envs=3)
    recording = recording_of(env, trajectory)
    assert (len(recording), recording.num_lanes, recording.live) == (STEPS + 1, 3, False)
    for index, step in ((0, 0), (3, 0), (4, 4), (7, 4), (8, 8)):
        np.testing.assert_array_equal(recording.frame(index).step, [step] * 3)
    recording.extend(100)
    assert len(recording) == STEPS + 1
    assert recording.metrics(5).unscaled_reward.shape == (6, 3)


def test_lanes_are_spread_over_the_tasks():
    assert spread(3, 5).tasks == (0, 1, 2, 0, 1)
