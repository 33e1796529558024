"""The constrained dynamics: MuJoCo's primal Newton solver, with bounded counts.

qacc minimizes the Gauss deviation from the unconstrained acceleration plus the constraints' cost s(J qacc - aref).
The cost of a contact is half D times the squared distance to its friction cone's dual, so it has three zones: free
(zero), both normal and tangential rows quadratic, and in between a cone. Each iteration takes one exact Newton
direction and searches along it.

Inside, everything is padded to the 18 dofs: at this size dense arrays cost less than the seams between blocks. The
weld's rows are always active and quadratic, so they are part of the smooth cost. An environment that has converged
stays as it is, so that its result does not depend on how long the others of its batch take.

On hardware that runs all environments side by side, the first step is a full one with few contacts, which nearly
always ends at the optimum; the few environments that need more are gathered and solved in packs (`packs.py`). Devices
of CUDA do the like in two kernels of our own (`newton_kernel.py`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.cone import contact_costs, contact_forces, locate, row_factors
from mjx_metaworld.physics.config import CONTACTS_PER_GROUP, EngineConfig, Execution
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.cuda import where_cuda
from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.groups import contacts_at_once, tile_by_tile
from mjx_metaworld.physics.inertia import MassMatrix, apply_mass, dense, solve_mass
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.line_search import limit_costs, search
from mjx_metaworld.physics.model import ARM_DOFS, NV
from mjx_metaworld.physics.newton_kernel import MOST_CONTACTS, solve_in_kernels
from mjx_metaworld.physics.packs import in_packs, pack_size
from mjx_metaworld.physics.problem import (
    NUM_COLUMNS,
    Columns,
    Descent,
    Iterate,
    Kept,
    Problem,
    columns_at,
    put_residual,
    put_slope,
    residuals_of,
)
from mjx_metaworld.physics.rows import put_rows, rows_at, take
from mjx_metaworld.physics.spatial import apply, dot
from mjx_metaworld.physics.sums import contract, fold
from mjx_metaworld.physics.tiles import highest

Array = jax.Array

# Nearly all environments have no more contacts than these.
_FEW = 16


class Solution(NamedTuple):
    """Accelerations and constraint forces of one substep."""

    qacc: Array  # (18, L)
    qfrc_constraint: Array  # (18, L) generalized constraint force
    contact_normal_force: Array  # (K, L) N
    iterations: Array  # (L,) int32 until converged


class _End(NamedTuple):
    """The last iterate, as far as it is needed."""

    qacc: Array  # (18, L)
    residual: Array  # (K, 4, L) J qacc - aref of the contacts, MuJoCo's Jaref
    count: Array  # (L,) int32 iterations before that


# Each pair of dofs once, i up to j: where a symmetric matrix has only its upper triangle, entry (i, j) is number
# _PAIR[i, j] of those at (_ROWS, _COLS).
_ROWS, _COLS = np.triu_indices(NV)
_PAIR = np.zeros((NV, NV), int)
_PAIR[_ROWS, _COLS] = _PAIR[_COLS, _ROWS] = np.arange(len(_ROWS))


def solve(
    mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints, qacc_warmstart: Array, config: EngineConfig
) -> Solution:
    """Accelerations under all constraints.

    Args:
        mass: blocks of the joint-space inertia, lanes last.
        qfrc_smooth: (18, L) applied, bias and passive forces.
        constraints: the substep's rows.
        qacc_warmstart: (18, L) the previous solution; the start where it costs less than the unconstrained
            acceleration, and wherever there is `compaction`.
        config: at most `solver_iterations` Newton steps, each with at most `linesearch_iterations` evaluations along
            the step, until a step is small; with `early_exit` the loops end when every lane at hand has converged.

    Returns:
        The solution. `qfrc_constraint` is M qacc - qfrc_smooth, which equals J^T f at the optimum but does not
        magnify rounding errors of qacc by the constraints' stiffness.
    """
    jac, rows = constraints.contact_jac, constraints.replace(contact_jac=None)

    def of_tile(jac: Array, first: Array | int, args: tuple[MassMatrix, Array, Constraints, Array]) -> Solution:
        mass, qfrc_smooth, rows, qacc_warmstart = args
        return _solve(mass, _prepare(mass, qfrc_smooth, jac, first, rows, config.execution), qacc_warmstart, config)

    return tile_by_tile(of_tile, jac, (mass, qfrc_smooth, rows, qacc_warmstart), config.execution)


def _solve(mass: MassMatrix, problem: Problem, qacc_warmstart: Array, config: EngineConfig) -> Solution:
    def in_kernels() -> Solution:
        found = solve_in_kernels(problem, qacc_warmstart, config.accuracy)
        qfrc_constraint = fence(apply_mass(mass, found.qacc) - problem.qfrc_smooth)
        return Solution(found.qacc, qfrc_constraint, found.normal_force, found.count)

    by_xla = functools.partial(_solve_by_xla, mass, problem, qacc_warmstart, config)
    execution, contacts = config.execution, len(problem.rows.contact_d)
    wanted = execution.kernels and not execution.early_exit and contacts <= MOST_CONTACTS
    return where_cuda(wanted, qacc_warmstart, in_kernels, by_xla)


def _solve_by_xla(mass: MassMatrix, problem: Problem, qacc_warmstart: Array, config: EngineConfig) -> Solution:
    if size := pack_size(qacc_warmstart.shape[-1], config.execution):
        end = _solve_in_packs(problem, qacc_warmstart, size, config)
        momentum = apply_mass(mass, end.qacc)
    else:
        qacc_smooth = fence(solve_mass(mass, problem.qfrc_smooth))
        start = _cheaper_start(problem, qacc_warmstart, qacc_smooth, config.execution)
        end = _iterate(problem, start, config, ends_early=config.execution.early_exit)
        momentum = apply(problem.mass, end.qacc)
    d, mu = problem.rows.contact_d, problem.rows.contact_mu
    normal_force, _ = contact_forces(locate(end.residual, mu), d, mu)
    qfrc_constraint = fence(momentum - problem.qfrc_smooth)
    return Solution(end.qacc, qfrc_constraint, normal_force, end.count)


def _solve_in_packs(problem: Problem, qacc_warmstart: Array, size: int, config: EngineConfig) -> _End:
    """Solve from the warm start: one full step for all environments, then all steps for the unconverged ones."""
    count = len(problem.rows.contact_d)  # one group, whatever `contact_group` says, as `Columns` hold
    start = _start(problem, qacc_warmstart)

    def of_pack(args: tuple[Problem, Array, Kept]) -> _End:
        problem, qacc, contacts = args
        problem = problem._replace(first_contact=0, at_once=count)
        return _iterate(problem, _unconverged(qacc, contacts), config, ends_early=True)

    easy, converged = _full_step(problem, start, config.execution)
    args = problem._replace(first_contact=None, at_once=None), start.qacc, start.contacts
    return in_packs(of_pack, ~converged, args, easy, size)


def _iterate(problem: Problem, start: Iterate, config: EngineConfig, ends_early: bool) -> _End:
    """Newton steps from a start; where `ends_early` until all lanes at hand have converged."""

    def step(s: Iterate) -> Iterate:
        return _newton_step(problem, s, config)

    def counted(carry: tuple[Array, Iterate]) -> tuple[Array, Iterate]:
        s = step(carry[1])
        return highest(~s.converged & (s.count < config.accuracy.solver_iterations)), s

    if ends_early:
        _, end = jax.lax.while_loop(lambda carry: carry[0], counted, (jnp.array(True), start))
    else:
        end = jax.lax.fori_loop(0, config.accuracy.solver_iterations, lambda _, s: step(s), start)
    return _End(end.qacc, residuals_of(end.contacts), end.count)


def _prepare(
    mass: MassMatrix,
    qfrc_smooth: Array,
    contact_jac: Array,
    first_contact: Array | int,
    rows: Constraints,
    execution: Execution,
) -> Problem:
    dense_mass = fence(dense(mass))
    arm_columns = ((0, 0), (ARM_DOFS.start, NV - ARM_DOFS.stop), (0, 0))
    weld_jac = fence(jnp.pad(rows.weld_jac, arm_columns))
    weighted = fence(rows.weld_d[:, None] * weld_jac)
    hessian = dense_mass + contract(weighted[:, :, None], weld_jac[:, None], 0)
    force = qfrc_smooth + contract(weighted, rows.weld_aref[:, None], 0)
    at_once = contacts_at_once(rows.contact_d.shape[0], execution)
    return Problem(dense_mass, qfrc_smooth, fence(hessian), force, weld_jac, contact_jac, rows, first_contact, at_once)


def _start(problem: Problem, qacc: Array) -> Iterate:
    """An iterate at an acceleration, where all contacts are one group."""
    rows = problem.rows
    residual = fence(_contact_rows(problem.contact_jac, qacc) - rows.contact_aref)
    return _unconverged(qacc, Columns.at(residual, rows.contact_d, rows.contact_mu))


def _unconverged(qacc: Array, contacts: Kept) -> Iterate:
    lanes = qacc.shape[-1]
    return Iterate(qacc, contacts, jnp.zeros(lanes, bool), jnp.zeros(lanes, jnp.int32))


def _cheaper_start(problem: Problem, qacc_warmstart: Array, qacc_smooth: Array, execution: Execution) -> Iterate:
    """The cheaper of the warm start and the unconstrained acceleration."""
    rows = problem.rows

    both = jnp.stack([qacc_warmstart, qacc_smooth], axis=1)  # (18, 2, L)

    def add_group(first: Array | int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        jac = problem.contact_jac_at(first)
        aref, d, mu = rows_at(first, problem.at_once, rows.contact_aref, rows.contact_d, rows.contact_mu)
        residual = fence(_contact_rows(jac[:, :, :, None], both) - aref[:, :, None])  # (n, 4, 2, L)
        costs = fence(contact_costs(locate(residual, mu[:, None]), d[:, None], mu[:, None]))
        residuals, cost = found
        return put_rows(residuals, residual, first), cost + fold("add", costs)

    def none(*columns: int) -> Array:
        return jnp.zeros((rows.contact_d.shape[0], *columns, qacc_warmstart.shape[-1]), qacc_warmstart.dtype)

    residuals, cost = problem.over_contacts(execution, add_group, (none(4, 2), _smooth_cost(problem, both)))
    warmer = cost[0] <= cost[1]

    def choose(first: Array | int, contacts: Array) -> Array:
        residual, d, mu = rows_at(first, problem.at_once, residuals, rows.contact_d, rows.contact_mu)
        residual = jnp.where(warmer, residual[:, :, 0], residual[:, :, 1])
        return put_rows(contacts, fence(Columns.at(residual, d, mu).side_by_side()), first)

    contacts = problem.over_contacts(execution, choose, none(NUM_COLUMNS))
    return _unconverged(fence(jnp.where(warmer, qacc_warmstart, qacc_smooth)), contacts)


def _contact_rows(jac: Array, vector: Array) -> Array:
    """Contact Jacobians (n, 4, 18, ..., L) times a vector (18, ..., L): (n, 4, ..., L)."""
    return contract(jac, vector[None, None], 2)


def _smooth_cost(problem: Problem, qacc: Array) -> Array:
    """Costs (n, L) of n accelerations (18, n, L) without the contacts', up to a constant."""
    rows = problem.rows
    momentum = apply(problem.mass[:, :, None], qacc)
    weld = apply(problem.weld_jac[:, :, None], qacc) - rows.weld_aref[:, None]
    momentum, weld = fence(momentum, weld)
    gauss = dot(qacc, 0.5 * momentum - problem.qfrc_smooth[:, None])
    limit = rows.limit_jac[:, None] * qacc - rows.limit_aref[:, None]
    limit_cost = fold("add", limit_costs(limit, rows.limit_d[:, None]))
    return fence(gauss + 0.5 * dot(weld, rows.weld_d[:, None] * weld) + limit_cost)


