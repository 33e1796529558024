"""Tasks with a peg and a box with a hole: peg-insert-side, peg-unplug-side."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.physics.model import FREE_DOFS, FREE_QPOS
from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_free_body, put_prop, shifted, start
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

HEAD, ZERO_1, ONE_1, ZERO_2, ONE_2 = range(5)
POINTS = tuple(
    Point("site", name)
    for name in (
        "pegHead",
        "bottom_right_corner_collision_box_1",
        "top_left_corner_collision_box_1",
        "bottom_right_corner_collision_box_2",
        "top_left_corner_collision_box_2",
    )
)
HOLE_IN_BOX = (0.03, 0.0, 0.13)
HAND_INIT = (0.0, 0.6, 0.2)
TARGET_RADIUS = 0.07


def place_peg_and_box(rand_vec: Array, settled: Settled) -> Placement:
    """Peg at the first place of the goal vector, box at the second, goal at the box's hole.

    `points_init` stays as settled: the reference reads the head's initial position before it moves the peg, so its
    margin is always that of the peg's place in the scene file.
    """
    peg, box = rand_vec[:3], rand_vec[3:6]
    placement = start(settled, goal=shifted(box, HOLE_IN_BOX), object_init=peg)
    return put_prop(put_free_body(placement, peg), box)


def peg_insert_side_v1(s: RewardInputs) -> RewardOutput:
    """Lift the peg by 11 cm, bring its head to the goal, then push its grasped end there; success goes by that end."""
    floor = s.object_init[2]
    height = floor + 0.11
    reach, distance = rewards.norm(s.object - s.tcp), rewards.norm(s.object - s.goal)
    lifted = v1.lift(s.object[2], floor, height, reach, distance)
    head_distance = rewards.norm(s.points[HEAD] - s.goal)
    inserted = jnp.where(head_distance <= 0.05, distance, head_distance)
    place = v1.progress(inserted, v1.carry_way(s.object_init, height, s.goal))
    carrying = v1.gain(lifted.complete & (reach < v1.CARRIED), place)
    return v1.report(v1.approach(s, s.object, climb=1.0) + lifted.reward + carrying, distance, 0.07)


@task(
    "peg-insert-side-v3",
    scene="sawyer_peg_insertion_side",
    hand_init=HAND_INIT,
    rand_low=(0.0, 0.5, 0.02, -0.35, 0.4, -0.001),
    rand_high=(0.2, 0.7, 0.02, -0.25, 0.7, 0.001),
    min_separation=0.1,
    goal_low=(-0.32, 0.4, 0.129),
    goal_high=(-0.22, 0.7, 0.131),
    objects=(Observed(Point("site", "pegGrasp"), Orientation("xyzw", "site", "pegGrasp")),),
    points=POINTS,
    place=place_peg_and_box,
    reward_v1=peg_insert_side_v1,
)
def peg_insert_side(s: RewardInputs) -> RewardOutput:
    """Insert a peg sideways into a box. Randomised: peg xy, box. Success: the peg's head within 7 cm of the goal."""
    head = s.points[HEAD]
    tcp_to_peg = rewards.norm(s.object - s.tcp)
    scale = jnp.asarray((1.0, 2.0, 2.0), head.dtype)
    distance = rewards.norm((head - s.goal) * scale)
    margin = rewards.norm((s.points_init[HEAD] - s.goal) * scale)
    box_1 = rewards.rect_prism_tolerance(head, zero=s.points[ZERO_1], one=s.points[ONE_1])
    box_2 = rewards.rect_prism_tolerance(head, zero=s.points[ZERO_2], one=s.points[ONE_2])
    in_place = rewards.hamacher_product(
        rewards.tolerance(distance, (0.0, TARGET_RADIUS), margin), rewards.hamacher_product(box_2, box_1)
    )
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.0075, pad_success_thresh=0.03, xz_thresh=0.005, density="high"
    )
    held_up = (s.opening > 0.0) & (s.object[2] - 0.01 > s.object_init[2])
    lifted = (tcp_to_peg < 0.08) & held_up
    grasp = jnp.where(lifted, 1.0, caging)
    reward = rewards.hamacher_product(grasp, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
    reward = jnp.where(distance <= 0.07, 10.0, reward)
    return RewardOutput(
        reward=reward,
        success=distance <= 0.07,
        near_object=tcp_to_peg <= 0.03,
        grasp_success=(tcp_to_peg < 0.02) & held_up,
        grasp_reward=grasp,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def place_plugged_peg(rand_vec: Array, settled: Settled) -> Placement:
    """Box at the goal vector with the peg in its hole, goal beside it; the peg keeps its angular velocity."""
    box = rand_vec[:3]
    peg = shifted(box, (0.044, 0.0, 0.131))
    end = shifted(peg, (0.04, 0.0, 0.0))
    placement = put_prop(start(settled, goal=shifted(peg, (0.15, 0.0, 0.0)), object_init=end), box)
    upright = jnp.asarray((1.0, 0.0, 0.0, 0.0), peg.dtype)
    first = FREE_DOFS.start
    return placement.replace(
        qpos=placement.qpos.at[FREE_QPOS].set(jnp.concatenate([peg, upright])),
        qvel=placement.qvel.at[first : first + 3].set(0.0),
    )


def peg_unplug_side_v1(s: RewardInputs) -> RewardOutput:
    """Reach the peg's end, then move it in xy."""
    reach, distance = rewards.norm(s.object - s.tcp), rewards.norm(s.object[:2] - s.goal[:2])
    unplugged = v1.progress(distance, rewards.norm(s.object_init - s.goal))
    reward = v1.approach(s, s.object, rest=HAND_INIT[2]) + v1.gain(reach < v1.REACHED, unplugged)
    return v1.report(reward, distance, 0.07)


@task(
    "peg-unplug-side-v3",
    scene="sawyer_peg_unplug_side",
    hand_init=HAND_INIT,
    rand_low=(-0.25, 0.6, -0.001),
    rand_high=(-0.15, 0.8, 0.001),
    goal_low=(-0.056, 0.6, 0.13),
    goal_high=(0.044, 0.8, 0.132),
    objects=(Observed(Point("site", "pegEnd"), Orientation("wxyz", "body", "plug1")),),
    settles_against_prop=True,
    place=place_plugged_peg,
    reward_v1=peg_unplug_side_v1,
)
def peg_unplug_side(s: RewardInputs) -> RewardOutput:
    """Pull a peg out of a box sideways. Randomised: box xy. Success: the peg's end within 7 cm of the goal."""
    tcp_to_peg = rewards.norm(s.object - s.tcp)
    distance = rewards.norm(s.object - s.goal)
    caging = rewards.caging_reward(
        s,
        s.object,
        s.object_init,
        obj_radius=0.025,
        pad_success_thresh=0.05,
        xz_thresh=0.005,
        desired_gripper_effort=0.8,
        density="high",
    )
    in_place = rewards.tolerance(distance, (0.0, 0.05), rewards.norm(s.object_init - s.goal))
    grasped = (s.opening > 0.5) & (s.object[0] - s.object_init[0] > 0.015)
    reward = 2.0 * caging + jnp.where(grasped & (tcp_to_peg < 0.035), 1.0 + 5.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance <= 0.05, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_peg <= 0.03,
        grasp_success=grasped,
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )
