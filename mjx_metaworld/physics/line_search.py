"""Line search: the minimum of the solver's cost along a direction."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.cone import contact_costs, line_derivatives, locate
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.groups import repeat
from mjx_metaworld.physics.problem import Columns, Descent, Kept, Problem, columns_at
from mjx_metaworld.physics.spatial import apply, dot
from mjx_metaworld.physics.sums import fold

Array = jax.Array

# A line search has found its minimum where the derivative has fallen to this fraction of that at the start.
FLAT = 1e-4

# A step may raise the cost by this fraction of the cost's terms, which is what rounding can do to their sum.
COST_ROUNDING = {jnp.dtype("float32"): 1e-6, jnp.dtype("float64"): 1e-14}


class _Bracket(NamedTuple):
    """Ends of the interval that holds the minimum, with the magnitudes of the derivatives there; all (L,)."""

    step: Array  # where to evaluate next
    lower: Array
    lower_slope: Array
    upper: Array
    upper_slope: Array


def search(problem: Problem, contacts: Kept, line: Descent, full: Array, done: Array, config: EngineConfig) -> Array:
    """Step (L,) that minimizes the cost along a line, by Newton's method on its derivative inside a bracket.

    The contacts' slopes are along the line.

    `full` (L,): accept step 1 unless it raises the cost. `done` (L,), all of which are `full`: no step is needed.

    The cost is convex, so every point with a negative derivative costs less than the start. The step is the end of
    the bracket with the smaller derivative, and the lower end should the other one cost more than the start.
    """
    rows = problem.rows
    limit_slope = rows.limit_jac * line.direction
    slope = dot(line.direction, line.smooth_gradient)
    curvature = dot(line.direction, fence(apply(problem.smooth_hessian, line.direction)))
    limit_slope, initial, slope, curvature = fence(limit_slope, -dot(line.direction, line.gradient), slope, curvature)

    def derivatives(step: Array, done: Array) -> tuple[Array, Array]:
        def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            residual, along, d, mu, sliding_d = columns_at(contacts, first, problem.at_once)
            terms = fence(*line_derivatives(residual + step * along, along, d, mu, sliding_d))
            return carry[0] + fold("add", terms[0]), carry[1] + fold("add", terms[1])

        limit = line.limit + step * limit_slope
        limit_d = jnp.where(limit < 0.0, rows.limit_d, 0.0)
        start = fence(
            slope + step * curvature + fold("add", limit_d * limit * limit_slope),
            curvature + fold("add", limit_d * limit_slope**2),
        )
        return problem.over_contacts(config.execution, add_group, start, done)

    def evaluate(b: _Bracket) -> _Bracket:
        found = flat(b)
        first, second = fence(*derivatives(b.step, found))
        falling = first < 0.0
        lower, lower_slope = jnp.where(falling, b.step, b.lower), jnp.where(falling, -first, b.lower_slope)
        upper, upper_slope = jnp.where(falling, b.upper, b.step), jnp.where(falling, b.upper_slope, first)
        newton = b.step - first / second
        bisection = jnp.where(jnp.isinf(upper), 2.0 * b.step, 0.5 * (lower + upper))
        step = jnp.where((newton > lower) & (newton < upper), newton, bisection)
        new = _Bracket(step, lower, lower_slope, upper, upper_slope)
        return _Bracket(*fence(*(jnp.where(found, old, x) for old, x in zip(b, new, strict=True))))

    def flat(b: _Bracket) -> Array:
        return full | (jnp.minimum(b.lower_slope, b.upper_slope) <= FLAT * initial)

    # The direction is Newton's, so the first guess is 1.
    one, zero, infinite = jnp.ones_like(initial), jnp.zeros_like(initial), jnp.full_like(initial, jnp.inf)
    if isinstance(contacts, Columns):  # from numbers at hand, as constants would be kernels of their own
        zero = 0.0 * initial
        one, infinite = 1.0 + zero, jnp.inf + zero
    start = _Bracket(one, zero, initial, infinite, infinite)
    end = repeat(evaluate, start, flat, config.accuracy.linesearch_iterations, config.execution.early_exit)

    chosen = fence(jnp.where(full, 1.0, jnp.where(end.upper_slope < end.lower_slope, end.upper, end.lower)))

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        residual, along, d, mu, _ = columns_at(contacts, first, problem.at_once)
        before = contact_costs(locate(residual, mu), d, mu)
        before, after = fence(before, contact_costs(locate(residual + chosen * along, mu), d, mu))
        return carry[0] + fold("add", before), carry[1] + fold("add", after - before)

    limit_start = limit_costs(line.limit, rows.limit_d)
    limit_change = limit_costs(line.limit + chosen * limit_slope, rows.limit_d) - limit_start
    start = fence(fold("add", limit_start), chosen * slope + 0.5 * chosen**2 * curvature + fold("add", limit_change))
    scale, change = problem.over_contacts(config.execution, add_group, start, done)
    allowed = COST_ROUNDING[chosen.dtype] * (scale + jnp.abs(chosen * slope))
    return fence(jnp.where(change <= allowed, chosen, end.lower))


def limit_costs(residual: Array, limit_d: Array) -> Array:
    """Costs (..., L) of limits with these residuals."""
    return 0.5 * limit_d * jnp.minimum(residual, 0.0) ** 2
