"""Tasks with a handle that slides up and down: handle-press, handle-pull, each also from the side."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, shifted, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    HAND_HIGH,
    HAND_LOW,
    Observed,
    Placement,
    Point,
    RewardInputs,
    RewardOutput,
    Settled,
)

HAND_INIT = (0.0, 0.6, 0.2)
SLIDE = 0
TARGET_RADIUS = 0.02
GOAL, HANDLE = range(2)
PRESS_POINTS = (Point("site", "goalPress"), Point("site", "handleStart"))
PULL_POINTS = (Point("site", "goalPull"),)
UP, DOWN = -0.001, -0.1  # of the slide
UP_ABOVE_PRESS_GOAL = 0.096  # the handle's start in that position above the site goalPress
GOAL_Y, CENTRE_Y = 0.216, 0.17  # distance of goalPull and of the handle's centre in front of the box
CENTRE_DOWN_HEIGHT = 0.05
LOCAL_START_HEIGHT = 0.022  # of the site handleStart in the frame of its body


def place_to_press(rand_vec: Array, settled: Settled) -> Placement:
    """Box at the goal vector with its handle up, goal where the pressed handle is."""
    box = rand_vec[:3]
    goal = settled.points[GOAL] + box - settled.prop_pos
    handle = shifted(goal, (0.0, 0.0, UP_ABOVE_PRESS_GOAL))
    placement = start(settled, goal=goal, object_init=box).replace(points_init=jnp.stack([goal, handle]))
    return set_part_joint(put_prop(placement, box), SLIDE, UP, stop=True)


def place_to_pull(rand_vec: Array, settled: Settled) -> Placement:
    """Box at the goal vector with its handle down, goal where the pulled handle is."""
    box = rand_vec[:3]
    goal = settled.points[GOAL] + box - settled.prop_pos
    return set_part_joint(put_prop(start(settled, goal=goal, object_init=box), box), SLIDE, DOWN, stop=True)


def place_to_pull_side(rand_vec: Array, settled: Settled) -> Placement:
    """As `place_to_pull`, but the reference takes the handle's centre for the object, not the box."""
    placement = place_to_pull(rand_vec, settled)
    box = rand_vec[:3]
    centre = (placement.goal - box) * (CENTRE_Y / GOAL_Y)
    return placement.replace(object_init=box + centre.at[2].set(CENTRE_DOWN_HEIGHT))


def _press(s: RewardInputs) -> RewardOutput:
    handle_radius = 0.02
    distance = jnp.abs(s.object[2] - s.goal[2])
    way = jnp.abs(s.points_init[HANDLE][2] - s.goal[2])
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), jnp.abs(way - TARGET_RADIUS))
    tcp_to_handle = rewards.norm(s.object - s.tcp)
    margin = jnp.abs(rewards.norm(s.points_init[HANDLE] - s.tcp_init) - handle_radius)
    reach = rewards.tolerance(tcp_to_handle, (0.0, handle_radius), margin)
    success = distance <= TARGET_RADIUS
    return RewardOutput(
        reward=10.0 * jnp.where(success, 1.0, rewards.hamacher_product(reach, in_place)),
        success=success,
        near_object=tcp_to_handle <= 0.05,
        grasp_success=1.0,
        grasp_reward=reach,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def _move_v1(s: RewardInputs, way: Array | float, *, within: float, grasp_success: float = 0.0) -> RewardOutput:
    """Reach the handle with the left finger tip, then move it along z by `way`."""
    distance = jnp.abs(s.object[2] - s.goal[2])
    return v1.move(s, distance, way, within=within, reach=v1.left_reach(s), grasp_success=grasp_success)


def press_v1(s: RewardInputs) -> RewardOutput:
    """Press the handle."""
    way = jnp.abs(s.points_init[HANDLE][2] - s.goal[2])
    return _move_v1(s, way, within=TARGET_RADIUS, grasp_success=1.0)


@task(
    "handle-press-v3",
    scene="sawyer_handle_press",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.8, -0.001),
    rand_high=(0.1, 0.9, 0.001),
    goal_low=(-0.1, 0.55, 0.04),
    goal_high=(0.1, 0.70, 0.08),
    objects=(Observed(Point("site", "handleStart")),),
    points=PRESS_POINTS,
    settles_against_prop=True,
    place=place_to_press,
    reward_v1=press_v1,
    goal_site=None,
)
def handle_press(s: RewardInputs) -> RewardOutput:
    """Press a handle down. Randomised: box xy. Success: the handle within 2 cm of the goal in z."""
    return _press(s)


