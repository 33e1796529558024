"""Dynamics without constraints: kinematics, mass matrix and smooth forces in one stage."""

from __future__ import annotations

from typing import NamedTuple

import jax

from mjx_metaworld.physics.inertia import MassMatrix, mass_matrix, smooth_force
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import Arm, Kinematics, PhysicsState, Scene

Array = jax.Array


class Unconstrained(NamedTuple):
    """Dynamics without constraints at a state."""

    kin: Kinematics
    mass: MassMatrix
    qfrc_smooth: Array  # (18, L)


def unconstrained(arm: Arm, scene: Scene, state: PhysicsState, ctrl: Array) -> Unconstrained:
    """Kinematics, mass matrix and smooth forces at a state, with targets `ctrl` (2, L) of the finger servos."""
    kin = kinematics(arm, scene, state.qpos, state.prop_pos)
    mass = mass_matrix(arm, scene, kin)
    return Unconstrained(kin, mass, smooth_force(arm, scene, kin, state.qpos, state.qvel, ctrl))
