"""The constrained dynamics: MuJoCo's primal Newton solver, with bounded counts.

qacc minimizes the Gauss deviation from the unconstrained acceleration plus the constraints' cost s(J qacc - aref).
The cost of a contact is half D times the squared distance to its friction cone's dual, so it has three zones:
satisfied (zero), quadratic (normal and tangential rows alike), and in between the cone. Each iteration takes one exact
Newton direction and searches along it.

Inside, everything is padded to the 18 dofs: at this size dense arrays cost less than the seams between blocks. The
weld's rows are always active and quadratic, so they are part of the smooth cost. An environment that has converged
stays as it is, so that its result does not depend on how long the others of its batch take.

On hardware that runs all environments side by side, the first step is a full one with few contacts, which nearly
always ends at the optimum; the few environments that need more are gathered and solved in packs (`compaction.py`).

`backends/cuda/newton.py` and `backends/cpu/newton.py` do the same in kernels of our own; `stages.py` chooses.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.compaction import apply_compacted, compacted_size
from mjx_metaworld.physics.cone import contact_costs, contact_forces, row_factors, zone_of
from mjx_metaworld.physics.config import CONTACTS_PER_GROUP, EngineConfig, Execution
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.groups import contacts_at_once, tile_by_tile
from mjx_metaworld.physics.inertia import MassMatrix, apply_mass, dense, solve_mass
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.line_search import limit_costs, line_search
from mjx_metaworld.physics.model import ARM_DOFS, NV
from mjx_metaworld.physics.problem import (
    Columns,
    Iterate,
    Kept,
    Problem,
    SearchDirection,
    columns_at,
    jaref_of,
    num_columns,
    put_jaref,
    put_jv,
)
from mjx_metaworld.physics.slices import slice_at, take, update_at
from mjx_metaworld.physics.spatial import apply, dot
from mjx_metaworld.physics.sums import reduce_axis, sum_product
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
    jaref: Array  # (K, R, L) J qacc - aref of the contacts
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
    jac, efc = constraints.contact_jac, constraints.replace(contact_jac=None)

    def of_tile(jac: Array, first: Array | int, args: tuple[MassMatrix, Array, Constraints, Array]) -> Solution:
        mass, qfrc_smooth, efc, qacc_warmstart = args
        problem = prepare(mass, qfrc_smooth, jac, first, efc, config.execution)
        return solve_problem(mass, problem, qacc_warmstart, config)

    return tile_by_tile(of_tile, jac, (mass, qfrc_smooth, efc, qacc_warmstart), config.execution)


def solve_problem(mass: MassMatrix, problem: Problem, qacc_warmstart: Array, config: EngineConfig) -> Solution:
    """Accelerations of a prepared problem; see `solve`."""
    if size := compacted_size(qacc_warmstart.shape[-1], config.execution):
        end = _solve_compacted(problem, qacc_warmstart, size, config)
        momentum = apply_mass(mass, end.qacc)
    else:
        qacc_smooth = barrier(solve_mass(mass, problem.qfrc_smooth))
        start = _cheaper_start(problem, qacc_warmstart, qacc_smooth, config.execution)
        end = _iterate(problem, start, config, ends_early=config.execution.early_exit)
        momentum = apply(problem.mass, end.qacc)
    d, mu = problem.efc.contact_d, problem.efc.contact_mu
    normal_force, _ = contact_forces(zone_of(end.jaref, mu), d, mu)
    qfrc_constraint = barrier(momentum - problem.qfrc_smooth)
    return Solution(end.qacc, qfrc_constraint, normal_force, end.count)


def _solve_compacted(problem: Problem, qacc_warmstart: Array, size: int, config: EngineConfig) -> _End:
    """Solve from the warm start: one full step for all environments, then all steps for the unconverged ones."""
    count = len(problem.efc.contact_d)  # one group, whatever `contact_group` says, as `Columns` hold
    start = _start(problem, qacc_warmstart)

    def of_sub_batch(args: tuple[Problem, Array, Kept]) -> _End:
        problem, qacc, contacts = args
        problem = problem._replace(first_contact=0, at_once=count)
        return _iterate(problem, _unconverged(qacc, contacts), config, ends_early=True)

    easy, converged = _full_step(problem, start, config.execution)
    args = problem._replace(first_contact=None, at_once=None), start.qacc, start.contacts
    return apply_compacted(of_sub_batch, ~converged, args, easy, size)


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
    return _End(end.qacc, jaref_of(end.contacts), end.count)


def prepare(
    mass: MassMatrix,
    qfrc_smooth: Array,
    contact_jac: Array,
    first_contact: Array | int,
    efc: Constraints,
    execution: Execution,
) -> Problem:
    """The cost in dense arrays, of contacts whose rows stand in `contact_jac` from `first_contact` on."""
    dense_mass = barrier(dense(mass))
    arm_columns = ((0, 0), (ARM_DOFS.start, NV - ARM_DOFS.stop), (0, 0))
    weld_jac = barrier(jnp.pad(efc.weld_jac, arm_columns))
    weighted = barrier(efc.weld_d[:, None] * weld_jac)
    hessian = dense_mass + sum_product(weighted[:, :, None], weld_jac[:, None], 0)
    force = qfrc_smooth + sum_product(weighted, efc.weld_aref[:, None], 0)
    at_once = contacts_at_once(efc.contact_d.shape[0], execution)
    return Problem(dense_mass, qfrc_smooth, barrier(hessian), force, weld_jac, contact_jac, efc, first_contact, at_once)


def _start(problem: Problem, qacc: Array) -> Iterate:
    """An iterate at an acceleration, where all contacts are one group."""
    efc = problem.efc
    jaref = barrier(_contact_jv(problem.contact_jac, qacc) - efc.contact_aref)
    return _unconverged(qacc, Columns.at(jaref, efc.contact_d, efc.contact_mu))


def _unconverged(qacc: Array, contacts: Kept) -> Iterate:
    lanes = qacc.shape[-1]
    return Iterate(qacc, contacts, jnp.zeros(lanes, bool), jnp.zeros(lanes, jnp.int32))


def _cheaper_start(problem: Problem, qacc_warmstart: Array, qacc_smooth: Array, execution: Execution) -> Iterate:
    """The cheaper of the warm start and the unconstrained acceleration."""
    efc = problem.efc

    both = jnp.stack([qacc_warmstart, qacc_smooth], axis=1)  # (18, 2, L)

    def add_group(first: Array | int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        jac = problem.contact_jac_at(first)
        aref, d, mu = slice_at(first, problem.at_once, efc.contact_aref, efc.contact_d, efc.contact_mu)
        jaref = barrier(_contact_jv(jac[:, :, :, None], both) - aref[:, :, None])  # (n, R, 2, L)
        costs = barrier(contact_costs(zone_of(jaref, mu[:, None]), d[:, None], mu[:, None]))
        all_jaref, cost = found
        return update_at(all_jaref, jaref, first), cost + reduce_axis("add", costs)

    def none(*columns: int) -> Array:
        return jnp.zeros((efc.contact_d.shape[0], *columns, qacc_warmstart.shape[-1]), qacc_warmstart.dtype)

    rows = problem.contact_jac.shape[-3]
    all_jaref, cost = problem.over_contacts(execution, add_group, (none(rows, 2), _smooth_cost(problem, both)))
    warmer = cost[0] <= cost[1]

    def choose(first: Array | int, contacts: Array) -> Array:
        jaref, d, mu = slice_at(first, problem.at_once, all_jaref, efc.contact_d, efc.contact_mu)
        jaref = jnp.where(warmer, jaref[:, :, 0], jaref[:, :, 1])
        return update_at(contacts, barrier(Columns.at(jaref, d, mu).side_by_side()), first)

    contacts = problem.over_contacts(execution, choose, none(num_columns(rows)))
    return _unconverged(barrier(jnp.where(warmer, qacc_warmstart, qacc_smooth)), contacts)


def _contact_jv(jac: Array, vector: Array) -> Array:
    """Contact Jacobians (n, R, 18, ..., L) times a vector (18, ..., L): (n, R, ..., L)."""
    return sum_product(jac, vector[None, None], 2)


def _smooth_cost(problem: Problem, qacc: Array) -> Array:
    """Costs (n, L) of n accelerations (18, n, L) without the contacts', up to a constant."""
    efc = problem.efc
    momentum = apply(problem.mass[:, :, None], qacc)
    weld = apply(problem.weld_jac[:, :, None], qacc) - efc.weld_aref[:, None]
    momentum, weld = barrier(momentum, weld)
    gauss = dot(qacc, 0.5 * momentum - problem.qfrc_smooth[:, None])
    limit = efc.limit_jac[:, None] * qacc - efc.limit_aref[:, None]
    limit_cost = reduce_axis("add", limit_costs(limit, efc.limit_d[:, None]))
    return barrier(gauss + 0.5 * dot(weld, efc.weld_d[:, None] * weld) + limit_cost)


