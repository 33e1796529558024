"""Tasks with the drawer: drawer-open, drawer-close."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, shifted, start
from mjx_metaworld.tasks.registry import task
from mjx_metaworld.tasks.spec import (
    HAND_HIGH,
    HAND_LOW,
    UNOBSERVED,
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
RAND_LOW, RAND_HIGH = (-0.1, 0.9, 0.0), (0.1, 0.9, 0.0)
SLIDE = 0
OPEN_BY = 0.2  # drawer-open's way from the shut handle to the goal
PULLED_OUT_BY = 0.15  # how far drawer-close starts open


def place_shut_drawer(rand_vec: Array, settled: Settled) -> Placement:
    """Drawer at the goal vector as it settled, goal in front of its handle."""
    drawer = rand_vec[:3]
    placement = start(settled, goal=shifted(drawer, (0.0, -0.16 - OPEN_BY, 0.09)), object_init=drawer)
    return put_prop(placement, drawer)


def place_open_drawer(rand_vec: Array, settled: Settled) -> Placement:
    """Drawer at the goal vector and pulled out, goal where its shut handle is."""
    drawer = rand_vec[:3]
    handle = shifted(drawer, (0.0, -0.01 - 0.16 - PULLED_OUT_BY, 0.14))  # drawer_link is 1 cm in front of the drawer
    placement = start(settled, goal=shifted(drawer, (0.0, -0.16, 0.09)), object_init=handle)
    return set_part_joint(put_prop(placement, drawer), SLIDE, -PULLED_OUT_BY, stop=False)


def drawer_open_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then pull it along y."""
    return v1.move(s, jnp.abs(s.object[1] - s.goal[1]), OPEN_BY, within=0.03)


@task(
    "drawer-open-v3",
    scene="sawyer_drawer",
    hand_init=HAND_INIT,
    rand_low=RAND_LOW,
    rand_high=RAND_HIGH,
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("body", "drawer_link", (0.0, -0.16, 0.0)), Orientation("wxyz", "body", "drawer_link")),),
    stale_reset=True,
    place=place_shut_drawer,
    reward_v1=drawer_open_v1,
)
def drawer_open(s: RewardInputs) -> RewardOutput:
    """Pull a drawer open. Randomised: drawer x. Success: the handle within 3 cm of the goal."""
    error = rewards.norm(s.object - s.goal)
    opening = rewards.tolerance(error, (0.0, 0.02), OPEN_BY)
    # Errors in xy weigh more than in z, so that the gripper may come down on the handle from above.
    scale = jnp.asarray((3.0, 3.0, 1.0), s.goal.dtype)
    handle_init = shifted(s.goal, (0.0, OPEN_BY, 0.0))
    margin = rewards.norm((handle_init - s.tcp_init) * scale)
    caging = rewards.tolerance(rewards.norm((s.object - s.hand) * scale), (0.0, 0.01), margin)
    return RewardOutput(
        reward=5.0 * (caging + opening),
        success=error <= 0.03,
        near_object=rewards.norm(s.object - s.hand) <= 0.03,
        grasp_success=s.opening > 0.0,
        grasp_reward=caging,
        in_place_reward=opening,
        obj_to_target=error,
    )


def drawer_close_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then push it along y."""
    distance = jnp.abs(s.object[1] - s.goal[1])
    return v1.move(s, distance, PULLED_OUT_BY, within=0.05 + 0.015, grasp_success=1.0)


@task(
    "drawer-close-v3",
    scene="sawyer_drawer",
    hand_init=HAND_INIT,
    rand_low=RAND_LOW,
    rand_high=RAND_HIGH,
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("body", "drawer_link", (0.0, -0.16, 0.05)), UNOBSERVED),),
    place=place_open_drawer,
    reward_v1=drawer_close_v1,
)
def drawer_close(s: RewardInputs) -> RewardOutput:
    """Push a drawer shut. Randomised: drawer x. Success: the handle within 6.5 cm of the goal."""
    target_radius, reach_radius = 0.05, 0.005
    distance = rewards.norm(s.object - s.goal)
    way = rewards.norm(s.object_init - s.goal)
    in_place = rewards.tolerance(distance, (0.0, target_radius), jnp.abs(way - target_radius))
    tcp_to_handle = rewards.norm(s.object - s.tcp)
    margin = jnp.abs(rewards.norm(s.object_init - s.tcp_init) - reach_radius)
    reach = rewards.tolerance(tcp_to_handle, (0.0, reach_radius), margin, "gaussian")
    grasp = rewards.hamacher_product(reach, rewards.gripper_closing(s.action))
    success = distance <= target_radius + 0.015
    return RewardOutput(
        reward=10.0 * jnp.where(success, 1.0, rewards.hamacher_product(grasp, in_place)),
        success=success,
        near_object=tcp_to_handle <= 0.01,
        grasp_success=1.0,
        grasp_reward=grasp,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
