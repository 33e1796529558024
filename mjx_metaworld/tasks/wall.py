"""Tasks with a puck and a wall in the way: reach-wall, push-wall, pick-place-wall."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.puck import (
    HAND_INIT,
    PUCK,
    PUCK_GEOM,
    TARGET_RADIUS,
    place_at_goal_vector,
    place_on_table,
    reach_v1,
)
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import RewardInputs, RewardOutput

RAND_LOW, RAND_HIGH = (-0.05, 0.6, 0.015), (0.05, 0.65, 0.015)
AIR_LOW, AIR_HIGH = (-0.05, 0.85, 0.05), (0.05, 0.9, 0.3)
WALL_Y = 0.75  # a puck beyond it has passed the wall


def reach_wall_v1(s: RewardInputs) -> RewardOutput:
    """As without the wall, but for what is reported."""
    return reach_v1(s).replace(near_object=0.0, grasp_success=0.0, grasp_reward=0.0)


@task(
    "reach-wall-v3",
    scene="sawyer_reach_wall_v3",
    hand_init=HAND_INIT,
    rand_low=RAND_LOW + AIR_LOW,
    rand_high=RAND_HIGH + AIR_HIGH,
    min_separation=0.15,
    goal_low=AIR_LOW,
    goal_high=AIR_HIGH,
    objects=(PUCK,),
    place=place_at_goal_vector,
    reward_v1=reach_wall_v1,
)
def reach_wall(s: RewardInputs) -> RewardOutput:
    """Reach a goal behind a wall. Randomised: goal, puck xy. Success: the finger tips within 5 cm of the goal."""
    distance = rewards.norm(s.tcp - s.goal)
    margin = rewards.norm(jnp.asarray(HAND_INIT, s.goal.dtype) - s.goal)
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), margin)
    return RewardOutput(
        reward=10.0 * in_place,
        success=distance <= 0.05,
        near_object=0.0,
        grasp_success=0.0,
        grasp_reward=0.0,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def _in_place(s: RewardInputs, midpoint: Array, scale: tuple[float, float, float]) -> tuple[Array, Array, Array]:
    """Progress to a point by the wall (distances scaled by axis), progress to the goal, distance from the goal."""
    weights = jnp.asarray(scale, midpoint.dtype)
    to_midpoint = rewards.norm((s.object - midpoint) * weights)
    first = rewards.tolerance(to_midpoint, (0.0, TARGET_RADIUS), rewards.norm((s.object_init - midpoint) * weights))
    distance = rewards.norm(s.object - s.goal)
    second = rewards.tolerance(distance, (0.0, TARGET_RADIUS), rewards.norm(s.object_init - s.goal))
    return first, second, distance


def _carry_past_wall(
    s: RewardInputs, base: Array, held: Array, first: Array, second: Array, distance: Array, caging: Array
) -> RewardOutput:
    """`base`, and while the puck is held a bonus for the way to the wall, then for the way to the goal."""
    tcp_to_puck = rewards.norm(s.object - s.tcp)
    bonus = jnp.where(s.object[1] > WALL_Y, 5.0 + 3.0 * second, 1.0 + 4.0 * first)
    reward = base + jnp.where((tcp_to_puck < 0.02) & (s.opening > 0.0) & held, bonus, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < TARGET_RADIUS, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_puck <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=second,
        obj_to_target=distance,
    )


@task(
    "push-wall-v3",
    scene="sawyer_push_wall_v3",
    hand_init=HAND_INIT,
    rand_low=(*RAND_LOW, -0.05, 0.85, 0.01),
    rand_high=(*RAND_HIGH, 0.05, 0.9, 0.02),
    min_separation=0.15,
    goal_low=(-0.05, 0.85, 0.01),
    goal_high=(0.05, 0.9, 0.02),
    objects=(PUCK_GEOM,),
    main_geom="objGeom",
    place=place_on_table,
    reward_v1=partial(v1.push, within=0.07),
)
def push_wall(s: RewardInputs) -> RewardOutput:
    """Push a puck around a wall. Randomised: puck xy, goal xy. Success: the puck within 7 cm of the goal."""
    midpoint = jnp.stack([jnp.asarray(-0.05, s.object.dtype), jnp.asarray(0.77, s.object.dtype), s.object[2]])
    first, second, distance = _in_place(s, midpoint, (3.0, 1.0, 1.0))
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high"
    )
    return _carry_past_wall(s, 2.0 * caging, jnp.asarray(True), first, second, distance, caging)


@task(
    "pick-place-wall-v3",
    scene="sawyer_pick_place_wall_v3",
    hand_init=HAND_INIT,
    rand_low=RAND_LOW + AIR_LOW,
    rand_high=RAND_HIGH + AIR_HIGH,
    min_separation=0.15,
    goal_low=AIR_LOW,
    goal_high=AIR_HIGH,
    objects=(PUCK_GEOM,),
    main_geom="objGeom",
    place=place_at_goal_vector,
    reward_v1=partial(v1.pick_and_place, lift_by=0.04, within=0.07),
)
def pick_place_wall(s: RewardInputs) -> RewardOutput:
    """Lift a puck over a wall. Randomised: puck xy, goal. Success: the puck within 7 cm of the goal."""
    midpoint = s.goal.at[1:].set(jnp.asarray((0.77, 0.25), s.goal.dtype))
    first, second, distance = _in_place(s, midpoint, (1.0, 1.0, 3.0))
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005
    )
    lifted = s.object[2] - 0.015 > s.object_init[2]
    base = rewards.hamacher_product(caging, first)
    return _carry_past_wall(s, base, lifted, first, second, distance, caging)
