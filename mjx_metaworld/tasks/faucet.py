"""Tasks with the faucet: faucet-open, faucet-close."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, shifted, start
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
)

HAND_INIT = (0.0, 0.4, 0.2)
HAND_LOW = (-0.5, 0.40, -0.15)
HANDLE_LENGTH = 0.175
BASE = Orientation("wxyz", "body", "faucetBase")


def place_to_open(rand_vec: Array, settled: Settled) -> Placement:
    """Faucet at the goal vector, goal a handle's length to the right."""
    faucet = rand_vec[:3]
    return put_prop(start(settled, goal=shifted(faucet, (HANDLE_LENGTH, 0.0, 0.125)), object_init=faucet), faucet)


def place_to_close(rand_vec: Array, settled: Settled) -> Placement:
    """Faucet at the goal vector, goal a handle's length to the left."""
    faucet = rand_vec[:3]
    return put_prop(start(settled, goal=shifted(faucet, (-HANDLE_LENGTH, 0.0, 0.125)), object_init=faucet), faucet)


def _turn(s: RewardInputs, handle: Array) -> RewardOutput:
    target_radius, reach_radius = 0.07, 0.01
    distance = rewards.norm(handle - s.goal)
    way = rewards.norm(s.object_init - s.goal)
    in_place = rewards.tolerance(distance, (0.0, target_radius), jnp.abs(way - target_radius))
    tcp_to_handle = rewards.norm(handle - s.tcp)
    margin = jnp.abs(rewards.norm(s.object_init - s.tcp_init) - reach_radius)
    reach = rewards.tolerance(tcp_to_handle, (0.0, reach_radius), margin, "gaussian")
    success = distance <= target_radius
    return RewardOutput(
        reward=jnp.where(success, 10.0, 2.0 * (2.0 * reach + 3.0 * in_place)),
        success=success,
        near_object=tcp_to_handle <= 0.01,
        grasp_success=1.0,
        grasp_reward=reach,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def turn_v1(s: RewardInputs) -> RewardOutput:
    """Reach the handle, then turn it; the way counts from the faucet's foot."""
    way = rewards.norm(s.object_init - s.goal)
    return v1.move(s, rewards.norm(s.object - s.goal), way, within=0.07, grasp_success=1.0)


@task(
    "faucet-open-v3",
    scene="sawyer_faucet",
    hand_init=HAND_INIT,
    hand_low=HAND_LOW,
    rand_low=(-0.05, 0.8, 0.0),
    rand_high=(0.05, 0.85, 0.0),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "handleStartOpen", (0.0, 0.0, -0.01)), BASE),),
    stale_reset=True,
    place=place_to_open,
    reward_v1=turn_v1,
    goal_site="goal_open",
)
def faucet_open(s: RewardInputs) -> RewardOutput:
    """Turn a faucet counter-clockwise. Randomised: faucet xy. Success: the handle within 7 cm of the goal."""
    return _turn(s, shifted(s.object, (-0.04, 0.0, 0.03)))


@task(
    "faucet-close-v3",
    scene="sawyer_faucet",
    hand_init=HAND_INIT,
    hand_low=HAND_LOW,
    rand_low=(-0.1, 0.8, 0.0),
    rand_high=(0.1, 0.85, 0.0),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "handleStartClose", (0.0, 0.0, -0.01)), BASE),),
    place=place_to_close,
    reward_v1=turn_v1,
    goal_site="goal_close",
)
def faucet_close(s: RewardInputs) -> RewardOutput:
    """Turn a faucet clockwise. Randomised: faucet xy. Success: the handle within 7 cm of the goal."""
    return _turn(s, s.object)
