"""Tasks that lift an object to a place: pick-out-of-hole, shelf-place, bin-picking, basketball, box-close."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

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
    float32,
)

HAND_INIT = (0.0, 0.6, 0.2)
CUBE = Observed(Point("body", "obj"), Orientation("wxyz", "body", "obj"))


def _funnel(radius: Array, threshold: float, steepness: float, height: float) -> Array:
    """Height of a funnel-shaped floor at a distance from its axis; 0 within `threshold`."""
    outside = radius > threshold
    return jnp.where(outside, steepness * jnp.log(jnp.where(outside, radius - threshold, 1.0)) + height, 0.0)


def _above(height: Array, floor: Array, margin: Array | float) -> Array:
    """1 above the floor, falling below it."""
    return jnp.where(height >= floor, 1.0, rewards.tolerance(floor - height, (0.0, 0.01), margin))


def place_in_hole(rand_vec: Array, settled: Settled) -> Placement:
    """Cube at the first place of the goal vector, goal at the second."""
    cube, goal = rand_vec[:3], rand_vec[3:6]
    return put_free_body(start(settled, goal=goal, object_init=cube), cube)


def pick_out_of_hole_v1(s: RewardInputs) -> RewardOutput:
    """Lift the cube by 11 cm, then carry it to the goal."""
    return v1.pick_and_place(s, lift_by=0.11, within=0.07, datum=s.object_init[2] - 0.02)


@task(
    "pick-out-of-hole-v3",
    scene="sawyer_pick_out_of_hole",
    hand_init=HAND_INIT,
    hand_low=(-0.5, 0.40, -0.05),
    rand_low=(0.0, 0.75, 0.02, -0.1, 0.5, 0.15),
    rand_high=(0.0, 0.75, 0.02, 0.1, 0.6, 0.3),
    min_separation=0.15,
    goal_low=(-0.1, 0.5, 0.15),
    goal_high=(0.1, 0.6, 0.3),
    objects=(CUBE,),
    place=place_in_hole,
    reward_v1=pick_out_of_hole_v1,
)
def pick_out_of_hole(s: RewardInputs) -> RewardOutput:
    """Lift a cube out of a hole. Randomised: goal. Success: the cube within 7 cm of the goal."""
    distance = rewards.norm(s.object - s.goal)
    tcp_to_cube = rewards.norm(s.object - s.tcp)
    in_place = rewards.tolerance(distance, (0.0, 0.02), rewards.norm(s.object_init - s.goal))
    floor = _funnel(rewards.norm(s.tcp[:2] - s.object_init[:2]), 0.03, 0.015, 0.15)
    caging = rewards.caging_reward(
        s,
        s.object,
        s.object_init,
        obj_radius=0.015,
        pad_success_thresh=0.02,
        xz_thresh=0.03,
        desired_gripper_effort=0.1,
        density="high",
    )
    grasped = (tcp_to_cube < 0.04) & (s.object[2] - 0.02 > s.object_init[2]) & (s.opening >= 0.33)
    bonus = 1.0 + 5.0 * rewards.hamacher_product(in_place, _above(s.tcp[2], floor, 0.02))
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(grasped, bonus, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < 0.05, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_cube <= 0.03,
        grasp_success=grasped,
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def place_before_shelf(rand_vec: Array, settled: Settled) -> Placement:
    """Block at the goal vector in xy, at the height at which it settled; goal on the shelf."""
    block, goal = rand_vec[:3].at[2].set(settled.object_height), rand_vec[3:6]
    placement = put_free_body(start(settled, goal=goal, object_init=block), block)
    return put_prop(placement, shifted(goal, (0.0, 0.0, -0.3)))


@task(
    "shelf-place-v3",
    scene="sawyer_shelf_placing",
    hand_init=float32(*HAND_INIT),
    rand_low=(-0.1, 0.5, 0.019, -0.1, 0.8, 0.299),
    rand_high=(0.1, 0.6, 0.021, 0.1, 0.9, 0.301),
    min_separation=0.1,
    goal_low=(-0.1, 0.8, 0.299),
    goal_high=(0.1, 0.9, 0.301),
    objects=(Observed(Point("body", "obj"), Orientation("xyzw", "geom", "objGeom")),),
    main_geom="objGeom",
    place=place_before_shelf,
    reward_v1=partial(v1.pick_and_place, lift_by=0.04, within=0.07),
    goal_site=None,
)
def shelf_place(s: RewardInputs) -> RewardOutput:
    """Put a block on a shelf. Randomised: block xy, shelf xy. Success: the block within 7 cm of the goal."""
    radius, shelf = 0.05, 0.24
    distance = rewards.norm(s.object - s.goal)
    tcp_to_block = rewards.norm(s.object - s.tcp)
    in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm(s.object_init - s.goal))
    caging = rewards.caging_reward(s, s.object, s.object_init, obj_radius=0.02, pad_success_thresh=0.05, xz_thresh=0.01)
    base = rewards.hamacher_product(caging, in_place)
    # In front of the shelf, below its board, being in place counts less; under it not at all.
    x, y, z = s.object
    low = (z > 0.0) & (z < shelf) & (jnp.abs(x - s.goal[0]) < 0.15)
    front = s.goal[1] - 3.0 * radius
    before = low & (front < y) & (y < s.goal[1])
    loss = rewards.hamacher_product((y - front) / (3.0 * radius), (shelf - z) / shelf)
    in_place = jnp.where(before, jnp.clip(in_place - loss, 0.0, 1.0), in_place)
    in_place = jnp.where(low & (y > s.goal[1]), 0.0, in_place)
    lifted = (tcp_to_block < 0.025) & (s.opening > 0.0) & (z - 0.01 > s.object_init[2])
    reward = base + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= 0.07,
        near_object=tcp_to_block <= 0.03,
        grasp_success=s.touching & (s.opening > 0.0) & (z - 0.02 > s.object_init[2]),
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


BIN = (0.12, 0.7, 0.0)


def place_in_bin(rand_vec: Array, settled: Settled) -> Placement:
    """Cube at the goal vector in xy, at the height at which it settled; goal in the other bin."""
    cube = rand_vec[:3].at[2].set(settled.object_height)
    return put_free_body(start(settled, goal=jnp.asarray(BIN, cube.dtype), object_init=cube), cube)


def bin_picking_v1(s: RewardInputs) -> RewardOutput:
    """Lift the cube by 10 cm, carry it over the bin, let go."""
    z, floor = s.object[2], s.object_init[2]
    height = floor + 0.1
    reach, distance = rewards.norm(s.object - s.tcp), rewards.norm(s.object[:2] - s.goal[:2])
    lifted = v1.lift(z, floor, height, reach, distance)
    over_bin = jnp.all(jnp.abs(s.object[:2] - s.goal[:2]) < 0.05)
    placed = over_bin & (z < floor + 0.05)
    way = rewards.norm(s.object_init[:2] - s.goal[:2]) + height
    place = jnp.maximum(v1.progress(distance, way), 0.0)
    opening = -200.0 * s.action[3]
    carrying = jnp.where(lifted.complete & (reach < v1.CARRIED), place + jnp.where(over_bin, opening, 0.0), 0.0)
    reward = v1.approach(s, s.object, above=0.06, climb=1.0) + lifted.reward + carrying
    return v1.report(jnp.where(placed, opening + place, reward), distance, 0.05).replace(near_object=0.0)


@task(
    "bin-picking-v3",
    scene="sawyer_bin_picking",
    hand_init=HAND_INIT,
    hand_low=(-0.5, 0.40, 0.07),
    rand_low=(-0.21, 0.65, 0.02, 0.1199, 0.699, -0.001),
    rand_high=(-0.03, 0.75, 0.02, 0.1201, 0.701, 0.001),
    goal_low=(0.1199, 0.699, -0.001),
    goal_high=(0.1201, 0.701, 0.001),
    objects=(CUBE,),
    place=place_in_bin,
    reward_v1=bin_picking_v1,
    goal_site=None,
)
def bin_picking(s: RewardInputs) -> RewardOutput:
    """Carry a cube from one bin to the other. Randomised: cube xy. Success: the cube within 5 cm of the goal."""
    radius = 0.05
    distance = rewards.norm(s.object - s.goal)
    # The reference takes the margin when it first evaluates the episode, after one step.
    in_place = rewards.tolerance(distance, (0.0, radius), s.first_distance)
    axes = (s.object_init, s.goal)
    floor_1, floor_2 = (_funnel(rewards.norm(s.hand[:2] - axis[:2]), 0.03, 0.02, 0.2) for axis in axes)
    above_floor = _above(s.hand[2], jnp.minimum(floor_1, floor_2), 0.05)
    caging = rewards.caging_reward(
        s,
        s.object,
        s.object_init,
        obj_radius=0.015,
        pad_success_thresh=0.05,
        xz_thresh=0.01,
        desired_gripper_effort=0.7,
        density="high",
    )
    near = rewards.norm(s.object - s.hand) < 0.04
    grasped = near & (s.object[2] - 0.02 > s.object_init[2]) & (s.opening >= 0.43)
    bonus = 1.0 + 5.0 * rewards.hamacher_product(above_floor, in_place)
    reward = rewards.hamacher_product(caging, in_place) + jnp.where(grasped, bonus, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= 0.05,
        near_object=near,
        grasp_success=grasped,
        grasp_reward=caging,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


BALL_HEIGHT = float32(0.0, 0.6, 0.03)[2]
HOOP = 0


def place_ball_and_hoop(rand_vec: Array, settled: Settled) -> Placement:
    """Ball at the first place of the goal vector in xy, basket at the second, goal at its hoop."""
    ball, basket = rand_vec[:3].at[2].set(BALL_HEIGHT), rand_vec[3:6]
    goal = settled.points[HOOP] + basket - settled.prop_pos
    return put_prop(put_free_body(start(settled, goal=goal, object_init=ball), ball), basket)


@task(
    "basketball-v3",
    scene="sawyer_basketball",
    hand_init=float32(*HAND_INIT),
    rand_low=(-0.1, 0.6, 0.0299, -0.1, 0.85, 0.0),
    rand_high=(0.1, 0.7, 0.0301, 0.1, 0.9 + 1e-7, 0.0),
    min_separation=0.15,
    goal_low=(-0.1, 0.767, 0.2499),
    goal_high=(0.1, 0.817 + 1e-7, 0.2501),
    objects=(Observed(Point("body", "bsktball"), Orientation("wxyz", "body", "bsktball")),),
    points=(Point("site", "goal"),),
    place=place_ball_and_hoop,
    reward_v1=partial(v1.pick_and_place, lift_by=0.3, within=0.08),
)
def basketball(s: RewardInputs) -> RewardOutput:
    """Dunk a ball into a basket. Randomised: ball xy, basket xy. Success: within 8 cm of the hoop, z doubled."""
    radius = 0.08
    hoop = s.goal.at[2].set(0.3)
    scale = jnp.asarray((1.0, 1.0, 2.0), hoop.dtype)
    distance = rewards.norm((s.object - hoop) * scale)
    in_place = rewards.tolerance(distance, (0.0, radius), rewards.norm((s.object_init - hoop) * scale))
    tcp_to_ball = rewards.norm(s.object - s.tcp)
    caging = rewards.caging_reward(
        s, s.object, s.object_init, obj_radius=0.025, pad_success_thresh=0.06, xz_thresh=0.005, density="high"
    )
    lifted = (tcp_to_ball < 0.035) & (s.opening > 0.0) & (s.object[2] - 0.01 > s.object_init[2])
    grasp = jnp.where(lifted, 1.0, caging)
    reward = rewards.hamacher_product(grasp, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
    return RewardOutput(
        reward=jnp.where(distance < radius, 10.0, reward),
        success=distance <= radius,
        near_object=tcp_to_ball <= 0.05,
        grasp_success=(s.opening > 0.0) & (s.object[2] - 0.03 > s.object_init[2]),
        grasp_reward=grasp,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


LID_HEIGHT = float32(0.0, 0.55, 0.02)[2]
LID_HANDLE, LID_BODY = range(2)


def place_lid_and_box(rand_vec: Array, settled: Settled) -> Placement:
    """Lid at the first place of the goal vector in xy, box at the second, goal on the box."""
    lid, goal = rand_vec[:3].at[2].set(LID_HEIGHT), rand_vec[3:6]
    box = jnp.concatenate([goal[:2], settled.prop_pos[2:]])
    placement = start(settled, goal=goal, object_init=lid)
    placement = placement.replace(points_init=settled.points + lid - settled.points[LID_BODY])
    return put_prop(put_free_body(placement, lid), box)


def box_close_v1(s: RewardInputs) -> RewardOutput:
    """Lift the lid, then carry it to the goal; the reference wants its origin higher than its handle was at reset."""
    carried = v1.pick_and_place(s, lift_by=0.12, within=0.08, floor=s.points_init[LID_HANDLE][2])
    return v1.report_success(carried.reward, rewards.norm(s.object - s.goal) < 0.08)


@task(
    "box-close-v3",
    scene="sawyer_box",
    hand_init=float32(*HAND_INIT),
    rand_low=(-0.05, 0.5, 0.02, -0.1, 0.7, 0.133),
    rand_high=(0.05, 0.55, 0.02, 0.1, 0.8, 0.133),
    min_separation=0.25,
    goal_low=(-0.1, 0.7, 0.133),
    goal_high=(0.1, 0.8, 0.133),
    objects=(Observed(Point("body", "top_link"), Orientation("wxyz", "body", "top_link")),),
    points=(Point("geom", "BoxHandleGeom"), Point("body", "boxbodytop")),
    extra_substeps=5,
    settles_against_prop=True,
    place=place_lid_and_box,
    reward_v1=box_close_v1,
)
def box_close(s: RewardInputs) -> RewardOutput:
    """Put the lid on a box. Randomised: lid xy, box xy. Success: the lid within 8 cm of the goal."""
    grab = (jnp.clip(s.action[3], -1.0, 1.0) + 1.0) / 2.0
    tilt = rewards.norm(s.object_quat - jnp.asarray((0.707, 0.0, 0.0, 0.707), s.obs.dtype))
    lid = shifted(s.object, (0.0, 0.0, 0.02))
    floor = _funnel(rewards.norm(s.hand[:2] - lid[:2]), 0.02, 0.04, 0.4)
    at_handle = rewards.tolerance(rewards.norm(s.hand - lid), (0.0, 0.02), 0.5)
    ready = rewards.hamacher_product(_above(s.hand[2], floor, floor / 2.0), at_handle)
    error = rewards.norm((s.goal - lid) * jnp.asarray((1.0, 1.0, 3.0), lid.dtype))
    closing = jnp.where(lid[2] > 0.04, 0.2, 0.0) + 0.8 * rewards.tolerance(error, (0.0, 0.05), 0.25)
    success = rewards.norm(s.object - s.goal) < 0.08
    reward = jnp.where(success, 10.0, 2.0 * rewards.hamacher_product(grab, ready) + 8.0 * closing)
    return RewardOutput(
        reward=reward * jnp.maximum(1.0 - tilt / 0.2, 0.0),
        success=success,
        near_object=ready,
        grasp_success=grab >= 0.5,
        grasp_reward=grab,
        in_place_reward=closing,
        obj_to_target=0.0,  # the reference does not report one
    )
