"""Meta-World's scripted policies as pure functions of the observation, after `metaworld.policies`.

They keep no state, so one function serves any batch: `jax.vmap(expert_policy(names))(obs, task)`. Actions are not
clipped; the environment clips them, and rewards see them as they are, like the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Vector = Float[Array, "3"]
Policy = Callable[[Float[Array, "39"]], Float[Array, "4"]]

_POLICIES: dict[str, Policy] = {}


def expert_policy(task_names: Sequence[str]) -> Callable[[Float[Array, " obs"], Int[Array, ""]], Float[Array, "4"]]:
    """The experts of several tasks as one function `(obs, task) -> action`, `task` an index into the names.

    Entries of `obs` beyond the 39th, such as a one-hot task id, are ignored.

    Raises:
        ValueError: if a task has no expert.
    """
    missing = [name for name in task_names if name not in _POLICIES]
    if missing:
        raise ValueError(f"no scripted policy for {', '.join(missing)}")
    policies = [_POLICIES[name] for name in task_names]

    def policy(obs: Float[Array, " obs"], task: Int[Array, ""]) -> Float[Array, "4"]:
        return jax.lax.switch(task, policies, obs[:39])

    return policy


def _expert(*task_names: str) -> Callable[[Policy], Policy]:
    def register(policy: Policy) -> Policy:
        for name in task_names:
            _POLICIES[name] = policy
        return policy

    return register


def _hand(obs: Array) -> Vector:
    return obs[:3]


def _object(obs: Array, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Vector:
    """The first object's position plus a constant offset."""
    return _plus(obs[4:7], x, y, z)


def _plus(v: Vector, x: float, y: float, z: float) -> Vector:
    return v + jnp.asarray((x, y, z), v.dtype)


def _goal(obs: Array) -> Vector:
    return obs[36:39]


def _xy_distance(a: Array, b: Array) -> Array:
    """Length of the difference of the first two components."""
    d = a[:2] - b[:2]
    return jnp.sqrt(jnp.sum(d * d))


def _z_distance(a: Vector, b: Vector) -> Array:
    return jnp.abs(a[2] - b[2])


def _first(*cases: tuple[Array, Array | float], otherwise: Array | float) -> Array:
    """The value of the first case whose condition holds."""
    value = otherwise
    for condition, candidate in reversed(cases):
        value = jnp.where(condition, candidate, value)
    return value


def _act(obs: Array, target: Vector, gain: Array | float, grip: Array | float) -> Float[Array, "4"]:
    """Move the hand towards `target` in proportion to the distance, with a gripper effort."""
    return jnp.concatenate([gain * (target - _hand(obs)), jnp.asarray(grip, obs.dtype)[None]])


@_expert("reach-v3")
def _reach(obs: Array) -> Array:
    return _act(obs, _goal(obs), 5.0, 0.0)


@_expert("push-v3")
def _push(obs: Array) -> Array:
    hand, seen, puck = _hand(obs), _object(obs), _object(obs, x=-0.005)
    target = _first(
        (_xy_distance(hand, puck) > 0.02, _plus(puck, 0.0, 0.0, 0.2)),
        (_z_distance(hand, puck) > 0.04, _plus(puck, 0.0, 0.0, 0.03)),
        otherwise=_goal(obs),
    )
    away = (_xy_distance(hand, seen) > 0.02) | (_z_distance(hand, seen) > 0.10)
    return _act(obs, target, 10.0, jnp.where(away, 0.0, 0.6))


@_expert("pick-place-v3")
def _pick_place(obs: Array) -> Array:
    hand, seen, puck = _hand(obs), _object(obs), _object(obs, x=-0.005)
    target = _first(
        (_xy_distance(hand, puck) > 0.02, _plus(puck, 0.0, 0.0, 0.1)),
        ((_z_distance(hand, puck) > 0.05) & (puck[2] < 0.04), _plus(puck, 0.0, 0.0, 0.03)),
        (obs[3] > 0.73, hand),  # wait for the gripper to close
        otherwise=_goal(obs),
    )
    near = jnp.sqrt(jnp.sum((hand - seen) ** 2)) < 0.07
    return _act(obs, target, 10.0, jnp.where(near, 1.0, 0.0))


