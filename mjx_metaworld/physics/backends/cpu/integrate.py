"""Time integration as a kernel for a CPU: operands and results of `cpp/integrate.cpp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import integrate as by_xla
from mjx_metaworld.physics.backends.cpu.operation import kernel_of, kernel_operation
from mjx_metaworld.physics.backends.cpu.robot import Robot, fields_of, robots_where_none, struct_of
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.model import Arm, Scene

Array = jax.Array
KERNEL = kernel_of("integrate")


class Operands(NamedTuple):
    """Operands of the kernel, in their order; damping is named as in `Scene`."""

    robot: Array  # (9, 9, L) of the mass matrix
    free: Array  # (6, 6, L)
    part: Array  # (3, 3, L)
    robot_damping: Array  # (9, L)
    free_damping: Array  # (6, L)
    part_damping: Array  # (3, L)
    qpos: Array  # (19, L)
    qvel: Array  # (18, L)
    qfrc: Array  # (18, L)


def integrate(arm: Arm, scene: Scene, mass: MassMatrix, qpos: Array, qvel: Array, qfrc: Array) -> tuple[Array, Array]:
    """Advance positions and velocities by one time step, as `integrate.integrate`."""
    if qpos.dtype != jnp.float32:
        return by_xla.integrate(arm, scene, mass, qpos, qvel, qfrc)
    damping = fields_of(robots_where_none(arm, scene), Operands)
    qpos, qvel = _integrate(*Operands(*mass, qpos=qpos, qvel=qvel, qfrc=qfrc, **damping), robot=Robot(arm))
    return qpos, qvel


def _shapes(*operands: Any, robot: Robot) -> list[jax.ShapeDtypeStruct]:
    """Shapes of positions and velocities."""
    given = Operands(*operands)
    return [jax.ShapeDtypeStruct(x.shape, np.float32) for x in (given.qpos, given.qvel)]


def _in_kernel(shapes: list[jax.ShapeDtypeStruct], *operands: Array, robot: Robot) -> Sequence[Array]:
    return jax.ffi.ffi_call(KERNEL.target(), shapes)(*operands, robot.packed)


def _by_xla(*arrays: Array, robot: Robot) -> list[Array]:
    operands = Operands(*arrays)
    mass = MassMatrix(operands.robot, operands.free, operands.part)
    state = operands.qpos, operands.qvel, operands.qfrc
    return list(by_xla.integrate(robot.arm, struct_of(Scene, operands), mass, *state))


_integrate = kernel_operation("integrate_in_kernel", shapes=_shapes, in_kernel=_in_kernel, by_xla=_by_xla)
