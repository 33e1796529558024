"""Friction cones: cost, force and curvature of contacts, from the residuals J qacc - aref (MuJoCo's Jaref).

The cost of a contact is half D times the squared distance to its friction cone's dual, so it has three zones: free
(zero; MuJoCo's satisfied), sticking (all four rows quadratic; MuJoCo's quadratic), and in between sliding (MuJoCo's
cone).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.spatial import sqrt

Array = jax.Array

# Far below any tangential acceleration or cone distance that matters, far above float32's smallest number.
TINY = 1e-15


class Cone(NamedTuple):
    """Zones of contacts relative to their friction cones; `normal` and `tangent` are of J qacc - aref."""

    normal: Array  # (K, L)
    tangent: Array  # (K, L) length over the three tangential rows
    free: Array  # (K, L) bool: no force
    sticking: Array  # (K, L) bool: all rows quadratic; neither: on the cone


Rows = Array | tuple[Array, Array, Array, Array]  # (K, 4, L), or the four rows of all contacts, each (K, L)


def _rows(values: Rows) -> tuple[Array, Array, Array, Array]:
    if isinstance(values, tuple):
        return values
    return values[:, 0], values[:, 1], values[:, 2], values[:, 3]


def locate(residual: Rows, mu: Array) -> Cone:
    """Zone of each contact for the residuals of its rows."""
    normal, tangent1, tangent2, tangent3 = _rows(residual)
    tangent = sqrt(tangent1**2 + tangent2**2 + tangent3**2)
    free = normal >= mu * tangent
    sticking = (mu * normal + tangent <= 0.0) & ~free
    return Cone(normal, tangent, free, sticking)


def _by_zone(cone: Cone, sticking: Array, sliding: Array) -> Array:
    return jnp.where(cone.sticking, sticking, jnp.where(cone.free, 0.0, sliding))


def contact_costs(cone: Cone, d: Array, mu: Array) -> Array:
    """Cost (K, L) of each contact."""
    sliding = d / (1.0 + mu * mu) * (cone.normal - mu * cone.tangent) ** 2
    return 0.5 * _by_zone(cone, d * (cone.normal**2 + cone.tangent**2), sliding)


def contact_forces(cone: Cone, d: Array, mu: Array) -> tuple[Array, Array]:
    """Normal forces (K, L), and factors (K, L) from the tangential residuals to the tangential forces."""
    pull = d / (1.0 + mu * mu) * (cone.normal - mu * cone.tangent)
    normal = _by_zone(cone, -d * cone.normal, -pull)
    tangential = _by_zone(cone, -d, pull * mu / jnp.maximum(cone.tangent, TINY))
    return normal, tangential


class Factors(NamedTuple):
    """Per-contact coefficients of W, where W^T W is the contacts' Hessian, and of the contact force; all (K, L)."""

    normal_own: Array
    normal_along: Array
    normal_force: Array
    tangent_own: Array
    tangent_along: Array  # to be multiplied by the row's residual
    tangent_force: Array  # likewise


def factors(cone: Cone, d: Array, mu: Array) -> Factors:
    """Compute the coefficients of contacts.

    Row r of W is own[r] J[r] + along[r] (residual's tangent . J), the latter product shared by the four rows.
    """
    length = jnp.maximum(cone.tangent, TINY)
    c = d / (1.0 + mu * mu)
    root_d, root_c = jnp.sqrt(d), jnp.sqrt(c)
    root_q = jnp.sqrt(jnp.maximum(c * mu * (mu * cone.tangent - cone.normal) / length, 0.0))
    zero = jnp.zeros_like(d)
    normal_own, tangent_own = _by_zone(cone, root_d, root_c), _by_zone(cone, root_d, root_q)
    normal_along = _by_zone(cone, zero, -root_c * mu / length)
    tangent_along = _by_zone(cone, zero, -root_q / length**2)
    normal_force, tangent_force = contact_forces(cone, d, mu)
    return Factors(normal_own, normal_along, normal_force, tangent_own, tangent_along, tangent_force)


def row_factors(residual: Array, d: Array, mu: Array) -> tuple[Array, Array, Array]:
    """For the rows (K, 4, L) of contacts: `own` and `along` of W as in `factors`, and the force."""
    of = factors(Cone(*fence(*locate(residual, mu))), d, mu)
    is_normal = (np.arange(4) == 0)[:, None]
    own = jnp.where(is_normal, of.normal_own[:, None], of.tangent_own[:, None])
    along = jnp.where(is_normal, of.normal_along[:, None], of.tangent_along[:, None] * residual)
    force = jnp.where(is_normal, of.normal_force[:, None], of.tangent_force[:, None] * residual)
    return fence(own, along, force)


def line_derivatives(residual: Rows, along: Rows, d: Array, mu: Array, sliding_d: Array) -> tuple[Array, Array]:
    """First and second derivatives (K, L) of the contacts' costs where the residuals change by `along` per step.

    `sliding_d` is D / (1 + mu^2).
    """
    cone = locate(residual, mu)
    _, tangent1, tangent2, tangent3 = _rows(residual)
    normal_slope, slope1, slope2, slope3 = _rows(along)
    work = tangent1 * slope1 + tangent2 * slope2 + tangent3 * slope3
    tangent_curvature = slope1**2 + slope2**2 + slope3**2
    per_length = 1.0 / jnp.maximum(cone.tangent, TINY)
    tangent_slope = work * per_length
    bend = jnp.maximum(tangent_curvature - tangent_slope**2, 0.0) * per_length
    gap, gap_slope = cone.normal - mu * cone.tangent, normal_slope - mu * tangent_slope
    first = _by_zone(cone, d * (cone.normal * normal_slope + work), sliding_d * gap * gap_slope)
    second = _by_zone(cone, d * (normal_slope**2 + tangent_curvature), sliding_d * (gap_slope**2 - gap * mu * bend))
    return first, second