@_expert("door-open-v3")
def _door_open(obs: Array) -> Array:
    hand, door = _hand(obs), _object(obs, x=-0.05)
    target = _first(
        (_xy_distance(hand, door) > 0.12, _plus(door, 0.06, 0.02, 0.2)),
        (_z_distance(hand, door) > 0.04, _plus(door, 0.06, 0.02, 0.0)),
        otherwise=door,
    )
    return _act(obs, target, 25.0, 1.0)


@_expert("drawer-open-v3")
def _drawer_open(obs: Array) -> Array:
    hand, drawer = _hand(obs), _object(obs, z=-0.02)
    beside, above = _xy_distance(hand, drawer) > 0.06, _z_distance(hand, drawer) > 0.04
    target = _first(
        (beside, _plus(drawer, 0.0, 0.0, 0.3)),
        (above, drawer),
        otherwise=_plus(drawer, 0.0, -0.06, 0.0),
    )
    return _act(obs, target, jnp.where(beside | above, 4.0, 50.0), -1.0)


@_expert("drawer-close-v3")
def _drawer_close(obs: Array) -> Array:
    hand, drawer = _hand(obs), _object(obs, z=-0.02)
    behind, low = hand[1] > drawer[1], hand[2] < drawer[2] + 0.23
    target = _first(
        (behind & low, jnp.stack([hand[0], hand[1], drawer[2] + 0.5])),
        (behind, _plus(drawer, 0.0, -0.075, 0.23)),
        (_z_distance(hand, drawer) > 0.04, _plus(drawer, 0.0, -0.075, 0.0)),
        otherwise=drawer,
    )
    return _act(obs, target, 25.0, 1.0)


@_expert("button-press-topdown-v3")
def _button_press_topdown(obs: Array) -> Array:
    hand, button = _hand(obs), _object(obs)
    target = _first((_xy_distance(hand, button) > 0.04, _plus(button, 0.0, 0.0, 0.1)), otherwise=button)
    return _act(obs, target, 25.0, 1.0)


@_expert("peg-insert-side-v3")
def _peg_insert_side(obs: Array) -> Array:
    hand, peg = _hand(obs), _object(obs)
    hole = jnp.stack([jnp.asarray(-0.35, obs.dtype), _goal(obs)[1], jnp.asarray(0.16, obs.dtype)])
    beside = _xy_distance(hand, peg) > 0.04
    target = _first(
        (beside, _plus(peg, 0.0, 0.0, 0.3)),
        (_z_distance(hand, peg) > 0.025, peg),
        (_xy_distance(peg[1:], hole[1:]) > 0.03, _plus(hole, 0.4, 0.0, 0.0)),
        otherwise=hole,
    )
    return _act(obs, target, 25.0, jnp.where(beside | (_z_distance(hand, peg) > 0.15), -1.0, 0.6))


def _slide_window(obs: Array, side: float, rise: float) -> Array:
    """Come down beside the handle, offset by `side` in x, and push the other way."""
    hand, handle = _hand(obs), _object(obs, x=side, y=-0.03, z=-0.08)
    push = 0.1 if side < 0.0 else -0.1
    target = _first(
        (_xy_distance(hand, handle) > 0.04, _plus(handle, 0.0, 0.0, rise)),
        (_z_distance(hand, handle) > 0.02, handle),
        otherwise=_plus(handle, push, 0.0, 0.0),
    )
    return _act(obs, target, 25.0, 1.0)


@_expert("window-open-v3")
def _window_open(obs: Array) -> Array:
    return _slide_window(obs, side=-0.03, rise=0.3)


@_expert("window-close-v3")
def _window_close(obs: Array) -> Array:
    return _slide_window(obs, side=0.03, rise=0.25)
