"""The physical parameters of an episode as edits of the original scene's compiled model.

A mass is more than `body_mass`: MuJoCo derives inertias at the reference pose and inverse weights of it, of which it
takes the mass matrix of simple bodies and the softness of contacts. `mj_setConst` computes them anew.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.physics.model import FREE, PART
from mjx_metaworld.scenes.bodies import BodyMap


class Originals(NamedTuple):
    """Arrays of a compiled model that `edit_model` writes, as the scene's file has them."""

    geom_friction: np.ndarray
    pair_friction: np.ndarray
    body_mass: np.ndarray
    body_inertia: np.ndarray
    dof_damping: np.ndarray
    actuator_gainprm: np.ndarray
    actuator_biasprm: np.ndarray
    gravity: np.ndarray

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Originals:
        """Copies from a model that has not been edited."""
        arrays = {name: getattr(model, name).copy() for name in cls._fields if name != "gravity"}
        return cls(**arrays, gravity=model.opt.gravity.copy())


def edit_model(model: mujoco.MjModel, originals: Originals, bodies: BodyMap, dynamics: Dynamics | None) -> None:
    """Give a model the physical parameters of an episode, in place of any that it was given before.

    Args:
        model: the original scene, as it was compiled or edited before.
        originals: of the same scene.
        bodies: of the same scene.
        dynamics: parameters of one environment, on the host; None for the scene as its file has it.
    """
    given = dynamics or Dynamics()
    friction = _factor(given.friction)
    model.geom_friction[:] = friction * originals.geom_friction
    model.pair_friction[:] = friction * originals.pair_friction
    factors = np.ones(model.nbody)
    factors[bodies.body == FREE] = _factor(given.free_mass)
    factors[bodies.body == PART] = _factor(given.part_mass)
    mass = factors * originals.body_mass
    is_changed = not np.array_equal(model.body_mass, mass)
    model.body_mass[:] = mass
    model.body_inertia[:] = factors[:, None] * originals.body_inertia
    damping = np.ones(1) if given.damping is None else np.asarray(given.damping, float)[bodies.dofs]
    model.dof_damping[:] = damping * originals.dof_damping
    gain = np.ones(model.nu) if given.gain is None else np.asarray(given.gain, float)
    model.actuator_gainprm[:] = gain[:, None] * originals.actuator_gainprm
    model.actuator_biasprm[:] = gain[:, None] * originals.actuator_biasprm
    model.opt.gravity[:] = originals.gravity if given.gravity is None else np.asarray(given.gravity, float)
    if is_changed:
        mujoco.mj_setConst(model, mujoco.MjData(model))


def _factor(value: object) -> float:
    return 1.0 if value is None else float(np.asarray(value))
