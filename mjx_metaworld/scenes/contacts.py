"""Parameters of the contacts of two geoms, as MuJoCo 3.3.0 mixes them (`mj_contactParam`) or as a `<pair>` gives them.

They are fixed by the scene, so they are mixed here, once. Three things are brought into the form that the stages take:
the gap is taken off the margin, since a contact that lies in the gap pushes nothing; a solref of stiffness and damping
becomes the time constant and damping ratio that mean the same; friction that a condim does not have is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import mujoco
import numpy as np

_MIN_FRICTION = 1e-5  # mjMINMU, to which the solver raises friction
_MIN_VALUE = 1e-15  # mjMINVAL
CONDIMS = (1, 3, 4, 6)


class ContactParameters(NamedTuple):
    """Parameters of the contacts of a pair of geoms."""

    condim: int
    margin: float  # m: contacts with less distance push
    friction: np.ndarray  # (5,) two tangents, torsion, two of rolling
    solref: np.ndarray  # (2,) as in the file
    solreffriction: np.ndarray  # (2,) zero where the tangents have the normal's
    solimp: np.ndarray  # (5,)

    @property
    def rolling(self) -> float:
        """Rolling friction, zero unless the condim is 6."""
        return max(float(self.friction[3]), _MIN_FRICTION) if self.condim == 6 else 0.0


def explicit_pairs(model: mujoco.MjModel) -> dict[tuple[int, int], int]:
    """The `<pair>` elements of a scene by their geoms, in narrow-phase order (lower geom type first)."""
    found = {}
    for number, pair in enumerate(zip(model.pair_geom1.tolist(), model.pair_geom2.tolist(), strict=True)):
        swapped = model.geom_type[pair[0]] > model.geom_type[pair[1]]
        found[pair[::-1] if swapped else pair] = number
    return found


def contact_parameters(model: mujoco.MjModel, pair: tuple[int, int], number: int | None) -> ContactParameters:
    """Parameters of a pair of geoms: those of the `<pair>` of that number, mixed where it is None."""
    if number is not None:
        return ContactParameters(
            condim=int(model.pair_dim[number]),
            margin=float(model.pair_margin[number] - model.pair_gap[number]),
            friction=model.pair_friction[number].copy(),
            solref=model.pair_solref[number].copy(),
            solreffriction=model.pair_solreffriction[number].copy(),
            solimp=model.pair_solimp[number].copy(),
        )
    g = list(pair)
    condim, friction, solref, solimp = _mixed(model, *pair)
    return ContactParameters(
        condim=condim,
        margin=float(model.geom_margin[g].max() - model.geom_gap[g].max()),  # whatever the priorities
        friction=friction[[0, 0, 1, 2, 2]],
        solref=solref,
        solreffriction=np.zeros(2),
        solimp=solimp,
    )


def _mixed(model: mujoco.MjModel, g1: int, g2: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Condim, friction (3,), solref and solimp of two geoms."""
    priority1, priority2 = model.geom_priority[g1], model.geom_priority[g2]
    if priority1 != priority2:  # the more important geom decides alone
        g = g1 if priority1 > priority2 else g2
        own = (getattr(model, f"geom_{name}")[g].copy() for name in ("friction", "solref", "solimp"))
        return int(model.geom_condim[g]), *own
    g = [g1, g2]
    share = _share(*model.geom_solmix[g])
    solref1, solref2 = model.geom_solref[g]
    if solref1[0] > 0 and solref2[0] > 0:
        solref = share * solref1 + (1 - share) * solref2
    else:
        solref = np.minimum(solref1, solref2)
    solimp = share * model.geom_solimp[g1] + (1 - share) * model.geom_solimp[g2]
    friction = model.geom_friction[g].max(0)
    return int(model.geom_condim[g].max()), friction, solref, solimp


def _share(solmix1: float, solmix2: float) -> float:
    """The first geom's share in solref and solimp."""
    if solmix1 >= _MIN_VALUE and solmix2 >= _MIN_VALUE:
        return solmix1 / (solmix1 + solmix2)
    if solmix1 < _MIN_VALUE and solmix2 < _MIN_VALUE:
        return 0.5
    return 0.0 if solmix1 < _MIN_VALUE else 1.0


def standard_solref(solref: np.ndarray, timestep: float) -> np.ndarray:
    """Time constant and damping ratio (2,) that mean the same as a solref in either of MuJoCo's forms.

    Raises:
        ValueError: if there are none; the message tells what is allowed.
    """
    if solref[0] > 0 and solref[1] > 0:
        return np.array(solref)
    stiffness, damping = -solref
    # MuJoCo raises time constants to two time steps, but not what a negative solref gives.
    if not (stiffness > 0 and 0 < damping <= 1 / timestep):
        allowed = f"two positive numbers, or minus a stiffness > 0 and minus a damping in (0, {1 / timestep:g}]"
        raise ValueError(f"solref {_numbers(solref)}, must be {allowed}")
    return np.array([2 / damping, damping / (2 * np.sqrt(stiffness))])


def unsupported(parameters: ContactParameters, timestep: float) -> Iterator[str]:
    """Lines on what the stages do not compute of contacts with these parameters."""
    friction, condim = parameters.friction, parameters.condim
    if condim >= 3 and friction[0] != friction[1]:
        yield f"sliding friction that differs between the tangents, {friction[0]:g} and {friction[1]:g}"
    if condim == 6 and friction[3] != friction[4]:
        yield f"rolling friction that differs between the tangents, {friction[3]:g} and {friction[4]:g}"
    if parameters.solreffriction.any():
        yield f"solreffriction {_numbers(parameters.solreffriction)}, must be 0 0"
    try:
        standard_solref(parameters.solref, timestep)
    except ValueError as error:
        yield str(error)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:g}" for value in values)
