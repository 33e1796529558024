"""Pieces of the reference's first rewards, `reward_function_version="v1"`: unbounded, of the order of thousands.

Nearly all have one form: minus the distance of the fingers from what they are to move, and once they are there up to
three thousand for how far it has come. Only the distance is reported; the other metrics are constants, because the
reference derives them from the zeros that its v1 code returns in their place (see docs/quirks.md). Nothing carries
over from one step to the next: flags such as `pickCompleted` are attributes there, but set anew at every step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mjx_metaworld.tasks.rewards import norm
from mjx_metaworld.tasks.spec import RewardInputs, RewardOutput

Scalar = Float[Array, ""]
Vector = Float[Array, "3"]

REACHED = 0.05  # distance from the fingers within which moving the object pays
CARRIED = 0.1  # the same for lifted objects


# --- what the reference reports ---


def report(reward: Scalar, distance: Scalar, within: float, *, grasp_success: float = 0.0) -> RewardOutput:
    """Success where the distance is at most `within`; the object counts as near (at distance zero) at all times."""
    return RewardOutput(
        reward=reward,
        success=distance <= within,
        near_object=1.0,
        grasp_success=grasp_success,
        grasp_reward=0.0,
        in_place_reward=0.0,
        obj_to_target=distance,
    )


def report_success(reward: Scalar, success: Bool[Array, ""]) -> RewardOutput:
    """Report of the tasks that judge success themselves and give no distance."""
    return RewardOutput(
        reward=reward,
        success=success,
        near_object=0.0,
        grasp_success=0.0,
        grasp_reward=0.0,
        in_place_reward=0.0,
        obj_to_target=0.0,
    )


# --- terms ---


def progress(
    distance: Scalar,
    initial: Scalar | float,
    *,
    slope: float = 1000.0,
    peak: float = 1000.0,
    wide: float = 0.01,
    narrow: float = 0.001,
) -> Scalar:
    """`slope` a metre for the way from `initial` to `distance`, and two bells `peak` high, `wide` and `narrow` (m²)."""
    square = distance * distance
    return slope * (initial - distance) + peak * (jnp.exp(-square / wide) + jnp.exp(-square / narrow))


def gain(reached: Bool[Array, ""], value: Scalar) -> Scalar:
    """`value` where the object is reached and the value positive, else 0."""
    return jnp.where(reached, jnp.maximum(value, 0.0), 0.0)


def closing(s: RewardInputs) -> Scalar:
    """A little for closing the gripper; the action is not clipped."""
    return jnp.maximum(s.action[3], 0.0) / 50.0


def grip(s: RewardInputs, reach: Scalar) -> Scalar:
    """Come to the object, then close the gripper."""
    return -reach + jnp.where(reach < REACHED, closing(s), 0.0)


def approach(
    s: RewardInputs,
    point: Vector,
    *,
    reached: float = REACHED,
    above: float = 0.05,
    climb: float = 2.0,
    rest: Scalar | float | None = None,
) -> Scalar:
    """Come over the point first, at the height of the start, then down, then close the gripper.

    Args:
        s: the transition.
        point: what to grasp.
        reached: distance within which closing pays.
        above: distance in xy within which coming down pays.
        climb: weight of leaving the start's height while farther away.
        rest: the start's height, the fingers' at reset by default.
    """
    reach, reach_xy = norm(point - s.tcp), norm(point[:2] - s.tcp[:2])
    left = jnp.abs(s.tcp[2] - (s.tcp_init[2] if rest is None else rest))
    coming = jnp.where(reach_xy < above, -reach, -reach_xy - climb * left)
    return jnp.where(reach < reached, -reach + closing(s), coming)


class Lift(NamedTuple):
    """Reward of lifting an object, and whether the lift is complete."""

    reward: Scalar
    complete: Bool[Array, ""]  # at the wanted height, and not dropped


def lift(
    z: Scalar,
    floor: Scalar,
    height: Scalar,
    reach: Scalar,
    distance: Scalar,
    *,
    near: float = CARRIED,
    held: Bool[Array, ""] | bool = True,
    datum: Scalar | float = 0.0,
) -> Lift:
    """A hundred a metre of height.

    Args:
        z: the object's height.
        floor: its height at reset.
        height: the wanted one; within a centimetre the lift is complete.
        reach: distance of the fingers from the object.
        distance: of the object from the goal; one that is at neither and on the floor is dropped.
        near: `reach` within which an incomplete lift pays.
        held: what else a complete lift takes.
        datum: the height from which the reward counts.
    """
    dropped = (z < floor + 0.005) & (distance > 0.02) & (reach > 0.02)
    complete = (z >= height - 0.01) & held & ~dropped
    rising = (reach < near) & (z > floor + 0.005)
    rise = jnp.where(rising, jnp.minimum(height, z) - datum, 0.0)
    return Lift(100.0 * jnp.where(complete, height - datum, rise), complete)


def carry_way(start: Vector, height: Scalar, end: Vector) -> Scalar:
    """The way of an object up to `height` and on to `end`."""
    return norm(start.at[2].set(height) - end) + height


# --- whole rewards that several tasks share ---


def move(
    s: RewardInputs,
    distance: Scalar,
    initial: Scalar | float,
    *,
    within: float,
    reach: Scalar | None = None,
    grasp_success: float = 0.0,
) -> RewardOutput:
    """Reach the object (measured by `reach`, from between the finger tips by default), then bring `distance` to 0."""
    way: Scalar = norm(s.object - s.tcp) if reach is None else reach
    reward = -way + gain(way < REACHED, progress(distance, initial))
    return report(reward, distance, within, grasp_success=grasp_success)


def left_reach(s: RewardInputs) -> Scalar:
    """Distance of the left finger tip alone, by which some tasks measure `reach`."""
    return norm(s.object - s.left_tip)


def push(s: RewardInputs, *, within: float) -> RewardOutput:
    """Push an object to the goal, in xy."""
    initial = norm(s.object_init[:2] - s.goal[:2])
    return move(s, norm(s.object[:2] - s.goal[:2]), initial, within=within)


def pick_and_place(
    s: RewardInputs, *, lift_by: float, within: float, floor: Scalar | None = None, datum: Scalar | float = 0.0
) -> RewardOutput:
    """Lift an object by `lift_by` above `floor` (its origin's height at reset by default), then carry it to the goal.

    `datum` is the height from which the lift counts.
    """
    ground: Scalar = s.object_init[2] if floor is None else floor
    height = ground + lift_by
    reach, distance = norm(s.object - s.tcp), norm(s.object - s.goal)
    lifted = lift(s.object[2], ground, height, reach, distance, datum=datum)
    place = progress(distance, carry_way(s.object_init, height, s.goal))
    reward = approach(s, s.object) + lifted.reward + gain(lifted.complete & (reach < CARRIED), place)
    return report(reward, distance, within)
