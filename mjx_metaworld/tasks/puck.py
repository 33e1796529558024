"""Tasks with a puck on the bare table: reach, push, pick-place."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.observation import OBJECT_Z
from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_free_body, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    Observed,
    Orientation,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
)

PUCK = Observed(Point("body", "obj"), Orientation("xyzw", "geom", "objGeom"))
PUCK_GEOM = Observed(Point("geom", "objGeom"), Orientation("xyzw", "geom", "objGeom"))
HAND_INIT = (0.0, 0.6, 0.2)
TARGET_RADIUS = 0.05


def place_at_goal_vector(rand_vec: Array, settled: Settled) -> Placement:
    """Puck at the first place of the goal vector, goal at the second."""
    puck, goal = rand_vec[:3], rand_vec[3:6]
    return put_free_body(start(settled, goal=goal, object_init=puck), puck)


def place_on_table(rand_vec: Array, settled: Settled) -> Placement:
    """As `place_at_goal_vector` in xy, but puck and goal both at the height at which the puck settled."""
    height = settled.frame[OBJECT_Z : OBJECT_Z + 1]
    puck = jnp.concatenate([rand_vec[:2], height])
    goal = jnp.concatenate([rand_vec[3:5], height])
    return put_free_body(start(settled, goal=goal, object_init=puck), puck)


def reach_v1(s: RewardInputs) -> RewardOutput:
    """Approach the goal."""
    distance = rewards.norm(s.tcp - s.goal)
    return RewardOutput(
        reward=jnp.maximum(v1.progress(distance, rewards.norm(s.tcp_init - s.goal)), 0.0),
        success=distance <= 0.05,
        near_object=distance,
        grasp_success=1.0,
        grasp_reward=distance,
        in_place_reward=0.0,
        obj_to_target=distance,
    )


@task(
    "reach-v3",
    scene="sawyer_reach_v3",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.05),
    rand_high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.3),
    min_separation=0.15,
    goal_low=(-0.1, 0.8, 0.05),
    goal_high=(0.1, 0.9, 0.3),
    objects=(PUCK,),
    place=place_at_goal_vector,
    reward_v1=reach_v1,
)
def reach(s: RewardInputs) -> RewardOutput:
    """Reach a goal in the air. Randomised: goal, puck xy. Success: the finger tips within 5 cm of the goal."""
    distance = rewards.norm(s.tcp - s.goal)
    margin = rewards.norm(jnp.asarray(HAND_INIT, s.goal.dtype) - s.goal)
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), margin)
    return RewardOutput(
        reward=10.0 * in_place,
        success=distance <= 0.05,
        near_object=distance,  # the reference reports the distance here, not a truth value
        grasp_success=1.0,
        grasp_reward=distance,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


@task(
    "push-v3",
    scene="sawyer_push_v3",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.01),
    rand_high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.02),
    min_separation=0.15,
    goal_low=(-0.1, 0.8, 0.01),
    goal_high=(0.1, 0.9, 0.02),
    objects=(PUCK,),
    main_geom="objGeom",
    place=place_on_table,
    reward_v1=partial(v1.push, within=TARGET_RADIUS),
)
def push(s: RewardInputs) -> RewardOutput:
    """Push a puck to a goal on the table. Randomised: puck xy, goal xy. Success: the puck within 5 cm of the goal."""
    tcp_to_puck = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - s.goal)
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), rewards.norm(s.object_init - s.goal))
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high"
    )
    reward = 2.0 * caging
    reward = jnp.where((tcp_to_puck < 0.02) & (s.opening > 0.0), 2.0 * reward + 1.0 + 5.0 * in_place, reward)
    reward = jnp.where(distance < TARGET_RADIUS, 10.0, reward)
    return RewardOutput(
        reward=reward,
        success=distance <= TARGET_RADIUS,
        near_object=tcp_to_puck <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


@task(
    "pick-place-v3",
    scene="sawyer_pick_place_v3",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.05),
    rand_high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.3),
    min_separation=0.15,
    goal_low=(-0.1, 0.8, 0.05),
    goal_high=(0.1, 0.9, 0.3),
    objects=(PUCK,),
    main_geom="objGeom",
    place=place_at_goal_vector,
    reward_v1=partial(v1.pick_and_place, lift_by=0.04, within=0.07),
)
def pick_place(s: RewardInputs) -> RewardOutput:
    """Lift a puck to a goal in the air. Randomised: puck xy, goal. Success: the puck within 7 cm of the goal."""
    tcp_to_puck = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - s.goal)
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), rewards.norm(s.object_init - s.goal))
    caging = rewards.pick_place_caging_reward(s)
    lifted = (tcp_to_puck < 0.02) & (s.opening > 0.0) & (s.object[2] - 0.01 > s.object_init[2])
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
    reward = jnp.where(distance < TARGET_RADIUS, 10.0, reward)
    return RewardOutput(
        reward=reward,
        success=distance <= 0.07,
        near_object=tcp_to_puck <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
