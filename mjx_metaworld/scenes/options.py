"""Options of a scene's file: those that change a trajectory beyond the accuracy to which it is computed."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

# Gravity is each scene's own. Wind moves nothing without density and viscosity, nor does a magnetic field. Counts and
# tolerances of solvers are accuracy, and the stages have their own (`PhysicsConfig`).
OPTIONS = (
    "timestep",
    "integrator",
    "cone",
    "solver",
    "impratio",
    "noslip_iterations",
    "density",
    "viscosity",
    "disableactuator",
)
_DISABLE, _ENABLE = mujoco.mjtDisableBit, mujoco.mjtEnableBit
# Flags that are honoured (gravity), or change nothing that a step computes.
FREE_FLAGS = {
    "disable": (
        _DISABLE.mjDSBL_GRAVITY,
        _DISABLE.mjDSBL_WARMSTART,
        _DISABLE.mjDSBL_SENSOR,
        _DISABLE.mjDSBL_MIDPHASE,
        _DISABLE.mjDSBL_AUTORESET,
        _DISABLE.mjDSBL_FRICTIONLOSS,  # which there may not be
    ),
    "enable": (_ENABLE.mjENBL_ENERGY, _ENABLE.mjENBL_FWDINV),
}


_NAMES = {"disableactuator": "actuatorgroupdisable"}  # the file's names, where they are others


def options(model: mujoco.MjModel, reference: mujoco.MjModel) -> Iterator[str]:
    """A line for each option that must be the reference's and is not."""
    hint = "remove it from the file's <option> and include metaworld/scene/basic_scene.xml, which sets it"
    for name in OPTIONS:
        own, needed = getattr(model.opt, name), getattr(reference.opt, name)
        if not np.array_equal(own, needed):
            yield f"option {_NAMES.get(name, name)} is {own}, must be {needed}: {hint}"
    wrong = [*_changed("disable", _DISABLE, model, reference), *_changed("enable", _ENABLE, model, reference)]
    if wrong:
        yield f"option flags {', '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} not metaworld's: {hint}"


def _changed(kind: str, bits: type, model: mujoco.MjModel, reference: mujoco.MjModel) -> Iterator[str]:
    """Flags of a kind that must be the reference's and are not."""
    own, needed = (getattr(each.opt, f"{kind}flags") for each in (model, reference))
    for name, bit in bits.__members__.items():
        if not name.startswith("mjN") and bit not in FREE_FLAGS[kind] and (own ^ needed) & bit:
            yield name.split("_")[1].lower()
