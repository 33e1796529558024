"""Experts of the tasks that move a puck, cube, ball, mug or plate over the table, and of reaching."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.experts.common import act, expert, first, goal_of, hand_of, object_of, plus, xy_distance, z_distance
from mjx_metaworld.observation import GRIPPER


@expert("reach-v3")
def _reach(obs: Array) -> Array:
    return act(obs, goal_of(obs), 5.0, 0.0)


@expert("push-v3")
def _push(obs: Array) -> Array:
    hand, seen, puck = hand_of(obs), object_of(obs), object_of(obs, x=-0.005)
    target = first(
        (xy_distance(hand, puck) > 0.02, plus(puck, 0.0, 0.0, 0.2)),
        (z_distance(hand, puck) > 0.04, plus(puck, 0.0, 0.0, 0.03)),
        otherwise=goal_of(obs),
    )
    away = (xy_distance(hand, seen) > 0.02) | (z_distance(hand, seen) > 0.10)
    return act(obs, target, 10.0, jnp.where(away, 0.0, 0.6))


@expert("pick-place-v3")
def _pick_place(obs: Array) -> Array:
    hand, seen, puck = hand_of(obs), object_of(obs), object_of(obs, x=-0.005)
    target = first(
        (xy_distance(hand, puck) > 0.02, plus(puck, 0.0, 0.0, 0.1)),
        ((z_distance(hand, puck) > 0.05) & (puck[2] < 0.04), plus(puck, 0.0, 0.0, 0.03)),
        (obs[GRIPPER] > 0.73, hand),  # wait for the gripper to close
        otherwise=goal_of(obs),
    )
    near = jnp.sqrt(jnp.sum((hand - seen) ** 2)) < 0.07
    return act(obs, target, 10.0, jnp.where(near, 1.0, 0.0))


def _over_wall(hand: Array, low: float, high: float, top: float) -> Array:
    """True where the hand is by the wall, `low <= x <= high`, and below `top`."""
    return (low <= hand[0]) & (hand[0] <= high) & (hand[1] >= 0.60) & (hand[1] <= 0.80) & (hand[2] < top)


@expert("reach-wall-v3")
def _reach_wall(obs: Array) -> Array:
    hand, goal = hand_of(obs), goal_of(obs)
    target = first((_over_wall(hand, -0.1, 0.3, 0.25), plus(goal, 0.0, 0.0, 1.0)), otherwise=goal)
    return act(obs, target, 5.0, 0.0)


@expert("push-wall-v3")
def _push_wall(obs: Array) -> Array:
    hand, seen, puck = hand_of(obs), object_of(obs), object_of(obs, x=-0.005)
    x, y = puck[0], puck[1]
    before_wall = (x >= -0.1) & (x <= 0.3) & (y >= 0.65) & (y <= 0.75)
    at_its_end = ((x > -0.15) & (x < 0.05)) | ((x > 0.15) & (x < 0.35))
    target = first(
        (xy_distance(hand, puck) > 0.02, plus(puck, 0.0, 0.0, 0.2)),
        (z_distance(hand, puck) > 0.04, plus(puck, 0.0, 0.0, 0.03)),
        (before_wall, plus(hand, -1.0, 0.0, 0.0)),
        (at_its_end & (y >= 0.695) & (y <= 0.755), plus(hand, 0.0, 1.0, 0.0)),
        otherwise=goal_of(obs),
    )
    away = (xy_distance(hand, seen) > 0.02) | (z_distance(hand, seen) > 0.1)
    return act(obs, target, 10.0, jnp.where(away, 0.0, 0.6))


@expert("pick-place-wall-v3")
def _pick_place_wall(obs: Array) -> Array:
    hand, seen, puck, goal = hand_of(obs), object_of(obs), object_of(obs, x=-0.005), goal_of(obs)
    target = first(
        (xy_distance(hand, puck) > 0.015, plus(puck, 0.0, 0.0, 0.1)),
        ((z_distance(hand, puck) > 0.04) & (puck[2] < 0.03), plus(puck, 0.0, 0.0, 0.03)),
        (_over_wall(hand, -0.15, 0.35, 0.25), plus(hand, 0.0, 0.0, 1.0)),
        (_over_wall(hand, -0.15, 0.35, 0.35), goal.at[2].set(hand[2])),
        (z_distance(hand, goal) > 0.01, hand.at[2].set(goal[2])),
        otherwise=goal,
    )
    away = (xy_distance(hand, seen) > 0.015) | (z_distance(hand, seen) > 0.1)
    return act(obs, target, 10.0, jnp.where(away, 0.0, 0.9))


@expert("push-back-v3")
def _push_back(obs: Array) -> Array:
    hand, puck = hand_of(obs), object_of(obs)
    beside = xy_distance(hand, puck) > 0.04
    target = first(
        (beside, plus(puck, 0.0, 0.0, 0.3)),
        (z_distance(hand, puck) > 0.055, puck),
        otherwise=goal_of(obs).at[2].add(hand[2]),
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, puck) > 0.05), 0.0, 0.9))


@expert("sweep-v3")
def _sweep(obs: Array) -> Array:
    hand, seen, cube = hand_of(obs), object_of(obs), object_of(obs, z=0.015)
    left = hand[0] < 0.2
    target = first(
        (left & (xy_distance(hand, cube) > 0.04), plus(cube, 0.0, 0.0, 0.3)),
        (left & (z_distance(hand, cube) > 0.04), cube),
        otherwise=plus(goal_of(obs), 0.0, 0.0, 0.1),
    )
    away = (xy_distance(hand, seen) > 0.04) | (z_distance(hand, seen) > 0.15)
    return act(obs, target, 25.0, jnp.where(away | (seen[0] >= 0.4), -1.0, 0.7))


@expert("sweep-into-v3")
def _sweep_into(obs: Array) -> Array:
    hand, seen, cube = hand_of(obs), object_of(obs), object_of(obs, x=-0.005, z=0.01)
    target = first(
        (xy_distance(hand, cube) > 0.04, plus(cube, 0.0, 0.0, 0.3)),
        (z_distance(hand, cube) > 0.04, cube),
        otherwise=goal_of(obs),
    )
    away = (xy_distance(hand, seen) > 0.04) | (z_distance(hand, seen) > 0.15)
    return act(obs, target, 25.0, jnp.where(away, -1.0, 0.7))


@expert("soccer-v3")
def _soccer(obs: Array) -> Array:
    hand, ball, goal = hand_of(obs), object_of(obs, z=0.03), goal_of(obs)
    height = jnp.where(xy_distance(hand, ball) < 0.02, 0.1, 0.03)
    aside = ball[0] - goal[0]
    behind = (
        first(
            (aside < -0.05, plus(ball, -0.03, 0.0, 0.0)),
            (aside > 0.05, plus(ball, 0.03, 0.0, 0.0)),
            otherwise=plus(ball, 0.0, -0.03, 0.0),
        )
        .at[2]
        .set(height)
    )
    target = first((jnp.sqrt(jnp.sum((hand - behind) ** 2)) > 0.01, behind), otherwise=ball)
    return act(obs, target, 25.0, 1.0)


@expert("coffee-push-v3")
def _coffee_push(obs: Array) -> Array:
    hand, mug = hand_of(obs), object_of(obs, x=0.01, z=0.05)
    beside = xy_distance(hand, mug) > 0.06
    target = first(
        (beside, plus(mug, 0.0, 0.0, 0.2)),
        (z_distance(hand, mug) > 0.02, mug),
        otherwise=goal_of(obs).at[2].set(0.1),
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, mug) > 0.1), -1.0, 0.5))


@expert("coffee-pull-v3")
def _coffee_pull(obs: Array) -> Array:
    hand, mug, held = hand_of(obs), object_of(obs, x=-0.005, z=0.05), object_of(obs, x=0.01, z=0.05)
    target = first(
        (xy_distance(hand, mug) > 0.06, plus(mug, 0.0, 0.0, 0.15)),
        (z_distance(hand, mug) > 0.02, mug),
        otherwise=goal_of(obs),
    )
    away = (xy_distance(hand, held) > 0.06) | (z_distance(hand, held) > 0.1)
    return act(obs, target, 10.0, jnp.where(away, -1.0, 0.7))


@expert("plate-slide-v3")
def _plate_slide(obs: Array) -> Array:
    hand, plate = hand_of(obs), object_of(obs, y=-0.055, z=0.03)
    target = first(
        (xy_distance(hand, plate) > 0.03, plus(plate, 0.0, 0.0, 0.1)),
        (z_distance(hand, plate) > 0.04, plate),
        otherwise=plate.at[:2].set(jnp.stack([goal_of(obs)[0], jnp.full_like(plate[0], 0.9)])),
    )
    return act(obs, target, 10.0, -1.0)


@expert("plate-slide-side-v3")
def _plate_slide_side(obs: Array) -> Array:
    hand, plate = hand_of(obs), object_of(obs, x=0.07, z=-0.005)
    target = first(
        (xy_distance(hand, plate) > 0.04, plus(plate, 0.0, 0.0, 0.1)),
        (z_distance(hand, plate) > 0.04, plate),
        (hand[0] > -0.2, plus(hand, -0.1, 0.0, 0.0).at[1].set(0.6)),
        otherwise=plus(plate, -0.1, 0.0, 0.0),
    )
    return act(obs, target, 25.0, 1.0)


@expert("plate-slide-back-v3")
def _plate_slide_back(obs: Array) -> Array:
    hand, plate = hand_of(obs), object_of(obs, y=-0.065, z=0.025)
    target = first(
        (xy_distance(hand, plate) > 0.01, plus(plate, 0.0, 0.0, 0.1)),
        (z_distance(hand, plate) > 0.04, plate),
        (hand[1] > 0.7, plus(hand, 0.0, -0.1, 0.0)),
        (hand[1] > 0.6, hand.at[:2].set(jnp.asarray((0.15, 0.55), hand.dtype))),
        otherwise=plus(hand, -0.1, 0.0, 0.0).at[1].set(0.55),
    )
    return act(obs, target, 10.0, -1.0)


@expert("plate-slide-back-side-v3")
def _plate_slide_back_side(obs: Array) -> Array:
    hand, plate = hand_of(obs), object_of(obs, x=0.023, z=0.025)
    target = first(
        (xy_distance(hand, plate) > 0.01, plus(plate, 0.0, 0.0, 0.07)),
        (z_distance(hand, plate) > 0.04, plate),
        otherwise=plus(hand, 0.1, 0.0, 0.0).at[1].set(0.6),
    )
    return act(obs, target, 10.0, 1.0)