def _search_direction(problem: Problem, s: Iterate, execution: Execution) -> SearchDirection:
    efc = problem.efc
    limit = barrier(efc.limit_jac * s.qacc - efc.limit_aref)
    if isinstance(s.contacts, Columns):  # the weld's rows need not be read
        smooth_gradient = barrier(apply(problem.smooth_hessian, s.qacc) - problem.smooth_force)
    else:
        weld_force = barrier(efc.weld_d * barrier(apply(problem.weld_jac, s.qacc) - efc.weld_aref))
        smooth_gradient = apply(problem.mass, s.qacc) - problem.qfrc_smooth
        smooth_gradient = barrier(smooth_gradient + dot(problem.weld_jac, weld_force[:, None]))
    gradient, hessian = _derivatives(problem, s, limit, smooth_gradient, execution)
    return SearchDirection(limit, smooth_gradient, gradient, barrier(-solve_spd(hessian, gradient)))


def _newton_step(problem: Problem, s: Iterate, config: EngineConfig) -> Iterate:
    line = _search_direction(problem, s, config.execution)
    search = line.search

    def add_jv(first: Array | int, contacts: Kept) -> Kept:
        return put_jv(contacts, barrier(_contact_jv(problem.contact_jac_at(first), search)), first)

    contacts = problem.over_contacts(config.execution, add_jv, s.contacts, s.converged)
    # A step that is small enough as a whole needs no search, whose derivatives would only be rounding errors.
    small = _relative_size(search, s.qacc) <= config.accuracy.solver_tolerance
    alpha = line_search(problem, contacts, line, barrier(s.converged | small), s.converged, config)
    alpha = barrier(jnp.where(s.converged, 0.0, alpha))

    def advance(first: Array | int, carry: tuple[Kept, Array]) -> tuple[Kept, Array]:
        contacts, in_zones = carry
        group = columns_at(contacts, first, problem.at_once)
        jaref = barrier(group.jaref + alpha * group.jv)
        return put_jaref(contacts, jaref, first), in_zones & barrier(reduce_axis("and", _stays(group, jaref)))

    in_zones = barrier(_limits_stay(problem, line, alpha))
    contacts, in_zones = problem.over_contacts(config.execution, advance, (contacts, in_zones), s.converged)
    # Where every row was in a quadratic zone and still is in the same one, a full Newton step ends at the optimum.
    exact = in_zones & (alpha == 1.0)
    moved = _relative_size(alpha * search, s.qacc)
    converged = s.converged | exact | (moved <= config.accuracy.solver_tolerance)
    qacc, converged = barrier(s.qacc + alpha * search, converged)
    return Iterate(qacc, contacts, converged, s.count + ~s.converged)


