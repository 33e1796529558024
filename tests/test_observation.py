"""Readings and observations from skeleton poses against the live reference."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.metaworld_reference import EACH_TASK, SPECS, reset_to

from mjx_metaworld import observation, suites
from mjx_metaworld.build.points import point_table
from mjx_metaworld.build.readings import read_point, read_skeleton
from mjx_metaworld.parity.record import rollout
from mjx_metaworld.parity.reference import reference_policy
from mjx_metaworld.physics import model as layout
from mjx_metaworld.scenes.bodies import find_moving_bodies, map_bodies
from mjx_metaworld.scenes.catalog import load_scene
from mjx_metaworld.tasks.points import matrix_to_quat, read


def skeleton_poses(env, prop: str | None) -> tuple[np.ndarray, np.ndarray]:
    """`(14, 3)` and `(14, 3, 3)` from the simulation of the original scene; bodies it lacks stay at the origin."""
    moving = find_moving_bodies(env.model)
    roots = dict(zip(range(layout.LINK0, layout.LINK0 + 7), moving.links, strict=True))
    roots |= {layout.RIGHT_CLAW: moving.claws[0], layout.LEFT_CLAW: moving.claws[1]}
    roots |= {layout.FREE: moving.free, layout.PART: moving.part}
    roots[layout.PROP] = None if prop is None else env.model.body(prop).id
    xpos, xmat = np.zeros((14, 3)), np.tile(np.eye(3), (14, 1, 1))
    for skeleton_body, body in roots.items():
        if body is not None:
            xpos[skeleton_body], xmat[skeleton_body] = env.data.xpos[body], env.data.xmat[body].reshape(3, 3)
    return xpos, xmat


@pytest.mark.parametrize("name", EACH_TASK)
def test_readings_and_observation_equal_the_reference(name: str) -> None:
    spec = SPECS[name]
    rand_vec = suites.goals(name, seed=2)[0][0]
    env, obs = reset_to(name, rand_vec)
    # Not the environment's own model: the reference writes into that one at reset.
    model = load_scene(spec.scene_spec)
    bodies = map_bodies(model, spec.scene_spec.prop)
    table = point_table(spec, model, bodies, num_objects=2, num_points=6)
    low, high = observation.observation_bounds(spec.goal_low, spec.goal_high, goal_observable=True)
    # The reference adds some of its bounds up at run time: one rounding.
    np.testing.assert_allclose(low, env.sawyer_observation_space.low, rtol=1e-15)
    np.testing.assert_allclose(high, env.sawyer_observation_space.high, rtol=1e-15)
    compiled = jax.jit(read)
    policy = reference_policy(name).get_action
    previous = obs[observation.FRAME]
    with jax.enable_x64(True):
        # Beyond the hand space now and then, so that clipping shows.
        for turn in rollout(env, obs, policy, style="noisy", num_steps=80):
            obs = turn.take().obs
            poses = skeleton_poses(env, spec.scene_spec.prop)
            qpos = read_skeleton(env.data, bodies).qpos
            readings = compiled(table, *poses, env.data.body("hand").xpos.copy(), qpos)
            goal = jnp.asarray(env._target_pos)
            ours = jnp.clip(observation.stack_frames(readings.frame, previous, goal, goal_observable=True), low, high)
            previous = readings.frame
            # One rotation and one addition per place, and quaternions from matrices that MuJoCo made of quaternions.
            np.testing.assert_allclose(ours, obs, rtol=0, atol=1e-9)
            np.testing.assert_allclose(readings.tcp, env.tcp_center, rtol=0, atol=1e-12)
            np.testing.assert_allclose(readings.left_pad, env.get_body_com("leftpad"), rtol=0, atol=1e-12)
            np.testing.assert_allclose(readings.right_pad, env.get_body_com("rightpad"), rtol=0, atol=1e-12)
            for row, point in enumerate(spec.points):
                np.testing.assert_allclose(readings.points[row], read_point(env.data, point), rtol=0, atol=1e-12)


def test_hidden_goal_is_zero() -> None:
    name = "reach-v3"
    env, obs = reset_to(name, suites.goals(name, seed=2)[0][0], goal_observable=False)
    assert (obs[observation.GOAL] == 0.0).all()
    low, high = observation.observation_bounds(SPECS[name].goal_low, SPECS[name].goal_high, goal_observable=False)
    np.testing.assert_array_equal(low, env.sawyer_observation_space.low)
    np.testing.assert_array_equal(high, env.sawyer_observation_space.high)
    frame = jnp.arange(18.0)
    hidden = observation.stack_frames(frame, frame + 1.0, jnp.ones(3), goal_observable=False)
    assert (hidden[36:] == 0.0).all()
    assert (hidden[18:36] == frame + 1.0).all()


def test_matrix_to_quat_has_scipys_signs() -> None:
    rotations = Rotation.random(2000, random_state=0)  # pyright: ignore[reportCallIssue]
    axes = Rotation.from_rotvec(np.pi * 0.75 * np.concatenate([np.eye(3), -np.eye(3)]))
    for batch in (rotations, axes):
        mats = batch.as_matrix()
        with jax.enable_x64(True):
            quats = jax.jit(matrix_to_quat)(mats)
        np.testing.assert_allclose(quats, Rotation.from_matrix(mats).as_quat(), rtol=0, atol=1e-12)
