"""The whole Newton solution as one kernel, on devices of CUDA: `newton.cu` as an operation of JAX.

XLA takes PTX as a custom call of its own, so nothing has to be built or registered; NVRTC, which JAX's plugin for CUDA
brings along, makes it from the source. Pallas was tried first (benchmarks/LOG.md, section
24): the passes of its Triton backend take minutes over a kernel of so many operations.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxlib.mlir import ir

from mjx_metaworld.physics import nvrtc
from mjx_metaworld.physics.cone import TINY
from mjx_metaworld.physics.line_search import COST_ROUNDING, FLAT
from mjx_metaworld.physics.model import PhysicsConfig
from mjx_metaworld.physics.problem import Problem

Array = jax.Array

SOURCE = Path(__file__).with_name("newton.cu")
BLOCK, WARPS = 32, 4  # environments and warps in a block, as in the source


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


def is_available(qacc: Array) -> bool:
    """Whether the kernel solves problems of these numbers, where the device turns out to be CUDA's."""
    return qacc.dtype == jnp.float32 and nvrtc.is_there()


def solve_on_cuda(problem: Problem, qacc_warmstart: Array, config: PhysicsConfig) -> Found:
    """Minimize the cost from a warm start; can be lowered for CUDA alone.

    Args:
        problem: float32, lanes last.
        qacc_warmstart: (18, L).
        config: counts and tolerance.
    """
    return Found(*_newton_p.bind(*Operands.of(problem, qacc_warmstart), config=config))


def macros(lanes: int, contacts: int, config: PhysicsConfig) -> tuple[tuple[str, str], ...]:
    """What `newton.cu` wants to know when it is compiled."""
    return nvrtc.defines(
        {
            "BLOCKS": 4,
            "LANES": lanes,
            "CONTACTS": contacts,
            "ITERATIONS": config.solver_iterations,
            "SEARCHES": config.linesearch_iterations,
            "TOLERANCE": float(config.solver_tolerance),
            "FLAT": FLAT,
            "ROUNDING": COST_ROUNDING[jnp.dtype("float32")],
            "TINY": TINY,
        }
    )


_newton_p = Primitive("newton")
_newton_p.multiple_results = True


@_newton_p.def_abstract_eval
def _(*avals, config):
    given = Operands(*avals)
    qacc, contact_d = given.qacc_warmstart, given.contact_d
    return [jax.core.ShapedArray(x.shape, x.dtype) for x in (qacc, contact_d, given.num_contacts)]


def _batching_rule(operands, dims, *, config):
    """More lanes: nobody's solution depends on others."""
    size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True) if dim is not None)
    operands = [batching.bdim_at_front(x, dim, size) for x, dim in zip(operands, dims, strict=True)]
    lanes = operands[-1].shape[-1]

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], size * lanes)

    def part(x: Array) -> Array:
        return jnp.moveaxis(x.reshape(*x.shape[:-1], size, lanes), -2, 0)

    found = _newton_p.bind(*map(join, operands), config=config)
    return [part(x) for x in found], [0] * len(found)


batching.primitive_batchers[_newton_p] = _batching_rule


def _lowering(ctx, *operands, config):
    given = Operands(*ctx.avals_in)
    contacts, lanes = given.contact_d.shape
    ptx = nvrtc.compile_ptx(SOURCE.read_text(), macros(lanes, contacts, config))

    dimensions = {
        "grid_x": -(-lanes // BLOCK),
        "grid_y": 1,
        "grid_z": 1,
        "block_x": BLOCK * WARPS,
        "block_y": 1,
        "block_z": 1,
        "shared_mem_bytes": 0,  # beyond what the source declares
    }
    results = range(len(operands), len(operands) + len(ctx.avals_out))
    call = jax.ffi.ffi_lowering(
        "__gpu$xla.gpu.ptx",
        backend_config={
            "name": ir.StringAttr.get("newton"),
            "kernel_type": ir.StringAttr.get("ptx"),
            "kernel_data": ir.StringAttr.get(ptx),
            "output_indices": ir.ArrayAttr.get([mlir.ir_attribute(np.int32(i)) for i in results]),
            **{name: mlir.ir_attribute(np.int32(number)) for name, number in dimensions.items()},
        },
    )
    return call(ctx, *operands)


mlir.register_lowering(_newton_p, _lowering, platform="cuda")
