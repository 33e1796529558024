"""The constrained dynamics: MuJoCo's primal Newton solver with fixed counts instead of convergence tests.

qacc minimizes the Gauss deviation from the unconstrained acceleration plus the constraints' cost s(J qacc - aref).
The cost of a contact is half D times the squared distance to its friction cone's dual, so it has three zones: free
(zero), both normal and tangential rows quadratic, and in between a cone. Each iteration takes one exact Newton
direction and searches along it.

Inside, everything is padded to the 18 dofs: at this size dense arrays cost less than the seams between blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.inertia import MassMatrix, dense
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.model import ARM_DOFS, FREE_DOFS, NV, PART_DOFS, ROBOT_DOFS, PhysicsConfig
from mjx_metaworld.physics.spatial import dot, fence

Array = jax.Array

# Far below any tangential acceleration or cone distance that matters, far above float32's smallest number.
_TINY = 1e-15

# Contacts whose rows enter the Hessian in one pass; their rows fit the first-level cache.
_CONTACTS_PER_PASS = 4

# A step may raise the cost by this fraction of the cost's terms, which is what rounding can do to their sum.
_COST_ROUNDING = {jnp.dtype("float32"): 1e-6, jnp.dtype("float64"): 1e-14}


class Solution(NamedTuple):
    """Accelerations and constraint forces of one substep."""

    qacc: Array  # (18, L)
    qfrc_constraint: Array  # (18, L) generalized constraint force
    contact_normal_force: Array  # (K, L) N


class _Problem(NamedTuple):
    mass: Array  # (18, 18, L)
    smooth_hessian: Array  # (18, 18, L) mass matrix plus the weld's J^T D J
    qfrc_smooth: Array  # (18, L)
    weld_jac: Array  # (6, 18, L)
    rows: Constraints


class _Cone(NamedTuple):
    """Where contacts stand relative to their friction cones; `normal` and `tangent` are of J qacc - aref."""

    normal: Array  # (K, L)
    tangent: Array  # (K, L) length over the three tangential rows
    free: Array  # (K, L) bool: no force
    sticking: Array  # (K, L) bool: all rows quadratic; neither: on the cone


def solve(
    mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints, qacc_warmstart: Array, config: PhysicsConfig
) -> Solution:
    """Accelerations under all constraints.

    Args:
        mass: blocks of the joint-space inertia, lanes last.
        qfrc_smooth: (18, L) applied, bias and passive forces.
        constraints: the substep's rows.
        qacc_warmstart: (18, L) the previous solution; used where it costs less than the unconstrained acceleration.
        config: `solver_iterations` Newton steps, each with `linesearch_iterations` evaluations along the step.

    Returns:
        The solution. `qfrc_constraint` is M qacc - qfrc_smooth, which equals J^T f at the optimum but does not
        magnify rounding errors of qacc by the constraints' stiffness.
    """
    problem = _prepare(mass, qfrc_smooth, constraints)
    smooth = [
        solve_spd(block, qfrc_smooth[dofs])
        for block, dofs in zip(mass, (ROBOT_DOFS, FREE_DOFS, PART_DOFS), strict=True)
    ]
    qacc_smooth = fence(jnp.concatenate(smooth))
    warmer = _cost(problem, qacc_warmstart) <= _cost(problem, qacc_smooth)
    start = fence(jnp.where(warmer, qacc_warmstart, qacc_smooth))

    def iterate(_, qacc):
        return _newton_step(problem, qacc, config.linesearch_iterations)

    qacc = jax.lax.fori_loop(0, config.solver_iterations, iterate, start)
    residual = _contact_residual(constraints, qacc)
    normal_force, _ = _contact_forces(_locate(residual, constraints.contact_mu), constraints)
    return Solution(qacc, fence(_multiply(problem.mass, qacc) - qfrc_smooth), normal_force)


def _prepare(mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints) -> _Problem:
    dense_mass = fence(dense(mass))
    arm_columns = ((0, 0), (ARM_DOFS.start, NV - ARM_DOFS.stop), (0, 0))
    weld_jac = fence(jnp.pad(constraints.weld_jac, arm_columns))
    weighted = fence(constraints.weld_d[:, None] * weld_jac)
    hessian = dense_mass
    for row in range(6):
        hessian = hessian + weighted[row][:, None] * weld_jac[row][None]
    return _Problem(dense_mass, fence(hessian), qfrc_smooth, weld_jac, constraints)


def _multiply(matrix: Array, vector: Array) -> Array:
    """(m, n, L) times (n, L)."""
    total = matrix[:, 0] * vector[0]
    for i in range(1, matrix.shape[1]):
        total = total + matrix[:, i] * vector[i]
    return total


def _sum(rows: Array) -> Array:
    """Sum over the first axis; written out, it vectorizes over the lanes where a reduction would not."""
    total = rows[0]
    for i in range(1, rows.shape[0]):
        total = total + rows[i]
    return total


def _contact_rows(constraints: Constraints, vector: Array) -> Array:
    """Contact Jacobian times a vector (18, L): (K, 4, L)."""
    jac = constraints.contact_jac
    total = jac[:, :, 0] * vector[0]
    for i in range(1, NV):
        total = total + jac[:, :, i] * vector[i]
    return total


def _contact_residual(constraints: Constraints, qacc: Array) -> Array:
    return fence(_contact_rows(constraints, qacc) - constraints.contact_aref)


def _weld_residual(problem: _Problem, qacc: Array) -> Array:
    return fence(_multiply(problem.weld_jac, qacc) - problem.rows.weld_aref)


def _limit_residual(constraints: Constraints, qacc: Array) -> Array:
    return fence(constraints.limit_jac * qacc - constraints.limit_aref)


def _locate(residual: Array, mu: Array) -> _Cone:
    """Zone of each contact for residuals (K, 4, L)."""
    normal, tangents = residual[:, 0], residual[:, 1:]
    tangent = jnp.sqrt(tangents[:, 0] ** 2 + tangents[:, 1] ** 2 + tangents[:, 2] ** 2)
    free = normal >= mu * tangent
    sticking = (mu * normal + tangent <= 0.0) & ~free
    return _Cone(normal, tangent, free, sticking)


def _by_zone(cone: _Cone, sticking: Array, sliding: Array) -> Array:
    return jnp.where(cone.sticking, sticking, jnp.where(cone.free, 0.0, sliding))


def _contact_costs(cone: _Cone, constraints: Constraints) -> Array:
    d, mu = constraints.contact_d, constraints.contact_mu
    sliding = d / (1.0 + mu * mu) * (cone.normal - mu * cone.tangent) ** 2
    return 0.5 * _by_zone(cone, d * (cone.normal**2 + cone.tangent**2), sliding)


def _limit_costs(residual: Array, constraints: Constraints) -> Array:
    return 0.5 * constraints.limit_d * jnp.minimum(residual, 0.0) ** 2


def _contact_forces(cone: _Cone, constraints: Constraints) -> tuple[Array, Array]:
    """Normal forces (K, L), and (K, L) what multiplies the tangential residuals to give the tangential forces."""
    d, mu = constraints.contact_d, constraints.contact_mu
    pull = d / (1.0 + mu * mu) * (cone.normal - mu * cone.tangent)
    normal = _by_zone(cone, -d * cone.normal, -pull)
    tangential = _by_zone(cone, -d, pull * mu / jnp.maximum(cone.tangent, _TINY))
    return fence(normal, tangential)


def _cost(problem: _Problem, qacc: Array) -> Array:
    """Total cost (L,), up to a constant."""
    rows = problem.rows
    momentum = fence(_multiply(problem.mass, qacc))
    weld = _weld_residual(problem, qacc)
    gauss = dot(qacc, 0.5 * momentum - problem.qfrc_smooth)
    contacts = fence(_contact_costs(_locate(_contact_residual(rows, qacc), rows.contact_mu), rows))
    limits = _limit_costs(_limit_residual(rows, qacc), rows)
    return fence(gauss + 0.5 * dot(weld, rows.weld_d * weld) + _sum(contacts) + _sum(limits))


def _newton_step(problem: _Problem, qacc: Array, linesearch_iterations: int) -> Array:
    rows = problem.rows
    contact = _contact_residual(rows, qacc)
    limit = _limit_residual(rows, qacc)
    cone = _Cone(*fence(*_locate(contact, rows.contact_mu)))

    weld_force = fence(rows.weld_d * _weld_residual(problem, qacc))
    smooth_gradient = _multiply(problem.mass, qacc) - problem.qfrc_smooth
    smooth_gradient = fence(smooth_gradient + dot(problem.weld_jac, weld_force[:, None]))
    limit_force = rows.limit_jac * rows.limit_d * jnp.minimum(limit, 0.0)
    gradient = fence(smooth_gradient + limit_force - _generalized_contact_force(rows, contact, cone))

    hessian = _hessian(problem, contact, cone, limit)
    direction = fence(-solve_spd(hessian, gradient))
    step = _line_search(problem, _Line(contact, limit, smooth_gradient, gradient, direction), linesearch_iterations)
    return fence(qacc + step * direction)


def _generalized_contact_force(rows: Constraints, residual: Array, cone: _Cone) -> Array:
    """J^T f of the contacts, (18, L)."""
    normal, tangential = _contact_forces(cone, rows)
    is_normal = (np.arange(4) == 0)[:, None]
    force = fence(jnp.where(is_normal, normal[:, None], tangential[:, None] * residual))
    total = jnp.zeros_like(rows.contact_jac[0, 0])
    for contact in range(force.shape[0]):
        for row in range(4):
            total = total + rows.contact_jac[contact, row] * force[contact, row]
    return fence(total)


def _hessian(problem: _Problem, residual: Array, cone: _Cone, limit: Array) -> Array:
    """Second derivative of the cost, (18, 18, L): the smooth part plus W^T W, four rows of W to a contact.

    With n the normal row, e the tangential direction and P the projection off it, a sticking contact's 4x4 Hessian is
    D I; on the cone it is c (1, -mu e)(1, -mu e)^T + q P with c = D / (1 + mu^2), q = c mu (mu t - n) / t. Both are
    products of the rows below with themselves, since P P = P.
    """
    rows = problem.rows
    d, mu = rows.contact_d, rows.contact_mu
    length = jnp.maximum(cone.tangent, _TINY)
    c = d / (1.0 + mu * mu)
    root_d, root_c = jnp.sqrt(d), jnp.sqrt(c)
    root_q = jnp.sqrt(jnp.maximum(c * mu * (mu * cone.tangent - cone.normal) / length, 0.0))
    zero = jnp.zeros_like(d)
    normal_own, tangent_own = _by_zone(cone, root_d, root_c), _by_zone(cone, root_d, root_q)
    normal_along = _by_zone(cone, zero, -root_c * mu / length)
    tangent_along = _by_zone(cone, zero, -root_q / length**2)
    normal_own, tangent_own, normal_along, tangent_along = fence(normal_own, tangent_own, normal_along, tangent_along)

    # Row r of W is own[r] J[r] + along[r] (residual's tangent . J), the latter product shared by the four rows.
    is_normal = (np.arange(4) == 0)[:, None]
    own = jnp.where(is_normal, normal_own[:, None], tangent_own[:, None])
    along = jnp.where(is_normal, normal_along[:, None], tangent_along[:, None] * residual)
    own, along = fence(own, along)
    jac = rows.contact_jac
    tangential = residual[:, 1, None] * jac[:, 1] + residual[:, 2, None] * jac[:, 2] + residual[:, 3, None] * jac[:, 3]
    w = own[:, :, None] * jac + along[:, :, None] * tangential[:, None]

    num_rows = 4 * _CONTACTS_PER_PASS
    padding = -w.shape[0] % _CONTACTS_PER_PASS
    if padding:
        w = jnp.concatenate([w, jnp.zeros((padding, *w.shape[1:]), w.dtype)])
    w = w.reshape(-1, num_rows, *w.shape[2:])

    def add_pass(i, hessian):
        block = w[i]
        for row in range(num_rows):
            hessian = hessian + block[row][:, None] * block[row][None]
        return hessian

    diagonal = jnp.where(limit < 0.0, rows.limit_d, 0.0)
    start = problem.smooth_hessian + np.eye(NV, dtype=w.dtype)[:, :, None] * diagonal
    return jax.lax.fori_loop(0, w.shape[0], add_pass, start)


class _Line(NamedTuple):
    """A search line: residuals and gradients at its start, and its direction."""

    contact: Array  # (K, 4, L)
    limit: Array  # (18, L)
    smooth_gradient: Array  # (18, L) of the part of the cost that is one quadratic everywhere
    gradient: Array  # (18, L)
    direction: Array  # (18, L)


def _line_search(problem: _Problem, line: _Line, iterations: int) -> Array:
    """Minimize the cost along a line by Newton's method on its derivative, kept inside a bracket; the step (L,).

    The cost is convex, so every point with a negative derivative costs less than the start. The step is the end of
    the bracket with the smaller derivative, and the lower end should the other one cost more than the start.
    """
    rows = problem.rows
    contact_slope = fence(_contact_rows(rows, line.direction))
    limit_slope = fence(rows.limit_jac * line.direction)
    slope = dot(line.direction, line.smooth_gradient)
    curvature = dot(line.direction, fence(_multiply(problem.smooth_hessian, line.direction)))
    initial, slope, curvature = fence(-dot(line.direction, line.gradient), slope, curvature)
    tangent_curvature = fence(contact_slope[:, 1] ** 2 + contact_slope[:, 2] ** 2 + contact_slope[:, 3] ** 2)
    d, mu = rows.contact_d, rows.contact_mu
    sliding_d = fence(d / (1.0 + mu * mu))

    def derivatives(step: Array) -> tuple[Array, Array]:
        residual = line.contact + step * contact_slope
        cone = _locate(residual, mu)
        along = sum(residual[:, row] * contact_slope[:, row] for row in (1, 2, 3))
        normal_slope = contact_slope[:, 0]
        per_length = 1.0 / jnp.maximum(cone.tangent, _TINY)
        tangent_slope = along * per_length
        bend = jnp.maximum(tangent_curvature - tangent_slope**2, 0.0) * per_length
        gap, gap_slope = cone.normal - mu * cone.tangent, normal_slope - mu * tangent_slope
        first = _by_zone(cone, d * (cone.normal * normal_slope + along), sliding_d * gap * gap_slope)
        second = _by_zone(cone, d * (normal_slope**2 + tangent_curvature), sliding_d * (gap_slope**2 - gap * mu * bend))
        limit = line.limit + step * limit_slope
        limit_d = jnp.where(limit < 0.0, rows.limit_d, 0.0)
        first, second, limit_first, limit_second = fence(
            first, second, limit_d * limit * limit_slope, limit_d * limit_slope**2
        )
        return fence(
            slope + step * curvature + _sum(first) + _sum(limit_first), curvature + _sum(second) + _sum(limit_second)
        )

    # The direction is Newton's, so the first guess is 1. Derivatives at the bracket's ends are kept as magnitudes.
    step = jnp.ones_like(initial)
    lower, lower_slope = jnp.zeros_like(initial), initial
    upper, upper_slope = jnp.full_like(initial, jnp.inf), jnp.full_like(initial, jnp.inf)
    for _ in range(iterations):
        first, second = derivatives(step)
        falling = first < 0.0
        lower, lower_slope = jnp.where(falling, step, lower), jnp.where(falling, -first, lower_slope)
        upper, upper_slope = jnp.where(falling, upper, step), jnp.where(falling, upper_slope, first)
        newton = step - first / second
        bisection = jnp.where(jnp.isinf(upper), 2.0 * step, 0.5 * (lower + upper))
        step = jnp.where((newton > lower) & (newton < upper), newton, bisection)
        step, lower, lower_slope, upper, upper_slope = fence(step, lower, lower_slope, upper, upper_slope)

    chosen = fence(jnp.where(upper_slope < lower_slope, upper, lower))
    contact_start = _contact_costs(_locate(line.contact, mu), rows)
    contact_change = _contact_costs(_locate(line.contact + chosen * contact_slope, mu), rows) - contact_start
    limit_start = _limit_costs(line.limit, rows)
    limit_change = _limit_costs(line.limit + chosen * limit_slope, rows) - limit_start
    scale, change = fence(contact_start, contact_change)
    scale, change = _sum(scale) + _sum(limit_start), _sum(change) + _sum(limit_change)
    smooth_change = chosen * slope + 0.5 * chosen**2 * curvature
    allowed = _COST_ROUNDING[chosen.dtype] * (scale + jnp.abs(chosen * slope))
    return fence(jnp.where(smooth_change + change <= allowed, chosen, lower))
