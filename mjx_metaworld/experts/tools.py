"""Experts of the tasks that carry an object or use a tool: pegs, nuts, lids, balls, hammer, stick, and the dial."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.experts.common import (
    act,
    expert,
    first,
    goal_of,
    hand_of,
    object_of,
    plus,
    second_object_of,
    xy_distance,
    z_distance,
)


@expert("peg-insert-side-v3")
def _peg_insert_side(obs: Array) -> Array:
    hand, peg = hand_of(obs), object_of(obs)
    hole = jnp.stack([jnp.asarray(-0.35, obs.dtype), goal_of(obs)[1], jnp.asarray(0.16, obs.dtype)])
    beside = xy_distance(hand, peg) > 0.04
    target = first(
        (beside, plus(peg, 0.0, 0.0, 0.3)),
        (z_distance(hand, peg) > 0.025, peg),
        (xy_distance(peg[1:], hole[1:]) > 0.03, plus(hole, 0.4, 0.0, 0.0)),
        otherwise=hole,
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, peg) > 0.15), -1.0, 0.6))


@expert("peg-unplug-side-v3")
def _peg_unplug_side(obs: Array) -> Array:
    hand, peg = hand_of(obs), object_of(obs, x=-0.02, z=0.035)
    beside = xy_distance(hand, peg) > 0.04
    target = first(
        (beside, plus(peg, 0.0, 0.0, 0.2)),
        (jnp.abs(hand[2] - 0.15) > 0.02, peg.at[2].set(0.15)),
        otherwise=plus(hand, 0.01, 0.0, 0.0),
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, peg) > 0.15), -1.0, 0.1))


@expert("hand-insert-v3")
def _hand_insert(obs: Array) -> Array:
    hand, cube, goal = hand_of(obs), object_of(obs), goal_of(obs)
    beside = xy_distance(hand, cube) > 0.02
    target = first(
        (beside, plus(cube, 0.0, 0.0, 0.1)),
        (z_distance(hand, cube) > 0.05, plus(cube, 0.0, 0.0, 0.03)),
        (xy_distance(hand, goal) > 0.04, goal.at[2].set(hand[2])),
        otherwise=goal,
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, cube) > 0.1), 0.0, 0.65))


@expert("dial-turn-v3")
def _dial_turn(obs: Array) -> Array:
    hand, dial = hand_of(obs), object_of(obs, 0.05, 0.02, 0.09)
    target = first(
        (xy_distance(hand, dial) > 0.02, dial.at[2].set(0.2)),
        (z_distance(hand, dial) > 0.02, dial),
        otherwise=plus(dial, -0.05, 0.005, 0.0),
    )
    return act(obs, target, 10.0, 1.0)


@expert("pick-out-of-hole-v3")
def _pick_out_of_hole(obs: Array) -> Array:
    hand, cube, goal = hand_of(obs), object_of(obs, z=0.02), goal_of(obs)
    beside = xy_distance(hand, cube) > 0.02
    target = first(
        (beside, plus(cube, 0.0, 0.0, 0.15)),
        (z_distance(hand, cube) > 0.01, cube),
        (z_distance(hand, goal) > 0.04, hand.at[2].set(goal[2])),
        otherwise=goal,
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, cube) > 0.15), 0.0, 0.1))


@expert("shelf-place-v3")
def _shelf_place(obs: Array) -> Array:
    hand, seen, block, shelf = hand_of(obs), object_of(obs), object_of(obs, x=-0.005, z=0.015), goal_of(obs)
    target = first(
        (xy_distance(hand, block) > 0.04, plus(block, 0.0, 0.0, 0.3)),
        (z_distance(hand, block) > 0.04, block),
        (jnp.abs(hand[0] - shelf[0]) > 0.02, jnp.stack([shelf[0], hand[1], jnp.full_like(hand[2], 0.3)])),
        (hand[2] < 0.3, plus(hand, 0.0, 0.0, 0.3)),
        otherwise=plus(hand, 0.0, 0.05, 0.0),
    )
    away = (xy_distance(hand, seen) > 0.04) | (z_distance(hand, seen) > 0.15)
    return act(obs, target, 25.0, jnp.where(away, -1.0, 0.7))


@expert("bin-picking-v3")
def _bin_picking(obs: Array) -> Array:
    hand, cube = hand_of(obs), object_of(obs, z=0.03)
    cube = cube.at[1].set(jnp.clip(cube[1], 0.675, 0.725))
    other_bin = jnp.asarray((0.12, 0.7, 0.02), obs.dtype)
    beside, away = xy_distance(hand, cube) > 0.02, xy_distance(hand, other_bin) > 0.02
    target = first(
        (beside, plus(cube, 0.0, 0.0, 0.15)),
        (z_distance(hand, cube) > 0.01, cube),
        (away & (hand[2] < 0.15), plus(hand, 0.0, 0.0, 0.1)),
        (away, other_bin.at[2].set(0.18)),
        otherwise=other_bin,
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, cube) > 0.02), -1.0, 0.6))


@expert("basketball-v3")
def _basketball(obs: Array) -> Array:
    hand, seen, ball = hand_of(obs), object_of(obs), object_of(obs, z=0.01)
    hoop = jnp.stack([goal_of(obs)[0], jnp.full_like(obs[0], 0.875), jnp.full_like(obs[0], 0.35)])
    target = first(
        (xy_distance(hand, ball) > 0.04, plus(ball, 0.0, 0.0, 0.3)),
        (z_distance(hand, ball) > 0.025, ball),
        (z_distance(ball, hoop) > 0.025, hand.at[2].set(hoop[2])),
        otherwise=hoop,
    )
    away = (xy_distance(hand, seen) > 0.04) | (z_distance(hand, seen) > 0.15)
    return act(obs, target, 25.0, jnp.where(away, -1.0, 0.6))


@expert("box-close-v3")
def _box_close(obs: Array) -> Array:
    hand, lid, box = hand_of(obs), object_of(obs, z=0.02), goal_of(obs).at[2].set(0.15)
    beside = xy_distance(hand, lid) > 0.01
    target = first(
        (beside, lid.at[2].set(0.2)),
        (z_distance(hand, lid) > 0.05, lid),
        (z_distance(hand, box) > 0.04, hand.at[2].set(box[2])),
        otherwise=box,
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, lid) > 0.13), 0.5, 1.0))


@expert("assembly-v3")
def _assembly(obs: Array) -> Array:
    hand, wrench, peg = hand_of(obs), object_of(obs, x=-0.02), plus(goal_of(obs), 0.12, 0.0, 0.14)
    beside = xy_distance(hand, wrench) > 0.02
    target = first(
        (beside, plus(wrench, 0.0, 0.0, 0.1)),
        (xy_distance(hand, peg) <= 0.02, plus(peg, 0.0, 0.0, -0.2)),
        (z_distance(hand, wrench) > 0.05, plus(wrench, 0.0, 0.0, 0.03)),
        (z_distance(hand, peg) > 0.04, hand.at[2].set(peg[2])),
        otherwise=peg,
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, wrench) > 0.12), 0.0, 0.6))


@expert("disassemble-v3")
def _disassemble(obs: Array) -> Array:
    hand, wrench = hand_of(obs), object_of(obs, x=-0.02, z=0.01)
    beside = xy_distance(hand, wrench) > 0.02
    target = first(
        (beside, plus(wrench, 0.0, 0.0, 0.1)),
        (z_distance(hand, wrench) > 0.03, wrench),
        otherwise=plus(hand, 0.0, 0.0, 0.1),
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, wrench) > 0.07), 0.0, 0.8))


@expert("hammer-v3")
def _hammer(obs: Array) -> Array:
    hand, hammer = hand_of(obs), object_of(obs, x=-0.04, z=-0.01)
    nail = jnp.asarray((0.05, 0.71, 0.16), obs.dtype)
    beside = xy_distance(hand, hammer) > 0.04
    off = jnp.sqrt((hand[0] - nail[0]) ** 2 + (hand[2] - nail[2]) ** 2) > 0.02
    target = first(
        (beside, plus(hammer, 0.0, 0.0, 0.1)),
        ((z_distance(hand, hammer) > 0.05) & (hammer[2] < 0.03), plus(hammer, 0.0, 0.0, 0.03)),
        (off, nail.at[1].set(hand[1])),
        otherwise=nail,
    )
    return act(obs, target, 10.0, jnp.where(beside | (z_distance(hand, hammer) > 0.1), 0.0, 0.8))


def _move_with_stick(obs: Array, stick: Array, thermos: Array, goal: Array, gain: float) -> Array:
    """Grasp the stick, bring it to the thermos, then on to the goal."""
    hand = hand_of(obs)
    apart = jnp.abs(stick[0] - thermos[0]) > 0.04
    beside = xy_distance(hand, stick) > 0.02
    target = first(
        (~apart, goal),
        (beside, plus(stick, 0.0, 0.0, 0.1)),
        (z_distance(hand, stick) > 0.02, stick),
        (jnp.abs(stick[1] - thermos[1]) > 0.02, stick.at[1].set(thermos[1])),
        (z_distance(stick, thermos) > 0.02, thermos.at[0].set(stick[0])),
        otherwise=thermos,
    )
    return act(obs, target, gain, jnp.where(beside | (z_distance(hand, stick) > 0.1), -1.0, 0.7))


@expert("stick-push-v3")
def _stick_push(obs: Array) -> Array:
    goal = plus(goal_of(obs), 0.0, 0.0, 0.132)
    return _move_with_stick(obs, object_of(obs, x=0.015, z=0.03), second_object_of(obs), goal, 10.0)


@expert("stick-pull-v3")
def _stick_pull(obs: Array) -> Array:
    thermos, goal = plus(second_object_of(obs), -0.015, 0.0, 0.03), plus(goal_of(obs), -0.05, 0.0, 0.0)
    return _move_with_stick(obs, object_of(obs, x=-0.015, z=0.03), thermos, goal, 25.0)
