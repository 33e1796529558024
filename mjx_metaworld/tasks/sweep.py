"""Tasks that push an object held between the pads: push-back, sweep, sweep-into, soccer."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_free_body, put_prop, start
from mjx_metaworld.tasks.puck import HAND_INIT, PUCK, PUCK_GEOM, place_on_table
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    Observed,
    Orientation,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
    float32,
)

SWEEP_GOAL = (0.5, 0.01)  # x and z
HOLE = (0.0, 0.84, 0.02)
BALL_HEIGHT = 0.03


@task(
    "push-back-v3",
    scene="sawyer_push_back_v3",
    hand_init=float32(*HAND_INIT),
    rand_low=(-0.1, 0.8, 0.02, -0.1, 0.6, 0.0199),
    rand_high=(0.1, 0.85, 0.02, 0.1, 0.7, 0.0201),
    min_separation=0.15,
    goal_low=(-0.1, 0.6, 0.0199),
    goal_high=(0.1, 0.7, 0.0201),
    objects=(PUCK_GEOM,),
    main_geom="objGeom",
    place=place_on_table,
    reward_v1=partial(v1.push, within=0.07),
)
def push_back(s: RewardInputs) -> RewardOutput:
    """Pull a puck back to a goal on the table. Randomised: puck xy, goal xy. Success: the puck within 7 cm of it."""
    tcp_to_puck = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - s.goal)
    distance_init = rewards.norm(s.object_init - s.goal)
    in_place = rewards.tolerance(distance, (0.0, 0.05), distance_init)
    caging = rewards.pads_caging_reward(s, obj_radius=0.007, grip_slack=0.003, xz_thresh=0.01)
    gripped = (tcp_to_puck < 0.01) & (s.opening > 0.0) & (s.opening < 0.55)
    moving = gripped & (distance_init - distance > 0.01)
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(moving, 1.0 + 5.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < 0.05, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_puck <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def _sweep(s: RewardInputs, target: Array, caging: Array) -> RewardOutput:
    radius = 0.05
    tcp_to_cube = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - target)
    in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object_init - target))
    reward = 2.0 * caging + 6.0 * rewards.hamacher_product(caging, in_place)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= radius,
        near_object=tcp_to_cube <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def place_for_sweep(rand_vec: Array, settled: Settled) -> Placement:
    """Cube at the goal vector, goal at the table's right edge, level with the cube in y."""
    cube = rand_vec[:3].at[2].set(0.02)
    goal = jnp.stack([jnp.full_like(cube[1], SWEEP_GOAL[0]), cube[1], jnp.full_like(cube[1], SWEEP_GOAL[1])])
    return put_free_body(start(settled, goal=goal, object_init=cube), cube)


def _sweep_v1(s: RewardInputs, fallen: Array) -> RewardOutput:
    """A cube that has fallen off the table counts as at the goal."""
    reach = rewards.norm(s.object - s.tcp)
    distance = jnp.where(fallen, 0.0, rewards.norm(s.object[:2] - s.goal[:2]))
    pushed = v1.progress(distance, rewards.norm(s.object_init[:2] - s.goal[:2]))
    return v1.report(jnp.where(fallen, 0.0, -reach) + v1.gain(reach < v1.REACHED, pushed), distance, 0.05)


def sweep_v1(s: RewardInputs) -> RewardOutput:
    """The cube has fallen wherever it is below the table."""
    return _sweep_v1(s, s.object[2] < s.object_init[2] - 0.05)


@task(
    "sweep-v3",
    scene="sawyer_sweep_v3",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.02),
    rand_high=(0.1, 0.7, 0.02),
    goal_low=(0.49, 0.6, 0.0),
    goal_high=(0.51, 0.7, 0.02),
    objects=(Observed(Point("body", "obj"), Orientation("wxyz", "body", "obj")),),
    main_geom="objGeom",
    place=place_for_sweep,
    reward_v1=sweep_v1,
)
def sweep(s: RewardInputs) -> RewardOutput:
    """Sweep a cube off the table's side. Randomised: cube xy. Success: the cube within 5 cm of the goal."""
    caging = rewards.pads_caging_reward(s, obj_radius=0.02, grip_slack=0.01, xz_thresh=0.005)
    return _sweep(s, s.goal, caging)