def _descent(problem: Problem, s: Iterate, execution: Execution) -> Descent:
    rows = problem.rows
    limit = fence(rows.limit_jac * s.qacc - rows.limit_aref)
    if isinstance(s.contacts, Columns):  # the weld's rows need not be read
        smooth_gradient = fence(apply(problem.smooth_hessian, s.qacc) - problem.smooth_force)
    else:
        weld_force = fence(rows.weld_d * fence(apply(problem.weld_jac, s.qacc) - rows.weld_aref))
        smooth_gradient = apply(problem.mass, s.qacc) - problem.qfrc_smooth
        smooth_gradient = fence(smooth_gradient + dot(problem.weld_jac, weld_force[:, None]))
    gradient, hessian = _derivatives(problem, s, limit, smooth_gradient, execution)
    return Descent(limit, smooth_gradient, gradient, fence(-solve_spd(hessian, gradient)))


def _newton_step(problem: Problem, s: Iterate, config: EngineConfig) -> Iterate:
    descent = _descent(problem, s, config.execution)
    direction = descent.direction

    def add_slopes(first: Array | int, contacts: Kept) -> Kept:
        return put_slope(contacts, fence(_contact_rows(problem.contact_jac_at(first), direction)), first)

    contacts = problem.over_contacts(config.execution, add_slopes, s.contacts, s.converged)
    # A step that is small enough as a whole needs no search, whose slopes would only be rounding errors.
    small = _relative_size(direction, s.qacc) <= config.accuracy.solver_tolerance
    step = search(problem, contacts, descent, fence(s.converged | small), s.converged, config)
    step = fence(jnp.where(s.converged, 0.0, step))

    def advance(first: Array | int, carry: tuple[Kept, Array]) -> tuple[Kept, Array]:
        contacts, in_zones = carry
        group = columns_at(contacts, first, problem.at_once)
        residual = fence(group.residual + step * group.slope)
        return put_residual(contacts, residual, first), in_zones & fence(fold("and", _stays(group, residual)))

    in_zones = fence(_limits_stay(problem, descent, step))
    contacts, in_zones = problem.over_contacts(config.execution, advance, (contacts, in_zones), s.converged)
    # Where every row was in a quadratic zone and still is in the same one, a full Newton step ends at the optimum.
    exact = in_zones & (step == 1.0)
    moved = _relative_size(step * direction, s.qacc)
    converged = s.converged | exact | (moved <= config.accuracy.solver_tolerance)
    qacc, converged = fence(s.qacc + step * direction, converged)
    return Iterate(qacc, contacts, converged, s.count + ~s.converged)


