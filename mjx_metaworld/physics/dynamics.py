"""Physical parameters of a lane that differ from its scene's: they enter where the scene's row is gathered.

All lanes share one program, whatever their parameters: a scene is data, and these are what is multiplied with it.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from mjx_metaworld.physics import spatial, stacked
from mjx_metaworld.physics.collision.weights import ContactFactors
from mjx_metaworld.physics.exportable import exportable
from mjx_metaworld.physics.model import FREE_DOFS, PART_DOFS, ROBOT_DOFS, Arm, Scene


@exportable
class Dynamics(struct.PyTreeNode):
    """Physical parameters of one lane, as edits of the MuJoCo model; None is as the scene has it.

    What MuJoCo derives of a mass (`dof_invweight0`, `body_invweight0`, which scale the solver's regularization) follows
    as `mj_setConst` computes it, and so as if the scene's file had been edited.
    """

    gravity: Array | None = None  # (3,) m/s^2
    friction: Array | None = None  # () factor of all geoms' friction, and so of all contacts'
    free_mass: Array | None = None  # () factor of mass and inertia of the free body
    part_mass: Array | None = None  # () factor of mass and inertia of the fixture's moving part
    damping: Array | None = None  # (18,) factors of the dofs' damping
    gain: Array | None = None  # (2,) factors of the finger servos' kp


def vary(arm: Arm, scene: Scene, dynamics: Dynamics | None) -> Scene:
    """The lanes' scenes with the lanes' parameters; all arrays lanes last.

    Args:
        arm: constants of the robot.
        scene: the lanes' scenes, as their files have them.
        dynamics: the lanes' parameters; None for the scenes as they are. What contacts take of them is in
            `contact_factors`.
    """
    if dynamics is None:
        return scene
    changes: dict[str, Array] = {}
    if dynamics.gravity is not None:
        changes["gravity"] = dynamics.gravity
    if (factor := dynamics.free_mass) is not None:
        changes["free_mass"], changes["free_inertia"] = factor * scene.free_mass, factor * scene.free_inertia
    if (factor := dynamics.part_mass) is not None:
        changes["part_mass"], changes["part_inertia"] = factor * scene.part_mass, factor * scene.part_inertia
        changes["part_dof_invweight0"] = _part_invweight(scene, factor) * scene.part_dof_invweight0
    if (factor := dynamics.damping) is not None:
        changes["robot_damping"] = factor[ROBOT_DOFS] * jnp.asarray(arm.damping, factor.dtype)[:, None]
        changes["free_damping"] = factor[FREE_DOFS] * scene.free_damping
        changes["part_damping"] = factor[PART_DOFS] * scene.part_damping
    if dynamics.gain is not None:
        changes["servo_gain"] = dynamics.gain
    return scene.replace(**changes)


def contact_factors(scene: Scene, dynamics: Dynamics | None) -> ContactFactors | None:
    """Factors that the lanes' parameters put on their contacts; None without parameters.

    Args:
        scene: the lanes' scenes, as their files have them.
        dynamics: the lanes' parameters.
    """
    if dynamics is None:
        return None
    free = part = None
    if dynamics.free_mass is not None:
        armature = scene.free_armature[0]  # of the one joint, which stays; `object_invweights` refuses other cases
        free = (scene.free_mass + armature) / (dynamics.free_mass * scene.free_mass + armature)
    if dynamics.part_mass is not None:
        joints = jnp.any(scene.part_axis != 0.0, axis=1)
        each = jnp.where(joints, _part_invweight(scene, dynamics.part_mass), 0.0)
        part = jnp.sum(each, axis=0) / jnp.maximum(jnp.sum(joints, axis=0), 1)
    return ContactFactors(dynamics.friction, free, part)


def _part_invweight(scene: Scene, factor: Array) -> Array:
    """Factors (3, L) of the inverse inertia of the part's joints when its mass has a factor (L,).

    Exact where the joints do not move each other: for a single one, and for two slides at right angles. The inverse
    inertia tells the armature too, which stays; MuJoCo leaves it out for bodies that only slide.
    """
    arm = (scene.part_com - scene.part_anchor)[None]
    velocity = jnp.where((np.arange(3) == 2)[:, None, None], stacked.cross(scene.part_axis, arm), scene.part_axis)
    spin = spatial.dot(scene.part_axis[2], spatial.rotate(scene.part_inertia, scene.part_axis[2]))
    inertia = scene.part_mass * stacked.dot(velocity, velocity) + jnp.where((np.arange(3) == 2)[:, None], spin, 0.0)
    return 1.0 / (1.0 + (factor - 1.0) * inertia * scene.part_dof_invweight0)
