"""Tasks with the sliding window: window-open, window-close."""

from __future__ import annotations

from typing import Literal

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
    float32,
)

HAND_INIT = float32(0.0, 0.4, 0.2)
SLIDE = 0
HANDLE = 0
WIDTH = 0.2  # the slide's way
OPEN_HANDLE = Point("site", "handleOpenStart")
CLOSE_HANDLE = Point("site", "handleCloseStart")
TARGET_RADIUS = 0.05


def _handle_init(settled: Settled, window: Array) -> Array:
    """`(points, 3)` the points as they settled, moved with the window."""
    return settled.points.at[HANDLE].add(window - settled.prop_pos)


def place_shut_window(rand_vec: Array, settled: Settled) -> Placement:
    """Window at the goal vector and shut, goal one width to the right."""
    window = rand_vec[:3]
    placement = start(settled, goal=shifted(window, (WIDTH, 0.0, 0.0)), object_init=window)
    placement = placement.replace(points_init=_handle_init(settled, window))
    return set_part_joint(put_prop(placement, window), SLIDE, 0.0, stop=False)


def place_open_window(rand_vec: Array, settled: Settled) -> Placement:
    """Window at the goal vector and open, goal at the window; the reference adds the way to a handle read shut."""
    window = rand_vec[:3]
    points = _handle_init(settled, window).at[HANDLE, 0].add(WIDTH)
    placement = start(settled, goal=window, object_init=window).replace(points_init=points)
    return set_part_joint(put_prop(placement, window), SLIDE, WIDTH, stop=False)


def _slide_window(s: RewardInputs, way: Array, reach_shape: Literal["long_tail", "gaussian"]) -> RewardOutput:
    """Bring the handle to the goal in x; `way` is how far it was at reset, by the task's own measure."""
    handle_radius = 0.02
    distance = jnp.abs(s.object[0] - s.goal[0])
    in_place = rewards.tolerance(distance, (0.0, TARGET_RADIUS), jnp.abs(way - TARGET_RADIUS))
    tcp_to_handle = rewards.norm(s.object - s.tcp)
    margin = jnp.abs(rewards.norm(s.points_init[HANDLE] - s.tcp_init) - handle_radius)
    reach = rewards.tolerance(tcp_to_handle, (0.0, handle_radius), margin, reach_shape)
    return RewardOutput(
        reward=10.0 * rewards.hamacher_product(reach, in_place),
        success=distance <= TARGET_RADIUS,
        near_object=tcp_to_handle <= 0.05,
        grasp_success=1.0,
        grasp_reward=reach,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def slide_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then move it along x; here the term for that may be negative."""
    reach, distance = rewards.norm(s.object - s.tcp), jnp.abs(s.object[0] - s.goal[0])
    reward = -reach + jnp.where(reach < v1.REACHED, v1.progress(distance, WIDTH), 0.0)
    return v1.report(reward, distance, TARGET_RADIUS, grasp_success=1.0)


@task(
    "window-open-v3",
    scene="sawyer_window_horizontal",
    hand_init=HAND_INIT,
    rand_low=(-0.1, 0.7, 0.16),
    rand_high=(0.1, 0.9, 0.16),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(OPEN_HANDLE),),
    points=(OPEN_HANDLE,),
    stale_reset=True,
    place=place_shut_window,
    reward_v1=slide_v1,
)
def window_open(s: RewardInputs) -> RewardOutput:
    """Slide a window open. Randomised: window xy. Success: the handle within 5 cm of the goal in x."""
    return _slide_window(s, jnp.abs(s.object_init[0] - s.goal[0]), "long_tail")


@task(
    "window-close-v3",
    scene="sawyer_window_horizontal",
    hand_init=HAND_INIT,
    rand_low=(0.0, 0.75, 0.2),
    rand_high=(0.0, 0.9, 0.2),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(CLOSE_HANDLE),),
    points=(CLOSE_HANDLE,),
    stale_reset=True,
    place=place_open_window,
    reward_v1=slide_v1,
)
def window_close(s: RewardInputs) -> RewardOutput:
    """Slide a window shut. Randomised: window y. Success: the handle within 5 cm of the goal in x."""
    return _slide_window(s, jnp.abs(s.points_init[HANDLE][0] - s.goal[0]), "gaussian")