def _full_step(problem: Problem, start: Iterate, execution: Execution) -> tuple[_End, Array]:
    """A full Newton step with the first few contacts; also (L,) True where these are all and it ends at the optimum."""
    residuals = residuals_of(start.contacts)
    few = problem.of_contacts(min(_FEW, len(residuals)))
    rows = few.rows
    group = Columns.at(residuals[: len(rows.contact_d)], rows.contact_d, rows.contact_mu)
    descent = _descent(few, start._replace(contacts=group), execution)
    residual = fence(group.residual + _contact_rows(few.contact_jac, descent.direction))
    in_zones = fence(_limits_stay(few, descent, 1.0)) & fence(fold("and", _stays(group, residual)))
    converged = in_zones & (problem.rows.num_contacts <= len(residual))
    others = ((0, len(residuals) - len(residual)), (0, 0), (0, 0))
    qacc, residual = fence(start.qacc + descent.direction, jnp.pad(residual, others))
    return _End(qacc, residual, converged.astype(jnp.int32)), converged


def _stays(contacts: Columns, residual: Array) -> Array:
    """(n, L) True for contacts that stay in their quadratic zone when their residuals become these (n, 4, L)."""
    before, after = locate(contacts.residual, contacts.mu), locate(residual, contacts.mu)
    return (before.free & after.free) | (before.sticking & after.sticking) | (contacts.d == 0.0)