@task(
    "handle-press-side-v3",
    scene="sawyer_handle_press_sideways",
    hand_init=HAND_INIT,
    rand_low=(-0.35, 0.65, -0.001),
    rand_high=(-0.25, 0.75, 0.001),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "handleStart")),),
    points=PRESS_POINTS,
    settles_against_prop=True,
    place=place_to_press,
    reward_v1=press_v1,
    goal_site=None,
)
def handle_press_side(s: RewardInputs) -> RewardOutput:
    """Press a handle down from the side. Randomised: box xy. Success: the handle within 2 cm of the goal in z."""
    return _press(s)


def _pull(
    s: RewardInputs, distance: Array, way: Array, radius: float, caging: Array, raised: Array, within: float
) -> RewardOutput:
    """`radius` bounds the reward's target, `within` success, `raised` goes with the bonus for pulling."""
    in_place = rewards.tolerance(distance, (0.0, radius), way)
    tcp_to_handle = rewards.norm(s.object - s.tcp)
    pulling = (tcp_to_handle < 0.035) & (s.opening > 0.0) & raised
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(pulling, 1.0 + 5.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= within,
        near_object=tcp_to_handle <= 0.05,
        grasp_success=(s.opening > 0.0) & (s.object[2] - 0.03 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def handle_pull_v1(s: RewardInputs) -> RewardOutput:
    """Pull the handle; the reference takes its way from a height in its own frame to one in the world."""
    return _move_v1(s, jnp.abs(LOCAL_START_HEIGHT - s.goal[2]), within=0.05)


@task(
    "handle-pull-v3",
    scene="sawyer_handle_press",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.8, -0.001),
    rand_high=(0.1, 0.9, 0.001),
    goal_low=(-0.1, 0.55, 0.04),
    goal_high=(0.1, 0.70, 0.18),
    objects=(Observed(Point("site", "handleRight")),),
    points=PULL_POINTS,
    settles_against_prop=True,
    place=place_to_pull,
    reward_v1=handle_pull_v1,
    goal_site=None,
)
def handle_pull(s: RewardInputs) -> RewardOutput:
    """Pull a handle up. Randomised: box xy. Success: the handle within 5 cm of the goal in z."""
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.022, pad_success_thresh=0.05, xz_thresh=0.01, density="high"
    )
    distance, way = jnp.abs(s.goal[2] - s.object[2]), jnp.abs(s.goal[2] - s.object_init[2])
    raised = s.object[1] - 0.01 > s.object_init[2]  # the reference compares y with z, so this always holds
    return _pull(s, distance, way, 0.05, caging, raised, within=0.05)


@task(
    "handle-pull-side-v3",
    scene="sawyer_handle_press_sideways",
    hand_init=HAND_INIT,
    rand_low=(-0.35, 0.65, 0.0),
    rand_high=(-0.25, 0.75, 0.0),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "handleCenter")),),
    points=PULL_POINTS,
    settles_against_prop=True,
    place=place_to_pull_side,
    reward_v1=partial(_move_v1, way=-DOWN, within=0.08),
    goal_site=None,
)
def handle_pull_side(s: RewardInputs) -> RewardOutput:
    """Pull a handle up from the side. Randomised: box xy. Success: the handle within 8 cm of the goal."""
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.032, pad_success_thresh=0.06, xz_thresh=0.01, density="high"
    )
    distance, way = rewards.norm(s.object - s.goal), rewards.norm(s.object_init - s.goal)
    raised = s.object[2] - 0.01 > s.object_init[2]
    return _pull(s, distance, way, 0.05, caging, raised, within=0.08)
