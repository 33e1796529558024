"""Tasks with the hinged door: door-open, door-close."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, shifted, start
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

HANDLE = Observed(Point("geom", "handle"), Orientation("xyzw", "geom", "handle"))
HINGE = 2
WAY_OF_OPENING = 0.5475296783430732  # of the handle in xy, from its place at reset to the goal
WAY_OF_CLOSING = 0.5641145587904663


def place_closed_door(rand_vec: Array, settled: Settled) -> Placement:
    """Door at the goal vector and shut, goal where the handle of the open door is."""
    door = rand_vec[:3]
    placement = start(settled, goal=shifted(door, (-0.3, -0.45, 0.0)), object_init=door)
    return set_part_joint(put_prop(placement, door), HINGE, 0.0, stop=True)


def _ready_to_open(hand: Array, handle: Array) -> Array:
    """Readiness (0 to 1) of the hand: by the handle, come down to it from above along a funnel-shaped floor."""
    threshold = 0.12
    radius = rewards.norm(hand[:2] - handle[:2])
    outside = radius > threshold
    floor = jnp.where(outside, 0.04 * jnp.log(jnp.where(outside, radius - threshold, 1.0)) + 0.4, 0.0)
    approach = rewards.tolerance(floor - hand[2], (0.0, 0.01), floor / 2.0)
    above_floor = jnp.where(hand[2] >= floor, 1.0, approach)
    behind_handle = handle + jnp.asarray((0.05, 0.03, -0.01), handle.dtype)
    in_place = rewards.tolerance(rewards.norm(hand - behind_handle), (0.0, threshold / 2.0), 0.5)
    return rewards.hamacher_product(above_floor, in_place)


def door_open_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then move it in xy."""
    moved = v1.move(s, rewards.norm(s.object[:2] - s.goal[:2]), WAY_OF_OPENING, within=0.08)
    return v1.report_success(moved.reward, jnp.abs(s.object[0] - s.goal[0]) <= 0.08)


@task(
    "door-open-v3",
    scene="sawyer_door_pull",
    hand_init=(0.0, 0.6, 0.2),
    rand_low=(0.0, 0.85, 0.15),
    rand_high=(0.1, 0.95, 0.15),
    goal_low=(-0.3, 0.4, 0.1499),
    goal_high=(-0.2, 0.5, 0.1501),
    objects=(HANDLE,),
    place=place_closed_door,
    reward_v1=door_open_v1,
)
def door_open(s: RewardInputs) -> RewardOutput:
    """Open a door by its handle. Randomised: door xy. Success: the handle within 8 cm of the goal in x."""
    angle = s.part_qpos[HINGE]
    grab = (jnp.clip(s.action[3], -1.0, 1.0) + 1.0) / 2.0
    ready = _ready_to_open(s.hand, shifted(s.object, (-0.05, 0.0, 0.0)))
    swing = rewards.tolerance(np.pi / 2.0 + np.pi / 6.0 + angle, (0.0, 0.5), np.pi / 3.0)
    opened = jnp.where(angle < -np.pi / 90.0, 0.2, 0.0) + 0.8 * swing
    success = jnp.abs(s.object[0] - s.goal[0]) <= 0.08
    reward = jnp.where(success, 10.0, 2.0 * rewards.hamacher_product(ready, grab) + 8.0 * opened)
    return RewardOutput(
        reward=reward,
        success=success,
        near_object=ready,
        grasp_success=grab >= 0.5,
        grasp_reward=grab,
        in_place_reward=opened,
        obj_to_target=0.0,  # the reference does not report one
    )


CLOSING_HAND_INIT = float32(-0.5, 0.6, 0.2)


def place_open_door(rand_vec: Array, settled: Settled) -> Placement:
    """Door at the goal vector and open by a right angle, goal where the handle of the shut door is."""
    door = rand_vec[:3]
    placement = start(settled, goal=shifted(door, (0.2, -0.2, 0.0)), object_init=door)
    return set_part_joint(put_prop(placement, door), HINGE, -1.5708, stop=True)


def door_close_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then move it in xy."""
    distance = rewards.norm(s.object[:2] - s.goal[:2])
    moved = v1.move(s, distance, WAY_OF_CLOSING, within=0.08, grasp_success=1.0)
    return moved.replace(near_object=0.0, grasp_reward=1.0)


@task(
    "door-close-v3",
    scene="sawyer_door_pull",
    hand_init=CLOSING_HAND_INIT,
    rand_low=(0.0, 0.85, 0.15),
    rand_high=(0.1, 0.95, 0.15),
    goal_low=(0.2, 0.65, 0.1499),
    goal_high=(0.3, 0.75, 0.1501),
    objects=(HANDLE,),
    place=place_open_door,
    reward_v1=door_close_v1,
)
def door_close(s: RewardInputs) -> RewardOutput:
    """Push a door shut. Randomised: door xy. Success: the handle within 8 cm of the goal."""
    radius = 0.05
    distance = rewards.norm(s.object - s.goal)
    in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object_init - s.goal), "gaussian")
    hand_margin = rewards.norm(jnp.asarray(CLOSING_HAND_INIT, s.goal.dtype) - s.object) + 0.1
    hand_in_place = rewards.tolerance(rewards.norm(s.tcp - s.goal), (0.0, 0.25 * radius), hand_margin, "gaussian")
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, 3.0 * hand_in_place + 6.0 * in_place),
        success=distance <= 0.08,
        near_object=0.0,
        grasp_success=1.0,
        grasp_reward=1.0,
        in_place_reward=hand_in_place,
        obj_to_target=distance,
    )
