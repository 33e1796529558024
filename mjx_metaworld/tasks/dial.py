"""The task with the dial: dial-turn."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, shifted, start
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

KNOB = Point("joint", "knob_Joint_1", local=(0.0, -0.05, 0.0))
PUSH_FROM = (0.05, 0.02, 0.09)  # where the hand starts to push, from the knob
START = 0


def place_dial(rand_vec: Array, settled: Settled) -> Placement:
    """Dial at the goal vector, goal where the turned knob is."""
    dial = rand_vec[:3]
    start_of_push = shifted(settled.points[START] + dial - settled.prop_pos, PUSH_FROM)
    placement = start(settled, goal=shifted(dial, (0.0, 0.03, 0.03)), object_init=dial)
    return put_prop(placement, dial).replace(points_init=start_of_push[None])


def dial_turn_v1(s: RewardInputs) -> RewardOutput:
    """Reach the knob, then move it along y."""
    reach, distance = rewards.norm(s.object - s.tcp), jnp.abs(s.object[1] - s.goal[1])
    turned = v1.progress(distance, jnp.abs(s.object_init[1] - s.goal[1]), wide=0.001, narrow=0.0001)
    return v1.report(-reach + v1.gain(reach < v1.REACHED, turned), distance, 0.07, grasp_success=1.0)


@task(
    "dial-turn-v3",
    scene="sawyer_dial",
    hand_init=float32(0.0, 0.6, 0.2),
    rand_low=(-0.1, 0.7, 0.0),
    rand_high=(0.1, 0.8, 0.0),
    goal_low=(-0.1, 0.73, 0.0299),
    goal_high=(0.1, 0.83, 0.0301),
    objects=(Observed(KNOB, Orientation("wxyz", "body", "dial")),),
    points=(KNOB,),
    stale_reset=True,
    place=place_dial,
    reward_v1=dial_turn_v1,
)
def dial_turn(s: RewardInputs) -> RewardOutput:
    """Turn a dial half around. Randomised: dial xy. Success: the knob within 7 cm of the goal."""
    target_radius, reach_radius = 0.07, 0.005
    distance = rewards.norm(s.object - s.goal)
    way = rewards.norm(s.points_init[START] - s.goal)
    in_place = rewards.tolerance(distance, (0.0, target_radius), jnp.abs(way - target_radius))
    tcp_to_knob = rewards.norm(shifted(s.object, PUSH_FROM) - s.tcp)
    margin = jnp.abs(rewards.norm(s.points_init[START] - s.tcp_init) - reach_radius)
    reach = rewards.tolerance(tcp_to_knob, (0.0, reach_radius), margin, "gaussian")
    grasp = rewards.hamacher_product(reach, rewards.gripper_closing(s.action))
    return RewardOutput(
        reward=10.0 * rewards.hamacher_product(grasp, in_place),
        success=distance <= target_radius,
        near_object=tcp_to_knob <= 0.01,
        grasp_success=1.0,
        grasp_reward=grasp,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
