"""The task with the lever: lever-pull."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
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
    float32,
)

HAND_LOW = (-0.5, 0.40, -0.15)
HINGE = 2
LEVER_RADIUS = 0.2


def place_lever(rand_vec: Array, settled: Settled) -> Placement:
    """Lever at the goal vector, goal where its end is when it stands upright."""
    lever = rand_vec[:3]
    return put_prop(start(settled, goal=shifted(lever, (0.12, 0.0, 0.25 + LEVER_RADIUS)), object_init=lever), lever)


def lever_pull_v1(s: RewardInputs) -> RewardOutput:
    """Reach the lever's end, then move it; a distance is compared with the angle that v2 takes for success."""
    way = rewards.norm(s.object_init - s.goal)
    moved = v1.move(s, rewards.norm(s.object - s.goal), way, within=np.pi / 24.0)
    return moved.replace(obj_to_target=0.0)


@task(
    "lever-pull-v3",
    scene="sawyer_lever_pull",
    hand_init=float32(0.0, 0.4, 0.2),
    hand_low=HAND_LOW,
    rand_low=(-0.1, 0.7, 0.0),
    rand_high=(0.1, 0.8, 0.0),
    goal_low=HAND_LOW,
    goal_high=HAND_HIGH,
    objects=(Observed(Point("site", "leverStart"), Orientation("xyzw", "geom", "objGeom")),),
    stale_reset=True,
    place=place_lever,
    reward_v1=lever_pull_v1,
)
def lever_pull(s: RewardInputs) -> RewardOutput:
    """Pull a lever up by a right angle. Randomised: lever xy. Success: within 7.5 degrees of upright."""
    end_init = shifted(s.object_init, (0.12, -LEVER_RADIUS, 0.25))
    scale = jnp.asarray((4.0, 1.0, 4.0), s.goal.dtype)
    shoulder = jnp.asarray((0.0, 0.055, 0.07), s.goal.dtype)
    shoulder_to_lever = rewards.norm((s.hand + shoulder - s.object) * scale)
    margin = rewards.norm((s.tcp_init + shoulder - end_init) * scale)
    ready = rewards.tolerance(shoulder_to_lever, (0.0, 0.02), margin)
    error = jnp.abs(-s.part_qpos[HINGE] - np.pi / 2.0)
    engagement = rewards.tolerance(error, (0.0, np.pi / 48.0), np.pi / 2.0 - np.pi / 12.0)
    in_place = rewards.tolerance(rewards.norm(s.object - s.goal), (0.0, 0.04), rewards.norm(end_init - s.goal))
    return RewardOutput(
        reward=10.0 * rewards.hamacher_product(ready, in_place),
        success=error <= np.pi / 24.0,
        near_object=shoulder_to_lever < 0.03,
        grasp_success=ready > 0.9,
        grasp_reward=ready,
        in_place_reward=engagement,
        obj_to_target=shoulder_to_lever,
    )
