"""Sources of frames: simulations that are steered while they go on, and recordings of trajectories."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.watched import STEPS, watched

import mjx_metaworld as mw
from mjx_metaworld.tasks.spec import ACTION_SCALE
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.sources import Choice, Control, Recording, Simulation, drive, recording_of, spread


@pytest.fixture
def simulation() -> Simulation:
    return watched()


def test_frames_are_those_of_the_environment(simulation):
    simulation.extend(3)
    env = simulation.env
    state = reset_to_goals(env, [mw.goals("reach-v3", 1)[0][i : i + 1] for i in range(2)], (0, 0))
    np.testing.assert_array_equal(simulation.frame(0).goal, state.episode.goal)
    step, act = jax.jit(jax.vmap(env.step)), jax.jit(jax.vmap(mw.expert(env)))
    for index in range(4):
        frame = simulation.frame(index)  # each lane of a task has another goal
        np.testing.assert_allclose(frame.hand_target, state.physics.mocap_pos, atol=1e-6)
        np.testing.assert_array_equal(frame.step, [index, index])
        state = step(state, act(state.obs, state.task))


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


def test_a_recording_shows_the_moments_that_were_kept(simulation):
    simulation.extend(8)
    kept = jax.tree.map(lambda x: x[::4], simulation.frames())
    recording = Recording(simulation.specs, kept, every=4)
    assert (len(recording), recording.num_lanes, recording.live) == (9, 2, False)
    for index, step in ((0, 0), (3, 0), (4, 4), (7, 4), (8, 8)):
        np.testing.assert_array_equal(recording.frame(index).step, [step] * 2)
    recording.extend(100)
    assert len(recording) == 9
    assert recording.metrics(5).unscaled_reward.shape == (6, 2)


@pytest.mark.full
def test_a_trajectory_is_recorded_and_played(simulation):
    env = simulation.env
    recording = recording_of(env, mw.record(env, mw.expert(env), num_steps=8, every=4, num_envs=3))
    assert (len(recording), recording.num_lanes) == (9, 3)
    np.testing.assert_array_equal(recording.frame(8).step, [8] * 3)
    assert np.ptp(recording.frame(0).goal, axis=0).max() > 0.01  # each lane draws its own


def test_lanes_are_spread_over_the_tasks():
    assert spread(3, 5).tasks == (0, 1, 2, 0, 1)