def _limits_stay(problem: Problem, descent: Descent, step: Array | float) -> Array:
    """(L,) True where no limit becomes active or inactive."""
    rows = problem.rows
    after = descent.limit + step * rows.limit_jac * descent.direction
    return fold("and", ((descent.limit < 0.0) == (after < 0.0)) | (rows.limit_d == 0.0))


def _relative_size(change: Array, qacc: Array) -> Array:
    """(L,) the largest of |change| / (1 + |qacc|), which convergence is judged by."""
    return fold("max", jnp.abs(change) / (1.0 + jnp.abs(qacc)))


def _derivatives(
    problem: Problem, s: Iterate, limit: Array, smooth_gradient: Array, execution: Execution
) -> tuple[Array, Array]:
    """Gradient (18, L) and Hessian (18, 18, L) of the cost; contacts may be missing where `s` has converged.

    The contacts' part of the Hessian is W^T W with four rows of W to a contact. With n the normal row, e the tangential
    direction and P the projection off it, a sticking contact's 4x4 Hessian is D I; on the cone it is
    c (1, -mu e)(1, -mu e)^T + q P with c = D / (1 + mu^2), q = c mu (mu t - n) / t. Both are products of the rows below
    with themselves, since P P = P.
    """
    rows = problem.rows

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        gradient, hessian = carry
        jac, group = problem.contact_jac_at(first), columns_at(s.contacts, first, problem.at_once)
        res = group.residual
        own, along, force = row_factors(res, group.d, group.mu)
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
    return problem.over_contacts(execution, add_group, (gradient, hessian), s.converged)
