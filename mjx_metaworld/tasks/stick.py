"""Tasks that move a thermos with a stick: stick-push, stick-pull."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_free_body, set_part_joint, start
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

HAND_INIT = (0.0, 0.6, 0.2)
STICK, STICK_END = range(2)
STICK_SEEN = Observed(Point("body", "stick"), Orientation("xyzw", "body", "stick"))
STICK_HEIGHT = 0.02
THERMOS = (0.2, 0.6, 0.0)  # the reference reads a body that stays when the thermos slides
THERMOS_GOAL_HEIGHT = 0.132
X, Y = 0, 1  # the thermos' slides


def _place(rand_vec: Array, settled: Settled, goal_height: float, y: float) -> Placement:
    """Stick at the first place of the goal vector, thermos at `y` of its slide, goal at the second place."""
    stick = rand_vec[:3].at[2].set(STICK_HEIGHT)
    goal = rand_vec[3:6].at[2].set(goal_height)
    placement = start(settled, goal=goal, object_init=jnp.asarray(THERMOS, goal.dtype))
    placement = put_free_body(placement, stick).replace(points_init=placement.points_init.at[STICK].set(stick))
    # The reference means to stop both slides, but names the second one and one that does not exist.
    return set_part_joint(set_part_joint(placement, X, 0.0, stop=False), Y, y, stop=True)


def place_to_push(rand_vec: Array, settled: Settled) -> Placement:
    """Thermos behind the stick."""
    return _place(rand_vec, settled, THERMOS_GOAL_HEIGHT, 0.0)


def place_to_pull(rand_vec: Array, settled: Settled) -> Placement:
    """Thermos with its handle beside the stick."""
    return _place(rand_vec, settled, STICK_HEIGHT, 0.09)


def _hold_and_move_v1(s: RewardInputs, wide: float, narrow: float) -> RewardOutput:
    """Lift the stick by 4 cm, bring it to the thermos, then the thermos to the goal.

    The reference means the thermos' position, but reads entries 6 to 8 of the observation: the stick's height and the
    first two entries of its quaternion.
    """
    misread, stick_init = s.obs[6:9], s.points_init[STICK]
    floor = stick_init[2]
    height = floor + 0.04
    reach, to_thermos = rewards.norm(s.object - s.tcp), rewards.norm(s.object - misread)
    distance = rewards.norm(misread[:2] - s.goal[:2])
    lifted = v1.lift(s.object[2], floor, height, reach, distance)
    initial = rewards.norm(s.object_init[:2] - s.goal[:2])
    moved = v1.progress(distance, initial, peak=2000.0, wide=wide, narrow=narrow)
    place = v1.progress(to_thermos, v1.carry_way(s.object_init, height, stick_init))
    place = place + jnp.where(to_thermos < 0.05, moved, 0.0)
    reward = v1.grip(s, reach) + lifted.reward + v1.gain(lifted.complete & (reach < v1.CARRIED), place)
    return v1.report(reward, distance, 0.12)


def stick_push_v1(s: RewardInputs) -> RewardOutput:
    """Push the thermos; success takes a grasp, which v1 never reports."""
    return _hold_and_move_v1(s, wide=0.001, narrow=0.0001).replace(success=0.0)


@task(
    "stick-push-v3",
    scene="sawyer_stick_obj",
    hand_init=HAND_INIT,
    rand_low=(-0.08, 0.58, 0.0, 0.399, 0.55, 0.1319),
    rand_high=(-0.03, 0.62, 0.001, 0.401, 0.6, 0.1321),
    min_separation=0.1,
    goal_low=(0.399, 0.55, 0.1319),
    goal_high=(0.401, 0.6, 0.1321),
    objects=(STICK_SEEN, Observed(Point("site", "insertion", (0.0, 0.09, 0.0)))),
    points=(Point("body", "stick"),),
    main_geom="objGeom",
    place=place_to_push,
    reward_v1=stick_push_v1,
)
def stick_push(s: RewardInputs) -> RewardOutput:
    """Push a thermos with a stick. Randomised: stick xy, goal. Success: stick held, thermos within 12 cm of it."""
    radius = 0.12
    stick = s.object + jnp.asarray((0.015, 0.0, 0.0), s.goal.dtype)
    stick_init, thermos = s.points_init[STICK], s.second_object
    tcp_to_stick = rewards.norm(stick - s.tcp)
    stick_margin = rewards.norm(stick_init - s.goal) - radius
    stick_in_place = rewards.tolerance(rewards.norm(stick - s.goal), (0.0, radius), stick_margin)
    distance = rewards.norm(thermos - s.goal)
    thermos_in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object_init - s.goal) - radius)
    caging = rewards.caging_reward(
        s, stick, stick_init, obj_radius=0.04, pad_success_thresh=0.05, xz_thresh=0.01, density="high"
    )
    held = (tcp_to_stick < 0.02) & (s.opening > 0.0) & (stick[2] - 0.01 > stick_init[2])
    pushing = jnp.where(distance <= radius, 10.0, 2.0 + 5.0 * stick_in_place + 3.0 * thermos_in_place)
    grasped = s.touching & (s.opening > 0.0) & (s.object[2] - 0.01 > stick_init[2])
    return RewardOutput(
        reward=jnp.where(held, pushing, caging),
        success=grasped & (distance <= 0.12),
        near_object=tcp_to_stick <= 0.03,
        grasp_success=grasped,
        grasp_reward=jnp.where(held, 1.0, caging),
        in_place_reward=stick_in_place,
        obj_to_target=distance,
    )


def _inserted(s: RewardInputs) -> Array:
    """True where the stick's end is in the thermos' handle."""
    end, handle = s.points[STICK_END], s.second_object
    return (end[0] >= handle[0]) & (jnp.abs(end[1] - handle[1]) <= 0.04) & (jnp.abs(end[2] - handle[2]) <= 0.06)


def stick_pull_v1(s: RewardInputs) -> RewardOutput:
    """Pull the thermos; success is that of v2."""
    success = (rewards.norm(s.second_object - s.goal) <= 0.12) & _inserted(s)
    return _hold_and_move_v1(s, wide=0.01, narrow=0.001).replace(success=success)


@task(
    "stick-pull-v3",
    scene="sawyer_stick_obj",
    hand_init=HAND_INIT,
    hand_low=(-0.5, 0.35, 0.05),
    rand_low=(-0.1, 0.55, 0.0, 0.35, 0.45, 0.0199),
    rand_high=(0.0, 0.65, 0.001, 0.45, 0.55, 0.0201),
    min_separation=0.1,
    goal_low=(0.35, 0.45, 0.0199),
    goal_high=(0.45, 0.55, 0.0201),
    objects=(STICK_SEEN, Observed(Point("site", "insertion"))),
    points=(Point("body", "stick"), Point("site", "stick_end")),
    main_geom="objGeom",
    place=place_to_pull,
    reward_v1=stick_pull_v1,
)
def stick_pull(s: RewardInputs) -> RewardOutput:
    """Pull a thermos with a stick. Randomised: stick xy, goal xy. Success: stick inserted, handle within 12 cm."""
    bounds = (0.0, 0.05)
    to_thermos = jnp.asarray((0.05, 0.0, 0.0), s.goal.dtype)
    scale = jnp.asarray((1.0, 1.0, 2.0), s.goal.dtype)
    stick_init, handle = s.points_init[STICK], s.second_object
    thermos = handle + to_thermos
    margin = rewards.norm((stick_init - s.object_init - to_thermos) * scale)
    stick_in_place = rewards.tolerance(rewards.norm((s.object - thermos) * scale), bounds, margin)
    to_goal = rewards.tolerance(rewards.norm(s.object - s.goal), bounds, rewards.norm(stick_init - s.goal))
    thermos_to_goal = rewards.tolerance(rewards.norm(thermos - s.goal), bounds, rewards.norm(s.object_init - s.goal))
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.014, pad_success_thresh=0.05, xz_thresh=0.01, density="high"
    )
    tcp_to_stick = rewards.norm(s.object - s.tcp)
    held = (tcp_to_stick < 0.02) & (s.opening > 0.0) & (s.object[2] - 0.01 > stick_init[2])
    grasp = jnp.where(held, 1.0, caging)
    inserted = _inserted(s)
    distance = rewards.norm(handle - s.goal)
    base = rewards.hamacher_product(grasp, stick_in_place)
    pulling = jnp.where(distance <= 0.12, 10.0, 6.0 + base + 2.0 * to_goal + thermos_to_goal)
    return RewardOutput(
        reward=jnp.where(held, jnp.where(inserted, pulling, 1.0 + base + 5.0 * stick_in_place), base),
        success=(distance <= 0.12) & inserted,
        near_object=tcp_to_stick <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (s.object[2] - 0.02 > s.object_init[2]),
        grasp_reward=grasp,
        in_place_reward=stick_in_place,
        obj_to_target=distance,
    )
