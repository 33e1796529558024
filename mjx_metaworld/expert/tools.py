"""Experts of the tasks that fit one thing into another: pegs, a cube in a hole."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.expert.common import act, expert, first, goal_of, hand_of, object_of, plus, xy_distance, z_distance


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
