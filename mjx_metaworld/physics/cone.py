"""Friction cones: cost, force and curvature of contacts, from the residuals J qacc - aref (MuJoCo's Jaref).

The cost of a contact is half D times the squared distance to its friction cone's dual, so it has MuJoCo's three
zones: satisfied (zero), quadratic (all rows are), and in between the cone, on which the contact slides.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.spatial import sqrt

Array = jax.Array

# Far below any tangential acceleration or cone distance that matters, far above float32's smallest number.
TINY = 1e-15


class Zone(NamedTuple):
    """Zones of contacts relative to their friction cones; `normal` and `tangent` are of J qacc - aref."""

    normal: Array  # (K, L)
    tangent: Array  # (K, L) length over the other rows
    satisfied: Array  # (K, L) bool: no force
    quadratic: Array  # (K, L) bool: all rows quadratic; neither: on the cone


Rows = Array | tuple[Array, ...]  # (K, R, L), or the R rows of all contacts, each (K, L)


def _rows(values: Rows) -> tuple[Array, ...]:
    return values if isinstance(values, tuple) else tuple(values[:, row] for row in range(values.shape[1]))


def _sum_of_products(first: Sequence[Array], second: Sequence[Array]) -> Array:
    return functools.reduce(operator.add, (a * b for a, b in zip(first, second, strict=True)))


def _sum_of_squares(rows: Sequence[Array]) -> Array:
    return functools.reduce(operator.add, (row**2 for row in rows))


def zone_of(jaref: Rows, mu: Array) -> Zone:
    """Zone of each contact for the residuals of its rows."""
    normal, *tangents = _rows(jaref)
    tangent = sqrt(_sum_of_squares(tangents))
    satisfied = normal >= mu * tangent
    quadratic = (mu * normal + tangent <= 0.0) & ~satisfied
    return Zone(normal, tangent, satisfied, quadratic)


def _by_zone(zone: Zone, quadratic: Array, on_cone: Array) -> Array:
    return jnp.where(zone.quadratic, quadratic, jnp.where(zone.satisfied, 0.0, on_cone))


def contact_costs(zone: Zone, d: Array, mu: Array) -> Array:
    """Cost (K, L) of each contact."""
    on_cone = d / (1.0 + mu * mu) * (zone.normal - mu * zone.tangent) ** 2
    return 0.5 * _by_zone(zone, d * (zone.normal**2 + zone.tangent**2), on_cone)


def contact_forces(zone: Zone, d: Array, mu: Array) -> tuple[Array, Array]:
    """Normal forces (K, L), and factors (K, L) from the tangential residuals to the tangential forces."""
    pull = d / (1.0 + mu * mu) * (zone.normal - mu * zone.tangent)
    normal = _by_zone(zone, -d * zone.normal, -pull)
    tangential = _by_zone(zone, -d, pull * mu / jnp.maximum(zone.tangent, TINY))
    return normal, tangential


class Factors(NamedTuple):
    """Per-contact coefficients of W, where W^T W is the contacts' Hessian, and of the contact force; all (K, L)."""

    normal_own: Array
    normal_along: Array
    normal_force: Array
    tangent_own: Array
    tangent_along: Array  # to be multiplied by the row's residual
    tangent_force: Array  # likewise


def factors(zone: Zone, d: Array, mu: Array) -> Factors:
    """Compute the coefficients of contacts.

    Row r of W is own[r] J[r] + along[r] (residual's tangent . J), the latter product shared by all rows.
    """
    length = jnp.maximum(zone.tangent, TINY)
    c = d / (1.0 + mu * mu)
    root_d, root_c = jnp.sqrt(d), jnp.sqrt(c)
    root_q = jnp.sqrt(jnp.maximum(c * mu * (mu * zone.tangent - zone.normal) / length, 0.0))
    zero = jnp.zeros_like(d)
    normal_own, tangent_own = _by_zone(zone, root_d, root_c), _by_zone(zone, root_d, root_q)
    normal_along = _by_zone(zone, zero, -root_c * mu / length)
    tangent_along = _by_zone(zone, zero, -root_q / length**2)
    normal_force, tangent_force = contact_forces(zone, d, mu)
    return Factors(normal_own, normal_along, normal_force, tangent_own, tangent_along, tangent_force)


def row_factors(jaref: Array, d: Array, mu: Array) -> tuple[Array, Array, Array]:
    """For the rows (K, R, L) of contacts: `own` and `along` of W as in `factors`, and the force."""
    of = factors(Zone(*barrier(*zone_of(jaref, mu))), d, mu)
    is_normal = (np.arange(jaref.shape[1]) == 0)[:, None]
    own = jnp.where(is_normal, of.normal_own[:, None], of.tangent_own[:, None])
    along = jnp.where(is_normal, of.normal_along[:, None], of.tangent_along[:, None] * jaref)
    force = jnp.where(is_normal, of.normal_force[:, None], of.tangent_force[:, None] * jaref)
    return barrier(own, along, force)


def line_derivatives(jaref: Rows, jv: Rows, d: Array, mu: Array, cone_d: Array) -> tuple[Array, Array]:
    """First and second derivatives (K, L) of the contacts' costs where the residuals change by `jv` per step.

    `cone_d` is D / (1 + mu^2).
    """
    zone = zone_of(jaref, mu)
    _, *tangents = _rows(jaref)
    normal_jv, *tangents_jv = _rows(jv)
    work = _sum_of_products(tangents, tangents_jv)
    tangent_curvature = _sum_of_squares(tangents_jv)
    per_length = 1.0 / jnp.maximum(zone.tangent, TINY)
    tangent_slope = work * per_length
    bend = jnp.maximum(tangent_curvature - tangent_slope**2, 0.0) * per_length
    gap, gap_slope = zone.normal - mu * zone.tangent, normal_jv - mu * tangent_slope
    first = _by_zone(zone, d * (zone.normal * normal_jv + work), cone_d * gap * gap_slope)
    second = _by_zone(zone, d * (normal_jv**2 + tangent_curvature), cone_d * (gap_slope**2 - gap * mu * bend))
    return first, second
