"""The stages of a step that come in several forms, and the form that suits an execution.

Kinematics, mass matrix, smooth forces, constraints and integration are one form for all devices. What the forms of a
stage compute is the same but for rounding; `solver.solve` is the one to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax

from mjx_metaworld.physics import solver
from mjx_metaworld.physics.backends.cpu import collision as cpu_collision
from mjx_metaworld.physics.backends.cpu import newton as cpu_newton
from mjx_metaworld.physics.backends.cuda import newton as cuda_newton
from mjx_metaworld.physics.collision import Geometry, broadphase, narrowphase
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.model import Contacts, Kinematics
from mjx_metaworld.physics.solver import Solution

Array = jax.Array


class NearPairs(Protocol):
    """The pairs that a broad phase selects, for the narrow phase of the same stages."""

    @property
    def start(self) -> Any:
        """Start of the narrow phase's search, a pytree of arrays; None where it needs none."""
        ...

    def going_on(self, start: Any) -> Self:
        """The same pairs, from another start."""
        ...


class Stages(NamedTuple):
    """Stages that come in several forms: by XLA, in kernels, and for a derivative (`derivative.py`)."""

    broadphase: Callable[[Geometry, Kinematics, EngineConfig, Array], Any]  # to `NearPairs`
    narrowphase: Callable[[Any, Kinematics, EngineConfig], tuple[Contacts, Any]]  # from and to `NearPairs`
    solve: Callable[[MassMatrix, Array, Constraints, Array, EngineConfig], Solution]


def stages_of(execution: Execution) -> Stages:
    """Stages of an execution: in kernels of our own where it has any."""
    if execution.cpu_kernels:
        return Stages(cpu_collision.broadphase, cpu_collision.narrowphase, cpu_newton.solve)
    if execution.kernels and not execution.early_exit:
        return Stages(broadphase, narrowphase, cuda_newton.solve)
    return Stages(broadphase, narrowphase, solver.solve)
