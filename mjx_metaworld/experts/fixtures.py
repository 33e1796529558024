"""Experts of the tasks with a fixture: doors, drawers, buttons, windows, faucets, levers."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.experts.common import act, expert, first, goal_of, hand_of, object_of, plus, xy_distance, z_distance


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


@expert("button-press-topdown-wall-v3")
def _button_press_topdown_wall(obs: Array) -> Array:
    hand, button = hand_of(obs), object_of(obs, y=-0.06)
    target = first((xy_distance(hand, button) > 0.04, plus(button, 0.0, 0.0, 0.1)), otherwise=button)
    return act(obs, target, 25.0, -1.0)


@expert("button-press-v3")
def _button_press(obs: Array) -> Array:
    hand, button = hand_of(obs), object_of(obs, z=-0.07)
    # numpy's isclose: an absolute tolerance of 2 cm and a relative one of 1e-5.
    apart = jnp.abs(hand - button) > 0.02 + 1e-5 * jnp.abs(button)
    target = first((apart[0] | apart[2], button.at[1].set(hand[1] - 0.1)), otherwise=plus(button, 0.0, 0.02, 0.0))
    return act(obs, target, 25.0, 0.0)


@expert("button-press-wall-v3")
def _button_press_wall(obs: Array) -> Array:
    hand, button = hand_of(obs), object_of(obs, z=0.04)
    aside = jnp.abs(hand[0] - button[0]) > 0.02
    before = button[1] - hand[1] > 0.09
    off = jnp.abs(hand[2] - button[2]) > 0.02
    high = button.at[2].set(0.3)
    target = first(
        (aside, high.at[1].set(hand[1])),
        (before, high),
        (off, plus(button, 0.0, -0.05, 0.0)),
        otherwise=plus(button, 0.0, -0.02, 0.0),
    )
    return act(obs, target, 15.0, jnp.where(aside | before | off, 1.0, -1.0))


@expert("coffee-button-v3")
def _coffee_button(obs: Array) -> Array:
    hand, button = hand_of(obs), object_of(obs, z=-0.07)
    off = jnp.sqrt((hand[0] - button[0]) ** 2 + (hand[2] - button[2]) ** 2) > 0.02
    target = first((off, button.at[1].set(hand[1])), otherwise=plus(button, 0.0, 0.2, 0.0))
    return act(obs, target, 10.0, -1.0)


@expert("door-close-v3")
def _door_close(obs: Array) -> Array:
    hand, door = hand_of(obs), object_of(obs, 0.05, 0.12, 0.1)
    right, low = hand[0] > door[0], hand[2] < door[2] + 0.2
    beside = plus(door, -0.02, 0.0, 0.0)
    target = first(
        (right & low, hand.at[2].set(door[2] + 0.25)),
        (right, beside.at[2].set(hand[2])),
        (z_distance(hand, door) > 0.04, beside),
        otherwise=goal_of(obs),
    )
    return act(obs, target, 25.0, 1.0)


def _turn_faucet(obs: Array, side: float) -> Array:
    """Come down beside the handle, offset by `side` in x, and push the other way."""
    hand, faucet = hand_of(obs), object_of(obs, x=side, z=0.03)
    target = first(
        (xy_distance(hand, faucet) > 0.04, plus(faucet, 0.0, 0.0, 0.1)),
        (z_distance(hand, faucet) > 0.04, faucet),
        otherwise=plus(faucet, 0.1 if side < 0.0 else -0.1, 0.05, 0.0),
    )
    return act(obs, target, 25.0, 1.0)


@expert("faucet-open-v3")
def _faucet_open(obs: Array) -> Array:
    return _turn_faucet(obs, side=-0.04)


@expert("faucet-close-v3")
def _faucet_close(obs: Array) -> Array:
    return _turn_faucet(obs, side=0.04)


@expert("lever-pull-v3")
def _lever_pull(obs: Array) -> Array:
    hand, lever = hand_of(obs), object_of(obs, y=-0.055)
    target = first(
        (xy_distance(hand, lever) > 0.02, plus(lever, 0.0, 0.0, -0.1)),
        (z_distance(hand, lever) > 0.02, lever),
        otherwise=plus(lever, 0.0, 0.08, 0.02),
    )
    return act(obs, target, 25.0, 1.0)


@expert("door-lock-v3")
def _door_lock(obs: Array) -> Array:
    hand, lock = hand_of(obs), object_of(obs, x=-0.02, y=-0.02)
    beside = xy_distance(hand, lock) > 0.02
    target = first(
        (beside & (hand[2] < 0.25), plus(hand, 0.0, -0.1, 0.1)),
        (beside, plus(lock, 0.0, 0.0, 0.3)),
        (z_distance(hand, lock) > 0.02, lock),
        otherwise=plus(lock, -0.1, 0.0, -0.1),
    )
    return act(obs, target, 25.0, -1.0)


@expert("door-unlock-v3")
def _door_unlock(obs: Array) -> Array:
    hand, lock = hand_of(obs), object_of(obs, x=-0.04, y=-0.02, z=-0.03)
    beside = xy_distance(hand, lock) > 0.02
    target = first(
        (beside & (hand[2] > 0.15), plus(hand, 0.0, -0.1, -0.1)),
        (beside, lock),
        otherwise=plus(lock, 0.1, 0.0, 0.01),
    )
    return act(obs, target, 25.0, 1.0)


def _press_handle(obs: Array, handle: Array, grip: float) -> Array:
    """Go over the handle, then far down."""
    over = xy_distance(hand_of(obs), handle) > 0.02
    target = first((over, plus(handle, 0.0, 0.0, 0.2)), otherwise=plus(handle, 0.0, 0.0, -0.5))
    return act(obs, target, 25.0, grip)


@expert("handle-press-v3")
def _handle_press(obs: Array) -> Array:
    return _press_handle(obs, object_of(obs, y=-0.02), grip=-1.0)


@expert("handle-press-side-v3")
def _handle_press_side(obs: Array) -> Array:
    return _press_handle(obs, object_of(obs), grip=1.0)


@expert("handle-pull-v3")
def _handle_pull(obs: Array) -> Array:
    hand, handle = hand_of(obs), object_of(obs, y=-0.04)
    target = first(
        (xy_distance(hand, handle) > 0.02, handle),
        # Off in z the reference returns the height alone, which then stands for all three coordinates.
        (z_distance(hand, handle) > 0.02, jnp.full_like(handle, handle[2])),
        otherwise=plus(handle, 0.0, 0.0, 0.1),
    )
    return act(obs, target, 25.0, 1.0)


@expert("handle-pull-side-v3")
def _handle_pull_side(obs: Array) -> Array:
    hand, handle = hand_of(obs), object_of(obs)
    beside = xy_distance(hand, handle) > 0.04
    target = first(
        (beside, plus(handle, 0.0, 0.0, 0.1)),
        (z_distance(hand, handle) > 0.03, handle),
        otherwise=plus(handle, 0.0, 0.0, 1.0),
    )
    return act(obs, target, 25.0, jnp.where(beside | (z_distance(hand, handle) > 0.04), 0.0, 0.6))
