"""Tasks that slide a plate into or out of a cabinet: plate-slide, -side, -back and -back-side."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks import rewards, v1
from mjx_metaworld.tasks.placement import put_prop, set_part_joint, start
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

HAND_INIT = float32(0.0, 0.6, 0.2)
PLATE = Observed(Point("geom", "puck"), Orientation("xyzw", "geom", "puck"))
TARGET_RADIUS = 0.05
X, Y = 0, 1  # the plate's slides
PULLED_OUT_BY = 0.15


def _place(rand_vec: Array, settled: Settled, x: float, y: float) -> Placement:
    """Plate at (x, y) of its slides, goal at the second place of the goal vector, cabinet as in the scene file."""
    placement = start(settled, goal=rand_vec[3:6], object_init=rand_vec[:3])
    return set_part_joint(set_part_joint(placement, X, x, stop=False), Y, y, stop=False)


def place_for_slide(rand_vec: Array, settled: Settled) -> Placement:
    """Plate in the middle, cabinet at the goal."""
    return put_prop(_place(rand_vec, settled, 0.0, 0.0), rand_vec[3:6])


def place_for_slide_side(rand_vec: Array, settled: Settled) -> Placement:
    """Plate in the middle; the reference means to move the cabinet to the goal, but what it writes is overwritten."""
    return _place(rand_vec, settled, 0.0, 0.0)


def place_for_slide_back(rand_vec: Array, settled: Settled) -> Placement:
    """Plate in the cabinet, which stays where it is as in `place_for_slide_side`."""
    return _place(rand_vec, settled, 0.0, PULLED_OUT_BY)


def place_for_slide_back_side(rand_vec: Array, settled: Settled) -> Placement:
    """Plate in the cabinet at the first place of the goal vector."""
    return put_prop(_place(rand_vec, settled, -PULLED_OUT_BY, 0.0), rand_vec[:3])


def _outcome(s: RewardInputs, reward: Array, grasp: Array, in_place: Array) -> RewardOutput:
    distance = rewards.norm(s.object - s.goal)
    return RewardOutput(
        reward=jnp.where(distance < TARGET_RADIUS, 10.0, reward),
        success=distance <= 0.07,
        near_object=rewards.norm(s.tcp - s.object) <= 0.03,
        grasp_success=0.0,
        grasp_reward=grasp,
        in_place_reward=in_place,
        obj_to_target=distance,
    )


def _progress(s: RewardInputs, less: float) -> tuple[Array, Array]:
    """Closeness (0 to 1) of gripper to plate and of plate to goal; `less` is taken off both margins."""
    bounds = (0.0, TARGET_RADIUS)
    in_place = rewards.tolerance(rewards.norm(s.object - s.goal), bounds, rewards.norm(s.object_init - s.goal) - less)
    grasp = rewards.tolerance(rewards.norm(s.tcp - s.object), bounds, rewards.norm(s.tcp_init - s.object_init) - less)
    return grasp, in_place


@task(
    "plate-slide-v3",
    scene="sawyer_plate_slide",
    hand_init=HAND_INIT,
    rand_low=(0.0, 0.6, 0.0, -0.1, 0.85, 0.0),
    rand_high=(0.0, 0.6, 0.0, 0.1, 0.9, 0.0),
    goal_low=(-0.1, 0.85, 0.0),
    goal_high=(0.1, 0.9, 0.0),
    objects=(PLATE,),
    place=place_for_slide,
    reward_v1=partial(v1.push, within=0.07),
)
def plate_slide(s: RewardInputs) -> RewardOutput:
    """Slide a plate into a cabinet. Randomised: cabinet xy. Success: the plate within 7 cm of the goal."""
    grasp, in_place = _progress(s, 0.0)
    return _outcome(s, 8.0 * rewards.hamacher_product(grasp, in_place), grasp, in_place)


def _slide_from_above(s: RewardInputs) -> RewardOutput:
    """Come down onto the plate, then move it."""
    grasp, in_place = _progress(s, TARGET_RADIUS)
    down = (s.tcp[2] <= 0.03) & (rewards.norm(s.tcp - s.object) < 0.07)
    return _outcome(s, jnp.where(down, 2.0 + 7.0 * in_place, 1.5 * grasp), grasp, in_place)


@task(
    "plate-slide-side-v3",
    scene="sawyer_plate_slide_sideway",
    hand_init=HAND_INIT,
    rand_low=(0.0, 0.6, 0.0, -0.3, 0.54, 0.0),
    rand_high=(0.0, 0.6, 0.0, -0.25, 0.66, 0.0),
    goal_low=(-0.3, 0.54, 0.0),
    goal_high=(-0.25, 0.66, 0.0),
    objects=(PLATE,),
    place=place_for_slide_side,
    reward_v1=partial(v1.push, within=0.07),
)
def plate_slide_side(s: RewardInputs) -> RewardOutput:
    """Slide a plate sideways into a cabinet. Randomised: goal xy. Success: the plate within 7 cm of the goal."""
    return _slide_from_above(s)


def _slide_from_v1(s: RewardInputs, plate: Array) -> RewardOutput:
    """As `v1.push`, from the plate's place (x, y) at reset."""
    distance = rewards.norm(s.object[:2] - s.goal[:2])
    return v1.move(s, distance, rewards.norm(plate - s.goal[:2]), within=0.07)


def slide_back_v1(s: RewardInputs) -> RewardOutput:
    """The plate begins at the same place for every goal vector, as the cabinet does not move."""
    return _slide_from_v1(s, jnp.asarray((0.0, 0.75), s.goal.dtype))


@task(
    "plate-slide-back-v3",
    scene="sawyer_plate_slide",
    hand_init=HAND_INIT,
    rand_low=(0.0, 0.85, 0.0, -0.1, 0.6, 0.015),
    rand_high=(0.0, 0.85, 0.0, 0.1, 0.6, 0.015),
    goal_low=(-0.1, 0.6, 0.015),
    goal_high=(0.1, 0.6, 0.015),
    objects=(PLATE,),
    place=place_for_slide_back,
    reward_v1=slide_back_v1,
)
def plate_slide_back(s: RewardInputs) -> RewardOutput:
    """Slide a plate out of a cabinet. Randomised: goal x. Success: the plate within 7 cm of the goal."""
    return _slide_from_above(s)


def slide_back_side_v1(s: RewardInputs) -> RewardOutput:
    """The plate begins 10 cm beside what the reference takes for the object's initial position."""
    return _slide_from_v1(s, s.object_init[:2] + jnp.asarray((0.1, 0.0), s.goal.dtype))


@task(
    "plate-slide-back-side-v3",
    scene="sawyer_plate_slide_sideway",
    hand_init=HAND_INIT,
    rand_low=(-0.25, 0.6, 0.0, -0.05, 0.6, 0.015),
    rand_high=(-0.25, 0.6, 0.0, 0.15, 0.6, 0.015),
    goal_low=(-0.05, 0.6, 0.015),
    goal_high=(0.15, 0.6, 0.015),
    objects=(PLATE,),
    place=place_for_slide_back_side,
    reward_v1=slide_back_side_v1,
)
def plate_slide_back_side(s: RewardInputs) -> RewardOutput:
    """Slide a plate sideways out of a cabinet. Randomised: goal x. Success: the plate within 7 cm of the goal."""
    return _slide_from_above(s)
