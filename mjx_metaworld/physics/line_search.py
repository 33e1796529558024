"""Line search: the minimum of the solver's cost along a direction."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.cone import contact_costs, line_derivatives, zone_of
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.groups import repeat
from mjx_metaworld.physics.problem import Columns, Kept, Problem, SearchDirection, columns_at
from mjx_metaworld.physics.spatial import apply, dot
from mjx_metaworld.physics.sums import reduce_axis

Array = jax.Array

# A line search has found its minimum where the derivative has fallen to this fraction of that at the start.
FLAT = 1e-4

# A step may raise the cost by this fraction of the cost's terms, which is what rounding can do to their sum.
COST_ROUNDING = {jnp.dtype("float32"): 1e-6, jnp.dtype("float64"): 1e-14}


class _Bracket(NamedTuple):
    """Ends of the interval that holds the minimum, with the magnitudes of the derivatives there; all (L,)."""

    alpha: Array  # where to evaluate next
    lower: Array
    lower_slope: Array
    upper: Array
    upper_slope: Array


def line_search(
    problem: Problem, contacts: Kept, line: SearchDirection, take_full: Array, done: Array, config: EngineConfig
) -> Array:
    """Step (L,) that minimizes the cost along a line, by Newton's method on its derivative inside a bracket.

    The contacts' Jv is along the line.

    `take_full` (L,): accept step 1 unless it raises the cost. `done` (L,), all of which are `take_full`: no step is
    needed.

    The cost is convex, so every point with a negative derivative costs less than the start. The step is the end of
    the bracket with the smaller derivative, and the lower end should the other one cost more than the start.
    """
    efc = problem.efc
    limit_jv = efc.limit_jac * line.search
    slope = dot(line.search, line.smooth_gradient)
    curvature = dot(line.search, barrier(apply(problem.smooth_hessian, line.search)))
    limit_jv, initial, slope, curvature = barrier(limit_jv, -dot(line.search, line.gradient), slope, curvature)

    def derivatives(alpha: Array, done: Array) -> tuple[Array, Array]:
        def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            jaref, jv, d, mu, cone_d = columns_at(contacts, first, problem.at_once)
            terms = barrier(*line_derivatives(jaref + alpha * jv, jv, d, mu, cone_d))
            return carry[0] + reduce_axis("add", terms[0]), carry[1] + reduce_axis("add", terms[1])

        limit = line.limit + alpha * limit_jv
        limit_d = jnp.where(limit < 0.0, efc.limit_d, 0.0)
        start = barrier(
            slope + alpha * curvature + reduce_axis("add", limit_d * limit * limit_jv),
            curvature + reduce_axis("add", limit_d * limit_jv**2),
        )
        return problem.over_contacts(config.execution, add_group, start, done)

    def evaluate(b: _Bracket) -> _Bracket:
        found = flat(b)
        first, second = barrier(*derivatives(b.alpha, found))
        falling = first < 0.0
        lower, lower_slope = jnp.where(falling, b.alpha, b.lower), jnp.where(falling, -first, b.lower_slope)
        upper, upper_slope = jnp.where(falling, b.upper, b.alpha), jnp.where(falling, b.upper_slope, first)
        newton = b.alpha - first / second
        bisection = jnp.where(jnp.isinf(upper), 2.0 * b.alpha, 0.5 * (lower + upper))
        alpha = jnp.where((newton > lower) & (newton < upper), newton, bisection)
        new = _Bracket(alpha, lower, lower_slope, upper, upper_slope)
        return _Bracket(*barrier(*(jnp.where(found, old, x) for old, x in zip(b, new, strict=True))))

    def flat(b: _Bracket) -> Array:
        return take_full | (jnp.minimum(b.lower_slope, b.upper_slope) <= FLAT * initial)

    # The direction is Newton's, so the first guess is 1.
    one, zero, infinite = jnp.ones_like(initial), jnp.zeros_like(initial), jnp.full_like(initial, jnp.inf)
    if isinstance(contacts, Columns):  # from numbers at hand, as constants would be kernels of their own
        zero = 0.0 * initial
        one, infinite = 1.0 + zero, jnp.inf + zero
    start = _Bracket(one, zero, initial, infinite, infinite)
    end = repeat(evaluate, start, flat, config.accuracy.linesearch_iterations, config.execution.early_exit)

    chosen = barrier(jnp.where(take_full, 1.0, jnp.where(end.upper_slope < end.lower_slope, end.upper, end.lower)))

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        jaref, jv, d, mu, _ = columns_at(contacts, first, problem.at_once)
        before = contact_costs(zone_of(jaref, mu), d, mu)
        before, after = barrier(before, contact_costs(zone_of(jaref + chosen * jv, mu), d, mu))
        return carry[0] + reduce_axis("add", before), carry[1] + reduce_axis("add", after - before)

    limit_start = limit_costs(line.limit, efc.limit_d)
    limit_change = limit_costs(line.limit + chosen * limit_jv, efc.limit_d) - limit_start
    start = barrier(
        reduce_axis("add", limit_start), chosen * slope + 0.5 * chosen**2 * curvature + reduce_axis("add", limit_change)
    )
    scale, change = problem.over_contacts(config.execution, add_group, start, done)
    allowed = COST_ROUNDING[chosen.dtype] * (scale + jnp.abs(chosen * slope))
    return barrier(jnp.where(change <= allowed, chosen, end.lower))


def limit_costs(jaref: Array, limit_d: Array) -> Array:
    """Costs (..., L) of limits with these residuals."""
    return 0.5 * limit_d * jnp.minimum(jaref, 0.0) ** 2