def _full_step(problem: Problem, start: Iterate, execution: Execution) -> tuple[_End, Array]:
    """A full Newton step with the first few contacts; also (L,) True where these are all and it ends at the optimum."""
    all_jaref = jaref_of(start.contacts)
    few = problem.of_contacts(min(_FEW, len(all_jaref)))
    efc = few.efc
    group = Columns.at(all_jaref[: len(efc.contact_d)], efc.contact_d, efc.contact_mu)
    line = _search_direction(few, start._replace(contacts=group), execution)
    jaref = barrier(group.jaref + _contact_jv(few.contact_jac, line.search))
    in_zones = barrier(_limits_stay(few, line, 1.0)) & barrier(reduce_axis("and", _stays(group, jaref)))
    converged = in_zones & (problem.efc.num_contacts <= len(jaref))
    others = ((0, len(all_jaref) - len(jaref)), (0, 0), (0, 0))
    qacc, jaref = barrier(start.qacc + line.search, jnp.pad(jaref, others))
    return _End(qacc, jaref, converged.astype(jnp.int32)), converged


def _stays(contacts: Columns, jaref: Array) -> Array:
    """(n, L) True for contacts that stay in their quadratic zone when their residuals become these (n, R, L)."""
    before, after = zone_of(contacts.jaref, contacts.mu), zone_of(jaref, contacts.mu)
    return (before.satisfied & after.satisfied) | (before.quadratic & after.quadratic) | (contacts.d == 0.0)


