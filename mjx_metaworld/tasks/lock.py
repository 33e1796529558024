"""Tasks with the lock on a door: door-lock, door-unlock."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, shifted, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    HAND_HIGH,
    Observed,
    Orientation,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
    Vec3,
    float32,
)

HAND_INIT = float32(0.0, 0.6, 0.2)
HAND_LOW = (-0.5, 0.40, -0.15)
HINGE = 2
LOCK = 0
POINTS = (Point("body", "lock_link"),)
DOOR_FRAME = Orientation("wxyz", "body", "door_link")
LOCK_ON_DOOR = (0.0, -0.118, 0.061)
LOCK_LENGTH = 0.1
WAY = float(np.hypot(0.04, 0.1))  # from the lock's body to either goal


def _place(rand_vec: Array, settled: Settled, goal: Vec3) -> Placement:
    """Door at the goal vector, goal at an offset from the lock."""
    door = rand_vec[:3]
    lock = shifted(door, LOCK_ON_DOOR)
    return put_prop(start(settled, goal=shifted(lock, goal), object_init=lock), door)


def place_to_lock(rand_vec: Array, settled: Settled) -> Placement:
    """Door at the goal vector, the lock as it settled."""
    return _place(rand_vec, settled, (0.0, -0.04, -0.1))


def place_to_unlock(rand_vec: Array, settled: Settled) -> Placement:
    """Door at the goal vector, the lock turned shut."""
    return set_part_joint(_place(rand_vec, settled, (0.1, -0.04, 0.0)), HINGE, 1.5708, stop=True)


def _outcome(s: RewardInputs, reward: Array, reach: Array, distance: Array, near: Array, turned: Array) -> RewardOutput:
    return RewardOutput(
        reward=reward,
        success=distance <= 0.02,
        near_object=reach <= 0.05,
        grasp_success=s.opening > 0.0,
        grasp_reward=near,
        in_place_reward=turned,
        obj_to_target=distance,
    )


def turn_v1(s: RewardInputs) -> RewardOutput:
    """Reach the lock, then turn it."""
    return v1.move(s, rewards.norm(s.object - s.goal), WAY, within=0.02)


@task(
    "door-lock-v3",
    scene="sawyer_door_lock",
    hand_init=HAND_INIT,
    hand_low=HAND_LOW,
    rand_low=(-0.1, 0.8, 0.15),
    rand_high=(0.1, 0.85, 0.15),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "lockStartLock"), DOOR_FRAME),),
    stale_reset=True,
    settles_against_prop=True,
    extra_substeps=5,
    place=place_to_lock,
    reward_v1=turn_v1,
    goal_site=None,
)
def door_lock(s: RewardInputs) -> RewardOutput:
    """Turn a door's lock down. Randomised: door xy. Success: the lock within 2 cm of the goal in z."""
    scale = jnp.asarray((0.25, 1.0, 0.5), s.goal.dtype)
    reach = rewards.norm((s.object - s.left_pad) * scale)
    # The reference means the pad at reset, but holds a view of the current one: the margin is the distance itself.
    near = rewards.tolerance(reach, (0.0, 0.01), reach)
    distance = jnp.abs(s.goal[2] - s.object[2])
    turned = rewards.tolerance(distance, (0.0, 0.005), LOCK_LENGTH)
    reward = 2.0 * rewards.hamacher_product(s.opening, near) + 8.0 * turned
    return _outcome(s, reward, reach, distance, near, turned)


@task(
    "door-unlock-v3",
    scene="sawyer_door_lock",
    hand_init=HAND_INIT,
    hand_low=HAND_LOW,
    rand_low=(-0.1, 0.8, 0.15),
    rand_high=(0.1, 0.85, 0.15),
    goal_low=(0.0, 0.64, 0.2100),
    goal_high=(0.2, 0.7, 0.2111),
    objects=(Observed(Point("site", "lockStartUnlock"), DOOR_FRAME),),
    points=POINTS,
    settles_against_prop=True,
    place=place_to_unlock,
    reward_v1=turn_v1,
    goal_site=None,
)
def door_unlock(s: RewardInputs) -> RewardOutput:
    """Turn a door's lock sideways. Randomised: door xy. Success: the lock within 2 cm of the goal in x."""
    shoulder = jnp.asarray((0.0, 0.055, 0.07), s.goal.dtype)
    scale = jnp.asarray((0.25, 1.0, 0.5), s.goal.dtype)
    reach = rewards.norm((s.hand + shoulder - s.object) * scale)
    # obj_init_pos is a view of the lock's body, so the margin takes the lock where it is now.
    margin = rewards.norm((s.tcp_init + shoulder - s.points[LOCK]) * scale)
    ready = rewards.tolerance(reach, (0.0, 0.02), margin)
    distance = jnp.abs(s.goal[0] - s.object[0])
    pushed = rewards.tolerance(distance, (0.0, 0.005), LOCK_LENGTH)
    return _outcome(s, 2.0 * ready + 8.0 * pushed, reach, distance, ready, pushed)
