"""The Newton solver as a kernel for a CPU: operands and results of `cpp/newton.cpp`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import solver
from mjx_metaworld.physics.backends.cpu.operation import kernel_of, kernel_operation, laned
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.line_search import COST_ROUNDING, FLAT
from mjx_metaworld.physics.model import NV
from mjx_metaworld.physics.solver import Solution

Array = jax.Array
KERNEL = kernel_of("newton")
_CONSTRAINTS = [field.name for field in dataclasses.fields(Constraints)]
_ROWS = (4, 6)  # of a contact, for which the kernel is written


class Operands(NamedTuple):
    """Operands of the kernel, in their order."""

    robot: Array  # (9, 9, L) of the mass matrix
    free: Array  # (6, 6, L)
    part: Array  # (3, 3, L)
    qfrc_smooth: Array  # (18, L)
    weld_jac: Array  # (6, 7, L)
    weld_d: Array  # (6, L)
    weld_aref: Array  # (6, L)
    limit_jac: Array  # (18, L)
    limit_d: Array  # (18, L)
    limit_aref: Array  # (18, L)
    contact_jac: Array  # (K, R, 18, L)
    contact_d: Array  # (K, L)
    contact_aref: Array  # (K, R, L)
    contact_mu: Array  # (K, L)
    num_contacts: Array  # (L,) int32
    qacc_warmstart: Array  # (18, L)

    @classmethod
    def of(cls, mass: MassMatrix, qfrc_smooth: Array, efc: Constraints, qacc_warmstart: Array) -> Operands:
        """Operands of a problem as `solver.solve` takes it."""
        named = {name: getattr(efc, name) for name in cls._fields if hasattr(efc, name)}
        return cls(*mass, qfrc_smooth=qfrc_smooth, qacc_warmstart=qacc_warmstart, **named)


def solve(
    mass: MassMatrix, qfrc_smooth: Array, constraints: Constraints, qacc_warmstart: Array, config: EngineConfig
) -> Solution:
    """Accelerations under all constraints, as `solver.solve`, of which a program for another device is made."""
    if qacc_warmstart.dtype != jnp.float32 or constraints.contact_jac.shape[-3] not in _ROWS:
        return solver.solve(mass, qfrc_smooth, constraints, qacc_warmstart, config)
    operands = Operands.of(mass, qfrc_smooth, constraints, qacc_warmstart)
    return Solution(*_newton(*operands, config=config))


def _shapes(*operands: Any, config: EngineConfig) -> list[jax.ShapeDtypeStruct]:
    """Shapes and types of a `Solution`."""
    contacts, _, _, lanes = Operands(*operands).contact_jac.shape
    of = functools.partial(laned, lanes)
    return [of(NV), of(NV), of(contacts), of(dtype=np.int32)]


def _in_kernel(shapes: list[jax.ShapeDtypeStruct], *operands: Array, config: EngineConfig) -> Sequence[Array]:
    accuracy = config.accuracy
    return jax.ffi.ffi_call(KERNEL.target(), shapes)(
        *operands,
        iterations=np.int32(accuracy.solver_iterations),
        searches=np.int32(accuracy.linesearch_iterations),
        tolerance=np.float32(accuracy.solver_tolerance),
        flat=np.float32(FLAT),
        rounding=np.float32(COST_ROUNDING[jnp.dtype("float32")]),
    )


def _by_xla(*arrays: Array, config: EngineConfig) -> list[Array]:
    operands = Operands(*arrays)
    rows = Constraints(**{name: x for name, x in operands._asdict().items() if name in _CONSTRAINTS})
    mass = MassMatrix(operands.robot, operands.free, operands.part)
    return list(solver.solve(mass, operands.qfrc_smooth, rows, operands.qacc_warmstart, config))


_newton = kernel_operation("newton_in_kernel", shapes=_shapes, in_kernel=_in_kernel, by_xla=_by_xla)