def place_for_sweep_into(rand_vec: Array, settled: Settled) -> Placement:
    """Cube at the goal vector in xy, at the height at which it settled; the goal is the table's hole."""
    cube = rand_vec[:3].at[2].set(settled.object_height)
    goal = jnp.asarray(HOLE, cube.dtype)
    return put_free_body(start(settled, goal=goal, object_init=cube), cube)


def sweep_into_v1(s: RewardInputs) -> RewardOutput:
    """The cube has fallen where it is below the table and between its edges in y."""
    y, z = s.object[1], s.object[2]
    return _sweep_v1(s, (z < s.object_init[2] - 0.05) & (y > 0.4) & (y < 1.0))


@task(
    "sweep-into-v3",
    scene="sawyer_table_with_hole",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.02, -0.001, 0.8399, 0.0199),
    rand_high=(0.1, 0.7, 0.02, 0.001, 0.8401, 0.0201),
    min_separation=0.15,
    separate_from=HOLE[:2],
    goal_low=(-0.001, 0.8399, 0.0199),
    goal_high=(0.001, 0.8401, 0.0201),
    objects=(PUCK,),
    main_geom="objGeom",
    place=place_for_sweep_into,
    reward_v1=sweep_into_v1,
)
def sweep_into(s: RewardInputs) -> RewardOutput:
    """Sweep a cube into a hole. Randomised: cube xy. Success: the cube within 5 cm of the hole in xy."""
    caging = rewards.pads_caging_reward(s, obj_radius=0.02, grip_slack=0.005, xz_thresh=0.01)
    return _sweep(s, s.goal.at[2].set(s.object[2]), caging)


def place_for_soccer(rand_vec: Array, settled: Settled) -> Placement:
    """Ball at the first place of the goal vector, the goal (the task's and the one of wood) at the second."""
    ball, goal = rand_vec[:3].at[2].set(BALL_HEIGHT), rand_vec[3:6]
    return put_prop(put_free_body(start(settled, goal=goal, object_init=ball), ball), goal)


@task(
    "soccer-v3",
    scene="sawyer_soccer",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.03, -0.1, 0.8, 0.0),
    rand_high=(0.1, 0.7, 0.03, 0.1, 0.9, 0.0),
    min_separation=0.15,
    goal_low=(-0.1, 0.8, 0.0),
    goal_high=(0.1, 0.9, 0.0),
    objects=(Observed(Point("body", "soccer_ball"), Orientation("xyzw", "body", "soccer_ball")),),
    main_geom="objGeom",
    place=place_for_soccer,
    reward_v1=partial(v1.push, within=0.07),
)
def soccer(s: RewardInputs) -> RewardOutput:
    """Push a ball into a goal. Randomised: ball xy, goal xy. Success: the ball within 7 cm of the goal."""
    radius = 0.07
    scale = jnp.asarray((3.0, 1.0, 1.0), s.goal.dtype)
    scaled = rewards.norm((s.object - s.goal) * scale)
    # The margin is the way that the ball has gone, not the way that it has to go.
    in_place = rewards.tolerance(scaled, (0.0, radius), rewards.norm((s.object - s.object_init) * scale))
    line = s.goal[1] - 0.1
    beside_goal = (s.object[1] > line) & (jnp.abs(s.object[0] - s.goal[0]) > 0.10)
    missed = jnp.clip(in_place - 2.0 * (s.object[1] - line) / (1.0 - line), 0.0, 1.0)
    in_place = jnp.where(beside_goal, missed, in_place)
    caging = rewards.pads_caging_reward(s, obj_radius=0.013, grip_slack=0.01, xz_thresh=0.005)
    tcp_to_ball = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - s.goal)
    return RewardOutput(
        reward=jnp.where(scaled < radius, 10.0, 3.0 * caging + 6.5 * in_place),
        success=distance <= 0.07,
        near_object=tcp_to_ball <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
