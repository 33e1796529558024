"""The shaping functions of Meta-World's rewards, after `metaworld.utils.reward_utils` and `SawyerXYZEnv`.

Each equals the reference on every input that the reference accepts. Where the reference raises (a negative margin, a
product's factor outside [0, 1]) these return a finite value. Both branches of every `jnp.where` are finite.

What fifty rewards call hundreds of times is wrapped in `jax.jit`, so that it is traced once; the compiler inlines it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mjx_metaworld.physics.spatial import sqrt

if TYPE_CHECKING:
    from mjx_metaworld.tasks.spec import RewardInputs

Scalar = Float[Array, ""]
Vector = Float[Array, "3"]

_VALUE_AT_MARGIN = 0.1
_LONG_TAIL_SCALE = float(np.sqrt(1.0 / _VALUE_AT_MARGIN - 1.0))
_PAD_MARGIN = 0.05
_GAUSSIAN_SCALE = float(np.sqrt(-2.0 * np.log(_VALUE_AT_MARGIN)))


@jax.jit
def norm(v: Array) -> Scalar:
    """Euclidean length of a vector of any size."""
    return sqrt(jnp.sum(v * v))


@functools.partial(jax.jit, static_argnames="sigmoid")
def tolerance(
    x: Scalar,
    bounds: tuple[float, float],
    margin: Scalar | float,
    sigmoid: Literal["long_tail", "gaussian"] = "long_tail",
) -> Scalar:
    """1 where x lies in `bounds` (inclusive); outside a sigmoid of the distance that is 0.1 at `margin`.

    A margin of zero (or less) gives 0 outside the bounds.
    """
    lower, upper = bounds
    inside = (lower <= x) & (x <= upper)
    sloped = margin > 0
    d = jnp.where(x < lower, lower - x, x - upper) / jnp.where(sloped, margin, 1.0)
    value = (
        1.0 / ((d * _LONG_TAIL_SCALE) ** 2 + 1.0)
        if sigmoid == "long_tail"
        else jnp.exp(-0.5 * (d * _GAUSSIAN_SCALE) ** 2)
    )
    return jnp.where(inside, 1.0, jnp.where(sloped, value, 0.0))


@jax.jit
def hamacher_product(a: Scalar, b: Scalar) -> Scalar:
    """The Hamacher t-norm `ab / (a + b - ab)`, 0 where both factors are 0."""
    denominator = a + b - a * b
    positive = denominator > 0
    return jnp.where(positive, a * b / jnp.where(positive, denominator, 1.0), 0.0)


@jax.jit
def rect_prism_tolerance(current: Vector, zero: Vector, one: Vector) -> Scalar:
    """1 outside the box spanned by two corners; inside it rises from 0 at corner `zero` to 1 at corner `one`."""
    inside = jnp.all((jnp.minimum(zero, one) <= current) & (current <= jnp.maximum(zero, one)))
    extent = one - zero
    fraction = (current - zero) / jnp.where(extent == 0.0, 1.0, extent)
    return jnp.where(inside, fraction[0] * fraction[1] * fraction[2], 1.0)


def gripper_closing(action: Float[Array, "4"], effort: float = 1.0) -> Scalar:
    """The share of `effort` with which the action closes the gripper, 0 to 1."""
    return jnp.clip(action[3], 0.0, effort) / effort


@jax.jit
def _xz_distance(a: Vector, b: Vector) -> Scalar:
    return sqrt((a[0] - b[0]) ** 2 + (a[2] - b[2]) ** 2)


def caging_reward(
    s: RewardInputs,
    target: Vector,
    target_init: Vector,
    *,
    obj_radius: float,
    pad_success_thresh: float,
    xz_thresh: float,
    object_reach_radius: float = 0.01,
    desired_gripper_effort: float = 1.0,
    density: Literal["plain", "medium", "high"] = "plain",
) -> Scalar:
    """The reference's `_gripper_caging_reward`: pads around the target in y, gripper over it in xz, then closed.

    Args:
        s: the transition.
        target: what to cage, the reference's `obj_pos`.
        target_init: where it was at reset; the margins come from there.
        obj_radius: half-width of the target between the pads.
        pad_success_thresh: distance in y within which a pad counts as placed.
        xz_thresh: distance in the xz plane within which the gripper counts as placed.
        object_reach_radius: distance within which the target counts as reached (`medium` only).
        desired_gripper_effort: effort that counts as closed.
        density: `high` averages with the caging alone, `medium` with a reaching term.
    """

    def cage_y(pad: Vector) -> Scalar:
        margin = jnp.abs(jnp.abs(pad[1] - target_init[1]) - pad_success_thresh)
        return tolerance(jnp.abs(pad[1] - target[1]), (obj_radius, pad_success_thresh), margin)

    caging_y = hamacher_product(cage_y(s.left_pad), cage_y(s.right_pad))
    margin_xz = _xz_distance(target_init, s.tcp_init) - xz_thresh
    caging_xz = tolerance(_xz_distance(s.tcp, target), (0.0, xz_thresh), margin_xz)
    caging = hamacher_product(caging_y, caging_xz)
    gripping = jnp.where(caging > 0.97, gripper_closing(s.action, desired_gripper_effort), 0.0)
    both = hamacher_product(caging, gripping)
    if density == "high":
        return (both + caging) / 2.0
    if density == "medium":
        margin = jnp.abs(norm(target_init - s.tcp_init) - object_reach_radius)
        reach = tolerance(norm(target - s.tcp), (0.0, object_reach_radius), margin)
        return (both + reach) / 2.0
    return both


def _live_pad_caging(s: RewardInputs, radius: float, xz_thresh: float) -> tuple[Scalar, Scalar, Scalar]:
    """Caging of the observed object by the tasks that mean to take their y margins from the pads at reset.

    The reference's `init_left_pad` and `init_right_pad` are views of the current pads, so the margins move with the
    gripper.

    Returns:
        The y margins of the left and the right pad, and the caging.
    """

    def margin_y(pad: Vector) -> Scalar:
        return jnp.abs(jnp.abs(s.object[1] - pad[1]) - _PAD_MARGIN)

    left, right = margin_y(s.left_pad), margin_y(s.right_pad)
    margin_xz = _xz_distance(s.object_init, s.tcp_init) - xz_thresh
    caging_xz = tolerance(_xz_distance(s.tcp, s.object), (0.0, xz_thresh), margin_xz)
    caging_y = _between_pads(s, (radius, _PAD_MARGIN), left, right)
    return left, right, hamacher_product(caging_y, caging_xz)


def _between_pads(s: RewardInputs, bounds: tuple[float, float], left_margin: Scalar, right_margin: Scalar) -> Scalar:
    """Whether the object's distance from either pad, counted inwards, lies in `bounds`."""
    left = tolerance(s.left_pad[1] - s.object[1], bounds, left_margin)
    right = tolerance(s.object[1] - s.right_pad[1], bounds, right_margin)
    return hamacher_product(left, right)


def pick_place_caging_reward(s: RewardInputs) -> Scalar:
    """pick-place's own `_gripper_caging_reward`, around the observed object."""
    _, _, caging = _live_pad_caging(s, radius=0.015, xz_thresh=0.005)
    gripping = jnp.where(caging > 0.97, gripper_closing(s.action), 0.0)
    return (hamacher_product(caging, gripping) + caging) / 2.0


def pads_caging_reward(s: RewardInputs, *, obj_radius: float, grip_slack: float, xz_thresh: float) -> Scalar:
    """The `_gripper_caging_reward` of push-back, sweep, sweep-into and soccer: caged, then held by the pads.

    Args:
        s: the transition; what is caged is the observed object.
        obj_radius: half-width of the object between the pads.
        grip_slack: how much farther away than that a pad still grips.
        xz_thresh: distance in the xz plane within which the gripper counts as placed.
    """
    left, right, caging = _live_pad_caging(s, obj_radius, xz_thresh)
    gripping = _between_pads(s, (obj_radius, obj_radius + grip_slack), left, right)
    return (caging + jnp.where(caging > 0.95, gripping, 0.0)) / 2.0
