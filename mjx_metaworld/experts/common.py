"""The vocabulary of the scripted policies: what they see, how they choose, how they act."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from mjx_metaworld.observation import GOAL, HAND, OBJECT, SECOND_OBJECT
from mjx_metaworld.tasks.spec import Script

Vector = Float[Array, "3"]

POLICIES: dict[str, Script] = {}


def expert(*task_names: str) -> Callable[[Script], Script]:
    """Make a function the expert of these tasks."""

    def register(policy: Script) -> Script:
        for name in task_names:
            POLICIES[name] = policy
        return policy

    return register


def hand_of(obs: Array) -> Vector:
    """Observed position of the hand."""
    return obs[HAND]


def object_of(obs: Array, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Vector:
    """The first object's position plus a constant offset."""
    return plus(obs[OBJECT], x, y, z)


def second_object_of(obs: Array) -> Vector:
    """Observed position of the second object."""
    return obs[SECOND_OBJECT]


def plus(v: Vector, x: float, y: float, z: float) -> Vector:
    """`v` plus a constant offset."""
    return v + jnp.asarray((x, y, z), v.dtype)


def goal_of(obs: Array) -> Vector:
    """Observed position of the goal."""
    return obs[GOAL]


def xy_distance(a: Array, b: Array) -> Array:
    """Length of the difference of the first two components."""
    d = a[:2] - b[:2]
    return jnp.sqrt(jnp.sum(d * d))


def z_distance(a: Vector, b: Vector) -> Array:
    """Distance in the third component."""
    return jnp.abs(a[2] - b[2])


def first(*cases: tuple[Array, Array | float], otherwise: Array | float) -> Array:
    """The value of the first case whose condition holds."""
    value = jnp.asarray(otherwise)
    for condition, candidate in reversed(cases):
        value = jnp.where(condition, candidate, value)
    return value


def act(obs: Array, target: Vector, gain: Array | float, grip: Array | float) -> Float[Array, "4"]:
    """Move the hand towards `target` in proportion to the distance, with a gripper effort."""
    return jnp.concatenate([gain * (target - hand_of(obs)), jnp.asarray(grip, obs.dtype)[None]])
