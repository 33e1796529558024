"""The robot's constants as kernels for a CPU take them, and scenes that have all that lanes may differ in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics.kinematics import matrix, right_multiplication
from mjx_metaworld.physics.model import Arm, Contacts, Kinematics, PhysicsState, Scene

Struct = TypeVar("Struct", Scene, Kinematics, PhysicsState, Contacts)
_SCENE_FIELDS = [field.name for field in dataclasses.fields(Scene)]
_LINKS = 7


class Robot:
    """Constants of the robot as a kernel takes them; equal where these are.

    Args:
        arm: of any robot with this skeleton.
        numbers: those that the kernel takes, in its order; None: as those of dynamics and integration do.
    """

    def __init__(self, arm: Arm, numbers: Sequence[Any] | None = None) -> None:
        self.arm = arm
        numbers = _numbers(arm) if numbers is None else numbers
        self.packed = np.concatenate([np.ravel(x) for x in numbers]).astype(np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Robot) and np.array_equal(self.packed, other.packed)

    def __hash__(self) -> int:
        return hash(self.packed.tobytes())


def _numbers(arm: Arm) -> Sequence[Any]:
    """The numbers of `Robot` in `skeleton.hpp`, in their order."""
    axis_quat = np.concatenate([np.zeros((_LINKS, 1)), arm.axis[:_LINKS]], axis=1)
    turned = [right_multiplication(quat) @ still for quat, still in zip(axis_quat, arm.quat, strict=False)]
    claw_mat = np.stack([matrix(quat) for quat in arm.quat[_LINKS:]])
    carried = np.cumsum(arm.mass[::-1])[::-1]
    return [
        arm.qpos0,
        arm.quat[:_LINKS],
        np.stack(turned),
        arm.pos,
        arm.axis[:_LINKS],
        claw_mat,
        np.einsum("bij,bj->bi", claw_mat, arm.axis[_LINKS:]),
        arm.hand_pos,
        arm.hand_quat,
        arm.mass,
        arm.com,
        arm.inertia,
        arm.armature,
        carried,
        arm.mass / carried,
        arm.mass * np.append(carried[1:], 0.0) / carried,
        *arm.ctrl_range.T,
        arm.actuator_gain,
        arm.actuator_bias,
        arm.timestep,
    ]


def robots_where_none(arm: Arm, scene: Scene) -> Scene:
    """The scene with the robot's constants in the fields that only lanes with parameters of their own have."""
    lanes, dtype = scene.free_mass.shape[-1], scene.free_mass.dtype
    constants = {"gravity": arm.gravity, "robot_damping": arm.damping, "servo_gain": np.ones(2)}
    absent = {name: x for name, x in constants.items() if getattr(scene, name) is None}
    return scene.replace(
        **{name: jnp.broadcast_to(jnp.asarray(x, dtype)[:, None], (len(x), lanes)) for name, x in absent.items()}
    )


def fields_of(scene: Scene, operands: type[NamedTuple]) -> dict[str, Any]:
    """Those fields of a scene that a class of operands has, too."""
    return {name: getattr(scene, name) for name in operands._fields if name in _SCENE_FIELDS}


def struct_of(kind: type[Struct], *parts: Any) -> Struct:
    """A struct with those of its fields that named tuples have, for stages that read no others; these are None."""
    named = {name: x for part in parts for name, x in part._asdict().items()}
    fields: dict[str, Any] = {field.name: named.get(field.name) for field in dataclasses.fields(kind)}
    return kind(**fields)
