"""Tasks at the table with a hole: hand-insert."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

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
    float32,
)

HAND_INIT = float32(0.0, 0.6, 0.2)
CUBE = Observed(Point("body", "obj"), Orientation("wxyz", "body", "obj"))


def place_cube_above_table(rand_vec: Array, settled: Settled) -> Placement:
    """Cube at the first place of the goal vector, a little above the table, goal in the hole."""
    cube = rand_vec[:3].at[2].set(0.05)
    return put_free_body(start(settled, goal=rand_vec[3:6], object_init=cube), cube)


def hand_insert_v1(s: RewardInputs) -> RewardOutput:
    """Bring the hand, not the cube, over the hole and down; success goes by where the cube began, so it never comes."""
    reach, depth = rewards.norm(s.tcp[:2] - s.goal[:2]), jnp.abs(s.tcp[2] - s.goal[2])
    inserted = v1.progress(depth, jnp.abs(HAND_INIT[2] - s.goal[2]))
    reward = -reach + v1.gain(reach < v1.REACHED, inserted)
    return v1.report(reward, rewards.norm(s.object_init - s.goal), 0.05)


@task(
    "hand-insert-v3",
    scene="sawyer_table_with_hole",
    hand_init=HAND_INIT,
    hand_low=(-0.5, 0.40, -0.15),
    rand_low=(-0.1, 0.6, 0.05, -0.04, 0.8, -0.0201),
    rand_high=(0.1, 0.7, 0.05, 0.04, 0.88, -0.0199),
    min_separation=0.15,
    goal_low=(-0.04, 0.8, -0.0201),
    goal_high=(0.04, 0.88, -0.0199),
    objects=(CUBE,),
    main_geom="objGeom",
    place=place_cube_above_table,
    reward_v1=hand_insert_v1,
)
def hand_insert(s: RewardInputs) -> RewardOutput:
    """Carry a cube into a hole. Randomised: cube xy, goal xy. Success: the cube within 5 cm of the goal."""
    radius = 0.05
    distance = rewards.norm(s.object - s.goal)
    in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object_init - s.goal))
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high"
    )
    tcp_to_cube = rewards.norm(s.object - s.tcp)
    grasped = (tcp_to_cube < 0.02) & (s.opening > 0.0)
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(grasped, 1.0 + 7.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= 0.05,
        near_object=tcp_to_cube <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
