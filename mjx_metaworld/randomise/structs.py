"""Structs of an episode's parameters, and of what its terms are told. Shapes are those of one environment."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, UInt

from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.physics.exportable import exportable
from mjx_metaworld.physics.model import FREE_DOFS, NV, PART_DOFS, ROBOT_DOFS, Arm, Scene


@exportable
class Noise(struct.PyTreeNode):
    """Gaussian noise that is new in every step, by a key of the episode and the number of the step."""

    scale: Float[Array, ""]  # standard deviation
    key: UInt[Array, " words"]
    key_impl: str = struct.field(pytree_node=False, default="threefry2x32")


@exportable
class Delay(struct.PyTreeNode):
    """Actions on their way to the robot."""

    steps: Int[Array, ""]  # control steps by which an action comes late
    pending: Float[Array, "longest 4"]  # the last actions, newest first; at rest when an episode begins


@exportable
class Repeat(struct.PyTreeNode):
    """Hold of an action for some control steps, as by a controller of a lower rate."""

    steps: Int[Array, ""]  # control steps for which an action is held
    held: Float[Array, "4"]


@exportable
class Randomised(struct.PyTreeNode):
    """Parameters of an episode; None is what no term draws, and has no leaves."""

    dynamics: Dynamics = struct.field(default_factory=Dynamics)
    joint_offset: Float[Array, "7"] | None = None  # rad, added to the arm's joints when the episode begins
    action_repeat: Repeat | None = None
    action_delay: Delay | None = None
    action_noise: Noise | None = None
    observation_noise: Noise | None = None  # m, of the positions of hand and objects
    own: Any = None  # a pytree of arrays of numbers, for terms of one's own


class Nominal(struct.PyTreeNode):
    """An episode's task, and the physical parameters of its scene as the file has them."""

    task: Int[Array, ""]  # index into `env.tasks`
    gravity: Float[Array, "3"]  # m/s^2
    free_mass: Float[Array, ""]  # kg; zero where the scene has no free body
    part_mass: Float[Array, ""]  # kg of the fixture's moving part; zero where there is none
    damping: Float[Array, "18"]  # of the skeleton's dofs, Ns/m or Nms/rad
    gain: Float[Array, "2"]  # kp of the finger servos, N/m


def nominal_of(arm: Arm, scene: Scene, task: Int[Array, ""]) -> Nominal:
    """Parameters of one environment as terms are told them, from the robot and the row of its scene (no lanes)."""
    dtype = scene.free_mass.dtype
    damping = jnp.zeros(NV, dtype).at[ROBOT_DOFS].set(jnp.asarray(arm.damping, dtype))
    damping = damping.at[FREE_DOFS].set(scene.free_damping).at[PART_DOFS].set(scene.part_damping)
    return Nominal(
        task=task,
        gravity=jnp.asarray(arm.gravity, dtype) if scene.gravity is None else scene.gravity,
        free_mass=scene.free_mass,
        part_mass=scene.part_mass,
        damping=damping,
        gain=jnp.asarray(arm.actuator_gain, dtype),
    )
