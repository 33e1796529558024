"""The constrained dynamics: MuJoCo's primal Newton solver, with bounded counts.

qacc minimizes the Gauss deviation from the unconstrained acceleration plus the constraints' cost s(J qacc - aref).
The cost of a contact is half D times the squared distance to its friction cone's dual, so it has three zones: free
(zero), both normal and tangential rows quadratic, and in between a cone. Each iteration takes one exact Newton
direction and searches along it.

Inside, everything is padded to the 18 dofs: at this size dense arrays cost less than the seams between blocks. The
weld's rows are always active and quadratic, so they are part of the smooth cost. An environment that has converged
stays as it is, so that its result does not depend on how long the others of its batch take.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.cone import contact_costs, contact_forces, line_derivatives, locate, row_factors
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.groups import contacts_at_once, for_groups, highest, tile_by_tile
from mjx_metaworld.physics.inertia import MassMatrix, dense, solve_mass
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.model import ARM_DOFS, CONTACTS_PER_GROUP, NV, PhysicsConfig
from mjx_metaworld.physics.rows import put_rows, rows_at, take
from mjx_metaworld.physics.spatial import apply, dot
from mjx_metaworld.physics.sums import contract, fold

Array = jax.Array

# A line search has found its minimum where the derivative has fallen to this fraction of that at the start.
_FLAT = 1e-4

# A step may raise the cost by this fraction of the cost's terms, which is what rounding can do to their sum.
_COST_ROUNDING = {jnp.dtype("float32"): 1e-6, jnp.dtype("float64"): 1e-14}


class Solution(NamedTuple):
    """Accelerations and constraint forces of one substep."""

    qacc: Array  # (18, L)
    qfrc_constraint: Array  # (18, L) generalized constraint force
    contact_normal_force: Array  # (K, L) N
    iterations: Array  # (L,) int32 until converged


class _Problem(NamedTuple):
    mass: Array  # (18, 18, L)
    qfrc_smooth: Array  # (18, L)
    smooth_hessian: Array  # (18, 18, L) mass matrix plus the weld's J^T D J
    weld_jac: Array  # (6, 18, L)
    contact_jac: Array  # (..., 4, 18, L) of the contacts from row `first_contact` on
    first_contact: Array | int
    rows: Constraints  # all but the contacts' Jacobian
    at_once: int  # contacts in a group

    def contact_jac_at(self, first: Array | int) -> Array:
        """(n, 4, 18, L) Jacobians of a group of contacts."""
        return rows_at(self.first_contact + first, self.at_once, self.contact_jac)


# Each pair of dofs once, i up to j: where a symmetric matrix has only its upper triangle, entry (i, j) is number
# _PAIR[i, j] of those at (_ROWS, _COLS).
_ROWS, _COLS = np.triu_indices(NV)
_PAIR = np.zeros((NV, NV), int)
_PAIR[_ROWS, _COLS] = _PAIR[_COLS, _ROWS] = np.arange(len(_ROWS))

# Columns of what is kept of a contact, side by side so that a group of contacts is one slice: J qacc - aref, its change
# along the search direction, and D, mu and the sliding D / (1 + mu^2).
_RESIDUAL, _SLOPE, _D, _MU, _SLIDING_D = slice(0, 4), slice(4, 8), 8, 9, 10
_COLUMNS = 11


class _Iterate(NamedTuple):
    qacc: Array  # (18, L)
    contact: Array  # (K, 11, L)
    converged: Array  # (L,) bool
    count: Array  # (L,) int32 iterations before that


def solve(
    mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints, qacc_warmstart: Array, config: PhysicsConfig
) -> Solution:
    """Accelerations under all constraints.

    Args:
        mass: blocks of the joint-space inertia, lanes last.
        qfrc_smooth: (18, L) applied, bias and passive forces.
        constraints: the substep's rows.
        qacc_warmstart: (18, L) the previous solution; used where it costs less than the unconstrained acceleration.
        config: at most `solver_iterations` Newton steps, each with at most `linesearch_iterations` evaluations along
            the step, until a step is small; with `adaptive` the loops end when every lane at hand has converged.

    Returns:
        The solution. `qfrc_constraint` is M qacc - qfrc_smooth, which equals J^T f at the optimum but does not
        magnify rounding errors of qacc by the constraints' stiffness.
    """
    jac, rows = constraints.contact_jac, constraints.replace(contact_jac=None)

    def of_tile(jac: Array, first: Array | int, args: tuple[MassMatrix, Array, Constraints, Array]) -> Solution:
        mass, qfrc_smooth, rows, qacc_warmstart = args
        return _solve(mass, _prepare(mass, qfrc_smooth, jac, first, rows, config), qacc_warmstart, config)

    return tile_by_tile(of_tile, jac, (mass, qfrc_smooth, rows, qacc_warmstart), config)


def _solve(mass: MassMatrix, problem: _Problem, qacc_warmstart: Array, config: PhysicsConfig) -> Solution:
    rows, qfrc_smooth = problem.rows, problem.qfrc_smooth
    start = _start(problem, qacc_warmstart, fence(solve_mass(mass, qfrc_smooth)), config)

    def iterate(s: _Iterate) -> _Iterate:
        return _newton_step(problem, s, config)

    end = _repeat(iterate, start, lambda s: s.converged, config.solver_iterations, config)
    d, mu = rows.contact_d, rows.contact_mu
    normal_force, _ = contact_forces(locate(end.contact[:, _RESIDUAL], mu), d, mu)
    return Solution(end.qacc, fence(apply(problem.mass, end.qacc) - qfrc_smooth), normal_force, end.count)


def _repeat(body, start, finished, limit: int, config: PhysicsConfig):
    """Apply `body` at most `limit` times; if adaptive, no longer than until all lanes at hand have finished."""
    if not config.adaptive:
        return jax.lax.fori_loop(0, limit, lambda _, s: body(s), start)

    def unfinished(carry) -> Array:
        count, pending, _ = carry
        return (count < limit) & pending

    def step(carry):
        count, _, s = carry
        s = body(s)
        return count + 1, highest(~finished(s)), s

    return jax.lax.while_loop(unfinished, step, (0, jnp.array(True), start))[2]


def _prepare(
    mass: MassMatrix,
    qfrc_smooth: Array,
    contact_jac: Array,
    first_contact: Array | int,
    rows: Constraints,
    config: PhysicsConfig,
) -> _Problem:
    dense_mass = fence(dense(mass))
    arm_columns = ((0, 0), (ARM_DOFS.start, NV - ARM_DOFS.stop), (0, 0))
    weld_jac = fence(jnp.pad(rows.weld_jac, arm_columns))
    weighted = fence(rows.weld_d[:, None] * weld_jac)
    hessian = dense_mass + contract(weighted[:, :, None], weld_jac[:, None], 0)
    at_once = contacts_at_once(rows.contact_d.shape[0], config)
    return _Problem(dense_mass, qfrc_smooth, fence(hessian), weld_jac, contact_jac, first_contact, rows, at_once)


def _start(problem: _Problem, qacc_warmstart: Array, qacc_smooth: Array, config: PhysicsConfig) -> _Iterate:
    """The cheaper of the warm start and the unconstrained acceleration."""
    rows = problem.rows

    both = jnp.stack([qacc_warmstart, qacc_smooth], axis=1)  # (18, 2, L)

    def add_group(first: Array | int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        jac = problem.contact_jac_at(first)
        aref, d, mu = rows_at(first, problem.at_once, rows.contact_aref, rows.contact_d, rows.contact_mu)
        residual = fence(_contact_rows(jac[:, :, :, None], both) - aref[:, :, None])  # (n, 4, 2, L)
        costs = fence(contact_costs(locate(residual, mu[:, None]), d[:, None], mu[:, None]))
        residuals, cost = found
        return put_rows(residuals, residual, first), cost + _sum(costs)

    def none(*columns: int) -> Array:
        return jnp.zeros((rows.contact_d.shape[0], *columns, qacc_warmstart.shape[-1]), qacc_warmstart.dtype)

    residuals, cost = _over_contacts(problem, config, add_group, (none(4, 2), _smooth_cost(problem, both)))
    warmer = cost[0] <= cost[1]

    def choose(first: Array | int, contact: Array) -> Array:
        residual, d, mu = rows_at(first, problem.at_once, residuals, rows.contact_d, rows.contact_mu)
        residual = jnp.where(warmer, residual[:, :, 0], residual[:, :, 1])
        unknown = residual  # the slopes, until there is a direction
        columns = (residual, unknown, *(x[:, None] for x in (d, mu, d / (1.0 + mu * mu))))
        return put_rows(contact, fence(jnp.concatenate(columns, axis=1)), first)

    contact = _over_contacts(problem, config, choose, none(_COLUMNS))
    qacc = fence(jnp.where(warmer, qacc_warmstart, qacc_smooth))
    return _Iterate(qacc, contact, jnp.zeros(warmer.shape, bool), jnp.zeros(warmer.shape, jnp.int32))


def _over_contacts(problem: _Problem, config: PhysicsConfig, body, start, done: Array | bool = False):
    """Fold `body` over the groups of contacts that some lane needs which is not `done` (L,)."""
    rows = problem.rows
    needed = jnp.where(done, 0, rows.num_contacts)
    return for_groups(rows.contact_d.shape[0], problem.at_once, needed, config, body, start)


def _sum(rows: Array) -> Array:
    """Sum over the first axis, as a reduction where there are more rows than are worth writing out."""
    return fold("add", rows) if len(rows) <= NV else jnp.sum(rows, axis=0)


def _all(rows: Array) -> Array:
    return fold("and", rows) if len(rows) <= NV else jnp.all(rows, axis=0)


def _contact_rows(jac: Array, vector: Array) -> Array:
    """Contact Jacobians (n, 4, 18, ..., L) times a vector (18, ..., L): (n, 4, ..., L)."""
    return contract(jac, vector[None, None], 2)


def _limit_costs(residual: Array, limit_d: Array) -> Array:
    return 0.5 * limit_d * jnp.minimum(residual, 0.0) ** 2


def _smooth_cost(problem: _Problem, qacc: Array) -> Array:
    """Costs (n, L) of n accelerations (18, n, L) without the contacts', up to a constant."""
    rows = problem.rows
    momentum = apply(problem.mass[:, :, None], qacc)
    weld = apply(problem.weld_jac[:, :, None], qacc) - rows.weld_aref[:, None]
    momentum, weld = fence(momentum, weld)
    gauss = dot(qacc, 0.5 * momentum - problem.qfrc_smooth[:, None])
    limit = rows.limit_jac[:, None] * qacc - rows.limit_aref[:, None]
    limit_cost = _sum(_limit_costs(limit, rows.limit_d[:, None]))
    return fence(gauss + 0.5 * dot(weld, rows.weld_d[:, None] * weld) + limit_cost)