def _limits_stay(problem: Problem, line: SearchDirection, alpha: Array | float) -> Array:
    """(L,) True where no limit becomes active or inactive."""
    efc = problem.efc
    after = line.limit + alpha * efc.limit_jac * line.search
    return reduce_axis("and", ((line.limit < 0.0) == (after < 0.0)) | (efc.limit_d == 0.0))


def _relative_size(change: Array, qacc: Array) -> Array:
    """(L,) the largest of |change| / (1 + |qacc|), which convergence is judged by."""
    return reduce_axis("max", jnp.abs(change) / (1.0 + jnp.abs(qacc)))


def _derivatives(
    problem: Problem, s: Iterate, limit: Array, smooth_gradient: Array, execution: Execution
) -> tuple[Array, Array]:
    """Gradient (18, L) and Hessian (18, 18, L) of the cost; contacts may be missing where `s` has converged.

    The contacts' part of the Hessian is W^T W with a row of W to each of a contact's. With n the normal row, e the
    tangential direction and P the projection off it, a quadratic contact's R x R Hessian is D I; on the cone it is
    c (1, -mu e)(1, -mu e)^T + q P with c = D / (1 + mu^2), q = c mu (mu t - n) / t. Both are products of the rows below
    with themselves, since P P = P.
    """
    efc = problem.efc

    def add_group(first: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        gradient, hessian = carry
        jac, group = problem.contact_jac_at(first), columns_at(s.contacts, first, problem.at_once)
        res = group.jaref
        own, along, force = row_factors(res, group.d, group.mu)
        rows = jac.shape[1]
        tangential = functools.reduce(operator.add, (res[:, r : r + 1] * jac[:, r] for r in range(1, rows)))
        w = barrier(own[:, :, None] * jac + along[:, :, None] * tangential[:, None])
        if len(w) > CONTACTS_PER_GROUP:  # all at once, where products are fused into the reduction that follows
            push, product = jac * force[:, :, None], take(w, _ROWS, 2) * take(w, _COLS, 2)
            return gradient - jnp.sum(push, axis=(0, 1)), hessian + take(jnp.sum(product, axis=(0, 1)), _PAIR, 0)
        # Contact by contact: longer sums into an array that is updated in place do not vectorize.
        for i in range(len(w)):
            push, product = 0.0, 0.0
            for row in range(rows):
                push = push + jac[i, row] * force[i, row : row + 1]
                product = product + w[i, row][:, None] * w[i, row : row + 1]
            gradient, hessian = barrier(gradient - push, hessian + product)
        return gradient, hessian

    limit_d = jnp.where(limit < 0.0, efc.limit_d, 0.0)
    gradient, hessian = barrier(
        smooth_gradient + efc.limit_jac * limit_d * limit,
        problem.smooth_hessian + np.eye(NV, dtype=limit.dtype)[:, :, None] * limit_d,
    )
    return problem.over_contacts(execution, add_group, (gradient, hessian), s.converged)
