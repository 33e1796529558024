"""The whole Newton solution as one kernel, on devices of CUDA: what `newton.cu` reads and finds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics import cuda, nvrtc
from mjx_metaworld.physics.cone import TINY
from mjx_metaworld.physics.line_search import COST_ROUNDING, FLAT
from mjx_metaworld.physics.model import NV, PhysicsConfig
from mjx_metaworld.physics.problem import Problem

Array = jax.Array

# Blocks of four warps for 32 environments, of which a multiprocessor's registers and shared memory hold four.
_LANES, _THREADS, _BLOCKS = 32, 128, 4


class Found(NamedTuple):
    """What the kernel finds."""

    qacc: Array  # (18, L)
    normal_force: Array  # (K, L) of the contacts, N
    count: Array  # (L,) int32 iterations


class Operands(NamedTuple):
    """What the kernel reads, in its order."""

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
        """Those of a problem whose contacts are all there."""
        rows = problem.rows
        return cls(
            problem.smooth_hessian,
            problem.smooth_force,
            rows.limit_jac,
            rows.limit_aref,
            rows.limit_d,
            rows.contact_d,
            rows.contact_mu,
            rows.contact_aref,
            problem.contact_jac,
            rows.num_contacts,
            qacc_warmstart,
        )


def kernel_of(contacts: int, config: PhysicsConfig) -> cuda.Kernel:
    """The kernel for problems of so many contacts."""
    macros = nvrtc.defines(
        {
            "BLOCKS": _BLOCKS,
            "CONTACTS": contacts,
            "ITERATIONS": config.solver_iterations,
            "SEARCHES": config.linesearch_iterations,
            "TOLERANCE": float(config.solver_tolerance),
            "FLAT": FLAT,
            "ROUNDING": COST_ROUNDING[jnp.dtype("float32")],
            "TINY": TINY,
        }
    )
    return cuda.Kernel(Path(__file__).with_name("newton.cu"), _LANES, _THREADS, macros)


def solve_in_kernel(problem: Problem, qacc_warmstart: Array, config: PhysicsConfig) -> Found:
    """Minimize the cost from a warm start.

    Args:
        problem: float32, lanes last.
        qacc_warmstart: (18, L).
        config: counts and tolerance.
    """
    contacts = len(problem.rows.contact_d)
    results = (
        jax.ShapeDtypeStruct((NV,), jnp.float32),
        jax.ShapeDtypeStruct((contacts,), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    return Found(*cuda.call(kernel_of(contacts, config), results, Operands.of(problem, qacc_warmstart)))
