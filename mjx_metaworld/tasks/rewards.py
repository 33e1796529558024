"""The shaping functions of Meta-World's rewards, after `metaworld.utils.reward_utils` and `SawyerXYZEnv`.

Each equals the reference on every input that the reference accepts. Where the reference raises (a negative margin, a
product's factor outside [0, 1]) these return a finite value. Both branches of every `jnp.where` are finite.

What fifty rewards call hundreds of times is wrapped in `jax.jit`, so that it is traced once; the compiler inlines it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
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


def _excess(x: Scalar, bounds: tuple[float, float], margin: Scalar | float, scale: float) -> Scalar:
    """Square of `scale` times x's distance from `bounds`, in units of `margin`; infinite if that is not positive."""
    if isinstance(margin, (int, float)) and margin > 0:
        return _scaled_square(x, bounds, scale / margin)
    return _relative_square(x, bounds, margin, scale)


@functools.partial(jax.jit, static_argnames=("bounds", "scale"))
def _scaled_square(x: Scalar, bounds: tuple[float, float], scale: float) -> Scalar:
    return (_outside(x, bounds) * scale) ** 2


@functools.partial(jax.jit, static_argnames=("bounds", "scale"))
def _relative_square(x: Scalar, bounds: tuple[float, float], margin: Scalar, scale: float) -> Scalar:
    distance, sloped = _outside(x, bounds), margin > 0
    relative = distance / jnp.where(sloped, margin, 1.0)
    return jnp.where(sloped | (distance == 0.0), (relative * scale) ** 2, jnp.inf)


def _outside(x: Scalar, bounds: tuple[float, float]) -> Scalar:
    """Distance of x from an interval, 0 within."""
    return jnp.maximum(jnp.maximum(bounds[0] - x, x - bounds[1]), 0.0)


def tolerance(
    x: Scalar,
    bounds: tuple[float, float],
    margin: Scalar | float,
    sigmoid: Literal["long_tail", "gaussian"] = "long_tail",
) -> Scalar:
    """1 where x lies in `bounds` (inclusive); outside a sigmoid of the distance that is 0.1 at `margin`.

    A margin of zero (or less) gives 0 outside the bounds.
    """
    if sigmoid == "long_tail":
        return 1.0 / (1.0 + _excess(x, bounds, margin, _LONG_TAIL_SCALE))
    return jnp.exp(-0.5 * _excess(x, bounds, margin, _GAUSSIAN_SCALE))


def joint_tolerance(xs: Sequence[Scalar], bounds: tuple[tuple[float, float], ...], margins: Sequence[Scalar]) -> Scalar:
    """The Hamacher product of the tolerances (long tails) of several values.

    As 1 / hamacher(a, b) = 1 / a + 1 / b - 1 and 1 / tolerance = 1 + excess, it is 1 / (1 + the sum of the excesses).
    """
    excesses = [_excess(*each, _LONG_TAIL_SCALE) for each in zip(xs, bounds, margins, strict=True)]
    return 1.0 / (1.0 + functools.reduce(operator.add, excesses))


@jax.jit
def hamacher_product(a: Scalar, b: Scalar) -> Scalar:
    """The Hamacher t-norm `ab / (a + b - ab)`, 0 where both factors are 0."""
    product = a * b
    denominator = a + b - product
    return product / jnp.where(denominator > 0, denominator, 1.0)


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
    return norm((a - b) * np.array([1.0, 0.0, 1.0], a.dtype))


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

    def margin_y(pad: Vector) -> Scalar:
        return jnp.abs(jnp.abs(pad[1] - target_init[1]) - pad_success_thresh)

    between, over = (obj_radius, pad_success_thresh), (0.0, xz_thresh)
    caging = joint_tolerance(
        (jnp.abs(s.left_pad[1] - target[1]), jnp.abs(s.right_pad[1] - target[1]), _xz_distance(s.tcp, target)),
        (between, between, over),
        (margin_y(s.left_pad), margin_y(s.right_pad), _xz_distance(target_init, s.tcp_init) - xz_thresh),
    )
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
    caging = joint_tolerance(
        (*_gaps_to_pads(s), _xz_distance(s.tcp, s.object)),
        ((radius, _PAD_MARGIN), (radius, _PAD_MARGIN), (0.0, xz_thresh)),
        (left, right, _xz_distance(s.object_init, s.tcp_init) - xz_thresh),
    )
    return left, right, caging


def _gaps_to_pads(s: RewardInputs) -> tuple[Scalar, Scalar]:
    """The observed object's distances in y from the left and the right pad, counted inwards."""
    return s.left_pad[1] - s.object[1], s.object[1] - s.right_pad[1]


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
    bounds = (obj_radius, obj_radius + grip_slack)
    gripping = joint_tolerance(_gaps_to_pads(s), (bounds, bounds), (left, right))
    return (caging + jnp.where(caging > 0.95, gripping, 0.0)) / 2.0