def _newton_step(problem: _Problem, s: _Iterate, config: PhysicsConfig) -> _Iterate:
    rows = problem.rows
    limit = fence(rows.limit_jac * s.qacc - rows.limit_aref)
    weld_force = fence(rows.weld_d * fence(apply(problem.weld_jac, s.qacc) - rows.weld_aref))
    smooth_gradient = apply(problem.mass, s.qacc) - problem.qfrc_smooth
    smooth_gradient = fence(smooth_gradient + dot(problem.weld_jac, weld_force[:, None]))
    gradient, hessian = _derivatives(problem, s, limit, smooth_gradient, config)
    direction = fence(-solve_spd(hessian, gradient))

    def add_slopes(first: Array | int, contact: Array) -> Array:
        slope = fence(_contact_rows(problem.contact_jac_at(first), direction))
        return put_rows(contact, slope, first, column=_SLOPE.start)

    contact = _over_contacts(problem, config, add_slopes, s.contact, s.converged)
    line = _Line(contact, limit, smooth_gradient, gradient, direction)
    # A step that is small enough as a whole needs no search, whose slopes would only be rounding errors.
    small = _relative_size(direction, s.qacc) <= config.solver_tolerance
    step = _line_search(problem, line, fence(s.converged | small), s.converged, config)
    step = fence(jnp.where(s.converged, 0.0, step))

    def advance(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        contact, in_zones = carry
        group = rows_at(first, problem.at_once, contact)
        residual = fence(group[:, _RESIDUAL] + step * group[:, _SLOPE])
        d, mu = group[:, _D], group[:, _MU]
        before, after = locate(group[:, _RESIDUAL], mu), locate(residual, mu)
        stays = (before.free & after.free) | (before.sticking & after.sticking) | (d == 0.0)
        return put_rows(contact, residual, first), in_zones & fence(_all(stays))

    new_limit = limit + step * rows.limit_jac * direction
    in_zones = _all(((limit < 0.0) == (new_limit < 0.0)) | (rows.limit_d == 0.0))
    contact, in_zones = _over_contacts(problem, config, advance, (contact, fence(in_zones)), s.converged)
    # Where every row was in a quadratic zone and still is in the same one, a full Newton step ends at the optimum.
    exact = in_zones & (step == 1.0)
    moved = _relative_size(step * direction, s.qacc)
    converged = s.converged | exact | (moved <= config.solver_tolerance)
    qacc, converged = fence(s.qacc + step * direction, converged)
    return _Iterate(qacc, contact, converged, s.count + ~s.converged)


def _relative_size(change: Array, qacc: Array) -> Array:
    """(L,) the largest of |change| / (1 + |qacc|), which convergence is judged by."""
    return fold("max", jnp.abs(change) / (1.0 + jnp.abs(qacc)))


def _derivatives(
    problem: _Problem, s: _Iterate, limit: Array, smooth_gradient: Array, config: PhysicsConfig
) -> tuple[Array, Array]:
    """Gradient (18, L) and Hessian (18, 18, L) of the cost; without contacts, perhaps, where `s` has converged.

    The contacts' part of the Hessian is W^T W with four rows of W to a contact. With n the normal row, e the tangential
    direction and P the projection off it, a sticking contact's 4x4 Hessian is D I; on the cone it is
    c (1, -mu e)(1, -mu e)^T + q P with c = D / (1 + mu^2), q = c mu (mu t - n) / t. Both are products of the rows below
    with themselves, since P P = P.
    """
    rows = problem.rows

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        gradient, hessian = carry
        jac, group = problem.contact_jac_at(first), rows_at(first, problem.at_once, s.contact)
        res = group[:, _RESIDUAL]
        own, along, force = row_factors(res, group[:, _D], group[:, _MU])
        tangential = res[:, 1:2] * jac[:, 1] + res[:, 2:3] * jac[:, 2] + res[:, 3:4] * jac[:, 3]
        w = fence(own[:, :, None] * jac + along[:, :, None] * tangential[:, None])
        if len(w) > CONTACTS_PER_GROUP:  # all at once, where products are fused into the reduction that follows
            push, product = jac * force[:, :, None], take(w, _ROWS, 2) * take(w, _COLS, 2)
            return gradient - jnp.sum(push, axis=(0, 1)), hessian + take(jnp.sum(product, axis=(0, 1)), _PAIR, 0)
        # Contact by contact: longer sums into an array that is updated in place do not vectorize.
        for i in range(len(w)):
            push, product = 0.0, 0.0
            for row in range(4):
                push = push + jac[i, row] * force[i, row : row + 1]
                product = product + w[i, row][:, None] * w[i, row : row + 1]
            gradient, hessian = fence(gradient - push, hessian + product)
        return gradient, hessian

    limit_d = jnp.where(limit < 0.0, rows.limit_d, 0.0)
    gradient, hessian = fence(
        smooth_gradient + rows.limit_jac * limit_d * limit,
        problem.smooth_hessian + np.eye(NV, dtype=limit.dtype)[:, :, None] * limit_d,
    )
    return _over_contacts(problem, config, add_group, (gradient, hessian), s.converged)


class _Line(NamedTuple):
    """A search line: residuals and gradients at its start, and its direction."""

    contact: Array  # (K, 11, L)
    limit: Array  # (18, L)
    smooth_gradient: Array  # (18, L) of the part of the cost that is one quadratic everywhere
    gradient: Array  # (18, L)
    direction: Array  # (18, L)


class _Bracket(NamedTuple):
    """Ends of the interval that holds the minimum, with the magnitudes of the derivatives there; all (L,)."""

    step: Array  # where to evaluate next
    lower: Array
    lower_slope: Array
    upper: Array
    upper_slope: Array


def _line_search(problem: _Problem, line: _Line, full: Array, done: Array, config: PhysicsConfig) -> Array:
    """Minimize the cost along a line by Newton's method on its derivative, kept inside a bracket; the step (L,).

    Lanes that are `full` take the whole step unless it raises the cost. Those that are `done`, which `full` includes,
    do not need a step at all.

    The cost is convex, so every point with a negative derivative costs less than the start. The step is the end of
    the bracket with the smaller derivative, and the lower end should the other one cost more than the start.
    """
    rows = problem.rows
    limit_slope = rows.limit_jac * line.direction
    slope = dot(line.direction, line.smooth_gradient)
    curvature = dot(line.direction, fence(apply(problem.smooth_hessian, line.direction)))
    limit_slope, initial, slope, curvature = fence(limit_slope, -dot(line.direction, line.gradient), slope, curvature)

    def columns(first: Array | int) -> tuple[Array, ...]:
        group = rows_at(first, problem.at_once, line.contact)
        return tuple(group[:, column] for column in (_RESIDUAL, _SLOPE, _D, _MU, _SLIDING_D))

    def derivatives(step: Array, done: Array) -> tuple[Array, Array]:
        def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            contact, along, d, mu, sliding_d = columns(first)
            terms = fence(*line_derivatives(contact + step * along, along, d, mu, sliding_d))
            return carry[0] + _sum(terms[0]), carry[1] + _sum(terms[1])

        limit = line.limit + step * limit_slope
        limit_d = jnp.where(limit < 0.0, rows.limit_d, 0.0)
        start = fence(
            slope + step * curvature + _sum(limit_d * limit * limit_slope), curvature + _sum(limit_d * limit_slope**2)
        )
        return _over_contacts(problem, config, add_group, start, done)

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
        return full | (jnp.minimum(b.lower_slope, b.upper_slope) <= _FLAT * initial)

    # The direction is Newton's, so the first guess is 1.
    infinite = jnp.full_like(initial, jnp.inf)
    start = _Bracket(jnp.ones_like(initial), jnp.zeros_like(initial), initial, infinite, infinite)
    end = _repeat(evaluate, start, flat, config.linesearch_iterations, config)

    chosen = fence(jnp.where(full, 1.0, jnp.where(end.upper_slope < end.lower_slope, end.upper, end.lower)))

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        contact, along, d, mu, _ = columns(first)
        before = contact_costs(locate(contact, mu), d, mu)
        before, after = fence(before, contact_costs(locate(contact + chosen * along, mu), d, mu))
        return carry[0] + _sum(before), carry[1] + _sum(after - before)

    limit_start = _limit_costs(line.limit, rows.limit_d)
    limit_change = _limit_costs(line.limit + chosen * limit_slope, rows.limit_d) - limit_start
    start = fence(_sum(limit_start), chosen * slope + 0.5 * chosen**2 * curvature + _sum(limit_change))
    scale, change = _over_contacts(problem, config, add_group, start, done)
    allowed = _COST_ROUNDING[chosen.dtype] * (scale + jnp.abs(chosen * slope))
    return fence(jnp.where(change <= allowed, chosen, end.lower))
