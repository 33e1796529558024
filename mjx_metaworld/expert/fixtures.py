"""Experts of the tasks with a fixture: doors, drawers, buttons, windows."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.expert.common import act, expert, first, hand_of, object_of, plus, xy_distance, z_distance


@expert("door-open-v3")
def _door_open(obs: Array) -> Array:
    hand, door = hand_of(obs), object_of(obs, x=-0.05)
    target = first(
        (xy_distance(hand, door) > 0.12, plus(door, 0.06, 0.02, 0.2)),
        (z_distance(hand, door) > 0.04, plus(door, 0.06, 0.02, 0.0)),
        otherwise=door,
    )
    return act(obs, target, 25.0, 1.0)


@expert("drawer-open-v3")
def _drawer_open(obs: Array) -> Array:
    hand, drawer = hand_of(obs), object_of(obs, z=-0.02)
    beside, above = xy_distance(hand, drawer) > 0.06, z_distance(hand, drawer) > 0.04
    target = first(
        (beside, plus(drawer, 0.0, 0.0, 0.3)),
        (above, drawer),
        otherwise=plus(drawer, 0.0, -0.06, 0.0),
    )
    return act(obs, target, jnp.where(beside | above, 4.0, 50.0), -1.0)


@expert("drawer-close-v3")
def _drawer_close(obs: Array) -> Array:
    hand, drawer = hand_of(obs), object_of(obs, z=-0.02)
    behind, low = hand[1] > drawer[1], hand[2] < drawer[2] + 0.23
    target = first(
        (behind & low, jnp.stack([hand[0], hand[1], drawer[2] + 0.5])),
        (behind, plus(drawer, 0.0, -0.075, 0.23)),
        (z_distance(hand, drawer) > 0.04, plus(drawer, 0.0, -0.075, 0.0)),
        otherwise=drawer,
    )
    return act(obs, target, 25.0, 1.0)


@expert("button-press-topdown-v3")
def _button_press_topdown(obs: Array) -> Array:
    hand, button = hand_of(obs), object_of(obs)
    target = first((xy_distance(hand, button) > 0.04, plus(button, 0.0, 0.0, 0.1)), otherwise=button)
    return act(obs, target, 25.0, 1.0)


def _slide_window(obs: Array, side: float, rise: float) -> Array:
    """Come down beside the handle, offset by `side` in x, and push the other way."""
    hand, handle = hand_of(obs), object_of(obs, x=side, y=-0.03, z=-0.08)
    push = 0.1 if side < 0.0 else -0.1
    target = first(
        (xy_distance(hand, handle) > 0.04, plus(handle, 0.0, 0.0, rise)),
        (z_distance(hand, handle) > 0.02, handle),
        otherwise=plus(handle, push, 0.0, 0.0),
    )
    return act(obs, target, 25.0, 1.0)


@expert("window-open-v3")
def _window_open(obs: Array) -> Array:
    return _slide_window(obs, side=-0.03, rise=0.3)


@expert("window-close-v3")
def _window_close(obs: Array) -> Array:
    return _slide_window(obs, side=0.03, rise=0.25)
