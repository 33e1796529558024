"""Kinematics, mass matrix and smooth forces as a kernel for a CPU: operands and results of `cpp/dynamics.cpp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics import kinematics as by_xla
from mjx_metaworld.physics.backends.cpu.operation import kernel_of, kernel_operation, laned
from mjx_metaworld.physics.backends.cpu.robot import Robot, fields_of, robots_where_none, struct_of
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.model import NUM_BODIES, NV, Arm, Kinematics, PhysicsState, Scene
from mjx_metaworld.physics.unconstrained import Unconstrained, unconstrained

Array = jax.Array
KERNEL = kernel_of("dynamics")


class Placement(NamedTuple):
    """Operands of kinematics, in their order; named as in `Scene` but for the coordinates."""

    qpos: Array  # (19, L)
    moved_prop: Array  # (3, L) where the environment has it
    prop_pos: Array  # (3, L)
    prop_quat: Array  # (4, L)
    mount_pos: Array  # (3, L)
    mount_quat: Array  # (4, L)
    mount_on_prop: Array  # (L,)
    part_axis: Array  # (3, 3, L)
    part_anchor: Array  # (3, L)
    part_qpos0: Array  # (3, L)


class Load(NamedTuple):
    """Operands that inertia and forces take besides, in their order; named as in `Scene` but for the first two."""

    qvel: Array  # (18, L)
    ctrl: Array  # (2, L)
    gravity: Array  # (3, L)
    robot_damping: Array  # (9, L)
    servo_gain: Array  # (2, L)
    free_mass: Array  # (L,)
    free_com: Array  # (3, L)
    free_inertia: Array  # (3, 3, L)
    free_armature: Array  # (6, L)
    free_damping: Array  # (6, L)
    part_mass: Array  # (L,)
    part_com: Array  # (3, L)
    part_inertia: Array  # (3, 3, L)
    part_armature: Array  # (3, L)
    part_damping: Array  # (3, L)
    part_stiffness: Array  # (3, L)
    part_springref: Array  # (3, L)


def _placement(scene: Scene, qpos: Array, prop_pos: Array) -> Placement:
    return Placement(qpos=qpos, moved_prop=prop_pos, **fields_of(scene, Placement))


def kinematics(arm: Arm, scene: Scene, qpos: Array, prop_pos: Array) -> Kinematics:
    """Poses of all bodies and motion axes of all dofs, as `kinematics.kinematics`."""
    if qpos.dtype != jnp.float32:
        return by_xla.kinematics(arm, scene, qpos, prop_pos)
    return Kinematics(*_kinematics(*_placement(scene, qpos, prop_pos), robot=Robot(arm)))


def dynamics(arm: Arm, scene: Scene, state: PhysicsState, ctrl: Array) -> Unconstrained:
    """Kinematics, mass matrix and smooth forces at a state, as `unconstrained.unconstrained`."""
    if state.qpos.dtype != jnp.float32:
        return unconstrained(arm, scene, state, ctrl)
    scene = robots_where_none(arm, scene)
    load = Load(qvel=state.qvel, ctrl=ctrl, **fields_of(scene, Load))
    operands = *_placement(scene, state.qpos, state.prop_pos), *load
    *kin, robot, free, part, force = _dynamics(*operands, robot=Robot(arm))
    return Unconstrained(Kinematics(*kin), MassMatrix(robot, free, part), force)


def _pose_shapes(qpos: Any, *operands: Any, robot: Robot) -> list[jax.ShapeDtypeStruct]:
    """Shapes of `Kinematics`."""
    axes = [(NUM_BODIES, 3), (NUM_BODIES, 3, 3), (NV, 3), (NV, 3), (NV, 3), (3,), (4,)]
    return [laned(qpos.shape[-1], *own) for own in axes]


def _shapes(qpos: Any, *operands: Any, robot: Robot) -> list[jax.ShapeDtypeStruct]:
    """Shapes of `Kinematics`, `MassMatrix` and the smooth force."""
    axes = [(9, 9), (6, 6), (3, 3), (NV,)]
    own = [laned(qpos.shape[-1], *each) for each in axes]
    return _pose_shapes(qpos, robot=robot) + own


def _in_kernel(shapes: list[jax.ShapeDtypeStruct], *operands: Array, robot: Robot) -> Sequence[Array]:
    return jax.ffi.ffi_call(KERNEL.target(), shapes)(*operands, robot.packed)


def _poses_by_xla(*operands: Array, robot: Robot) -> list[Array]:
    placement = Placement(*operands)
    kin = by_xla.kinematics(robot.arm, struct_of(Scene, placement), placement.qpos, placement.moved_prop)
    return jax.tree.leaves(kin)


def _by_xla(*operands: Array, robot: Robot) -> list[Array]:
    count = len(Placement._fields)
    placement, load = Placement(*operands[:count]), Load(*operands[count:])
    state = PhysicsState(
        placement.qpos, load.qvel, placement.moved_prop, placement.moved_prop, qacc_warmstart=load.qvel
    )  # of which the mocap body and the warm start are not read
    return jax.tree.leaves(unconstrained(robot.arm, struct_of(Scene, placement, load), state, load.ctrl))


_kinematics = kernel_operation("kinematics_in_kernel", shapes=_pose_shapes, in_kernel=_in_kernel, by_xla=_poses_by_xla)
_dynamics = kernel_operation("dynamics_in_kernel", shapes=_shapes, in_kernel=_in_kernel, by_xla=_by_xla)
