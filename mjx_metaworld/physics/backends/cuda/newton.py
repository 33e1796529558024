"""The Newton solver as CUDA kernels: operands and results of `whole_step.cu` and `newton.cu`.

The first makes one whole step for all environments, 32 to a block, which is the solution of nearly all. The second
gives a block to each of the others, so that the hardest of them takes no longer than it must.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics import solver
from mjx_metaworld.physics.backends.cuda import kernels, nvrtc
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.cone import TINY
from mjx_metaworld.physics.config import EngineConfig, PhysicsConfig
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.inertia import MassMatrix, apply_mass
from mjx_metaworld.physics.line_search import COST_ROUNDING, FLAT
from mjx_metaworld.physics.model import NV
from mjx_metaworld.physics.problem import Problem
from mjx_metaworld.physics.solver import Solution

Array = jax.Array

# Blocks of four warps for 32 environments, of which a multiprocessor's registers and shared memory hold four.
_LANES, _THREADS, _BLOCKS = 32, 128, 4
MOST_CONTACTS = 64  # whose rows a block's shared memory holds
KERNEL_ROWS = 4  # of each of them
_ENTRIES = NV * (NV + 1) // 2 + NV  # of the Hessian and the gradient, each a thread of `newton.cu`


class KernelResult(NamedTuple):
    """Result of the kernels."""

    qacc: Array  # (18, L)
    normal_force: Array  # (K, L) of the contacts, N
    count: Array  # (L,) int32 iterations


class Operands(NamedTuple):
    """Operands of the kernels, in their order."""

    smooth_hessian: Array  # (18, 18, L)
    smooth_force: Array  # (18, L)
    limit_jac: Array  # (18, L)
    limit_aref: Array  # (18, L)
    limit_d: Array  # (18, L)
    contact_d: Array  # (K, L)
    contact_mu: Array  # (K, L)
    contact_aref: Array  # (K, 4, L)
    contact_jac: Array  # (K, 4, 18, L)
    num_contacts: Array  # (L,) int32
    qacc_warmstart: Array  # (18, L)

    @classmethod
    def of(cls, problem: Problem, qacc_warmstart: Array) -> Operands:
        """Operands of a problem that holds the rows of all of its contacts."""
        efc = problem.efc
        return cls(
            problem.smooth_hessian,
            problem.smooth_force,
            efc.limit_jac,
            efc.limit_aref,
            efc.limit_d,
            efc.contact_d,
            efc.contact_mu,
            efc.contact_aref,
            problem.contact_jac,
            efc.num_contacts,
            qacc_warmstart,
        )


def whole_step_kernel(contacts: int) -> kernels.Kernel:
    """Kernel of one full Newton step, for problems of so many contacts."""
    macros = nvrtc.defines({"BLOCKS": _BLOCKS, "CONTACTS": contacts, "TINY": TINY})
    return kernels.Kernel(Path(__file__).with_name("whole_step.cu"), _LANES, _THREADS, macros)


def newton_kernel(contacts: int, accuracy: PhysicsConfig) -> kernels.Kernel:
    """Kernel of all Newton steps, for problems of so many contacts."""
    threads = -(-max(_ENTRIES, 4 * contacts) // 32) * 32
    macros = nvrtc.defines(
        {
            "CONTACTS": contacts,
            "THREADS": threads,
            "ITERATIONS": accuracy.solver_iterations,
            "SEARCHES": accuracy.linesearch_iterations,
            "TOLERANCE": float(accuracy.solver_tolerance),
            "FLAT": FLAT,
            "ROUNDING": COST_ROUNDING[jnp.dtype("float32")],
            "TINY": TINY,
        }
    )
    return kernels.Kernel(Path(__file__).with_name("newton.cu"), 1, threads, macros)


def results_of(contacts: int) -> list[jax.ShapeDtypeStruct]:
    """Shapes and types of both kernels' results: qacc, normal forces, and whether it is solved or iterations."""
    return [
        jax.ShapeDtypeStruct((NV,), jnp.float32),
        jax.ShapeDtypeStruct((contacts,), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.int32),
    ]


def solve(
    mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints, qacc_warmstart: Array, config: EngineConfig
) -> Solution:
    """Accelerations under all constraints, as `solver.solve`, of which a program for another device is made."""
    jac, efc = constraints.contact_jac, constraints.replace(contact_jac=None)
    problem = solver.prepare(mass, qfrc_smooth, jac, 0, efc, config.execution)

    def in_kernels() -> Solution:
        found = solve_in_kernels(problem, qacc_warmstart, config.accuracy)
        qfrc_constraint = barrier(apply_mass(mass, found.qacc) - problem.qfrc_smooth)
        return Solution(found.qacc, qfrc_constraint, found.normal_force, found.count)

    def by_xla() -> Solution:
        return solver.solve_problem(mass, problem, qacc_warmstart, config)

    fits = len(problem.efc.contact_d) <= MOST_CONTACTS and problem.contact_jac.shape[-3] == KERNEL_ROWS
    return kernels.where_cuda(fits, qacc_warmstart, in_kernels, by_xla)


def solve_in_kernels(problem: Problem, qacc_warmstart: Array, accuracy: PhysicsConfig) -> KernelResult:
    """Minimize the cost from a warm start.

    Args:
        problem: float32, lanes last.
        qacc_warmstart: (18, L).
        accuracy: counts and tolerance.
    """
    contacts, operands = len(problem.efc.contact_d), Operands.of(problem, qacc_warmstart)
    *easy, solved = kernels.call(whole_step_kernel(contacts), results_of(contacts), operands)
    hard = kernels.call(newton_kernel(contacts, accuracy), results_of(contacts), (*operands, solved))
    # What the second kernel says of environments that it leaves out means nothing.
    return KernelResult(*(jnp.where(solved > 0, x, y) for x, y in zip((*easy, solved), hard, strict=True)))
