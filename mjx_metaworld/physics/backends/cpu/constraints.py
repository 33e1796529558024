"""Constraint rows as a kernel for a CPU: operands and results of `cpp/constraints.cpp`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import constraint
from mjx_metaworld.physics.backends.cpu.operation import kernel_of, kernel_operation, laned
from mjx_metaworld.physics.backends.cpu.robot import Robot, struct_of
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.constraint import MOCAP_QUAT, Constraints, ContactRows
from mjx_metaworld.physics.model import ARM_DOFS, NV, Arm, Contacts, Kinematics, PhysicsState, Scene

Array = jax.Array
KERNEL = kernel_of("constraints")


class Operands(NamedTuple):
    """Operands of the kernel, in their order and named as where they come from; the robot's constants follow them."""

    ang: Array  # (18, 3, L)
    lin: Array  # (18, 3, L)
    anchor: Array  # (18, 3, L)
    hand_pos: Array  # (3, L)
    hand_quat: Array  # (4, L)
    qpos: Array  # (19, L)
    qvel: Array  # (18, L)
    mocap_pos: Array  # (3, L)
    part_limited: Array  # (3, L) bool
    part_limit_range: Array  # (3, 2, L)
    part_limit_solref: Array  # (3, 2, L)
    part_limit_solimp: Array  # (3, 5, L)
    part_dof_invweight0: Array  # (3, L)
    data: Array  # (K, columns, L) of the contacts

    @classmethod
    def of(cls, scene: Scene, kin: Kinematics, state: PhysicsState, contacts: Contacts) -> Operands:
        """Operands from what `constraint.make_constraints` takes."""
        sources = (scene, kin, state, contacts)
        return cls(*(getattr(next(x for x in sources if hasattr(x, name)), name) for name in cls._fields))


def _robot(arm: Arm) -> Robot:
    """The numbers of `Constants` in `constraints.cpp`."""
    weld = arm.weld_relquat, arm.weld_torquescale, arm.weld_solref, arm.weld_solimp, arm.weld_invweight
    limits = arm.limit_range, arm.limit_solref, arm.limit_solimp, arm.dof_invweight0
    return Robot(arm, (arm.timestep, MOCAP_QUAT, *weld, *limits))


def make_constraints(
    arm: Arm,
    scene: Scene,
    kin: Kinematics,
    state: PhysicsState,
    contacts: Contacts,
    execution: Execution,
    scratch: ContactRows | None = None,
) -> Constraints:
    """Rows at a state, as `constraint.make_constraints`, of which a program for another device is made.

    `contact_jac` and `contact_aref` of a contact are undefined where neither the lane nor one that the solver's kernel
    works on beside it has so many contacts. The kernel leaves them as they are in memory, so it needs no `scratch`.
    """
    if state.qpos.dtype != jnp.float32:
        return constraint.make_constraints(arm, scene, kin, state, contacts, execution, scratch)
    operands = Operands.of(scene, kin, state, contacts)
    return Constraints(*_constraints(*operands, robot=_robot(arm), execution=execution))


def _shapes(*operands: Any, robot: Robot, execution: Execution) -> list[jax.ShapeDtypeStruct]:
    """Shapes and types of `Constraints`, in its order."""
    given = Operands(*operands)
    count, _, lanes = given.data.shape
    rows, arm = Contacts(given.data).num_rows, ARM_DOFS.stop
    of = functools.partial(laned, lanes)
    contact = of(count, rows, NV), of(count), of(count, rows), of(count)
    return [of(6, arm), of(6), of(6), of(NV), of(NV), of(NV), *contact, of(dtype=np.int32)]


def _in_kernel(
    shapes: list[jax.ShapeDtypeStruct], *operands: Array, robot: Robot, execution: Execution
) -> Sequence[Array]:
    return jax.ffi.ffi_call(KERNEL.target(), shapes)(*operands, robot.packed)


def _by_xla(*arrays: Array, robot: Robot, execution: Execution) -> list[Array]:
    operands = Operands(*arrays)
    scene, kin = struct_of(Scene, operands), struct_of(Kinematics, operands)
    state, contacts = struct_of(PhysicsState, operands), struct_of(Contacts, operands)
    made = constraint.make_constraints(robot.arm, scene, kin, state, contacts, execution)
    return [getattr(made, field.name) for field in dataclasses.fields(Constraints)]


_constraints = kernel_operation("constraints_in_kernel", shapes=_shapes, in_kernel=_in_kernel, by_xla=_by_xla)
