"""The stages of a step that come in several forms, and the form that suits an execution.

What the forms of a stage compute is the same but for rounding; those of `BY_XLA` are the ones to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax

from mjx_metaworld.physics import solver
from mjx_metaworld.physics.backends.cpu import collision as cpu_collision
from mjx_metaworld.physics.backends.cpu import constraints as cpu_constraints
from mjx_metaworld.physics.backends.cpu import dynamics as cpu_dynamics
from mjx_metaworld.physics.backends.cpu import integrate as cpu_integrate
from mjx_metaworld.physics.backends.cpu import newton as cpu_newton
from mjx_metaworld.physics.backends.cuda import newton as cuda_newton
from mjx_metaworld.physics.collision import Geometry, broadphase, narrowphase
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.constraint import Constraints, ContactRows, make_constraints
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.integrate import integrate
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import Arm, Contacts, Kinematics, PhysicsState, Scene
from mjx_metaworld.physics.solver import Solution
from mjx_metaworld.physics.unconstrained import Unconstrained, unconstrained

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

    kinematics: Callable[[Arm, Scene, Array, Array], Kinematics]
    broadphase: Callable[[Geometry, Kinematics, EngineConfig, Array], Any]  # to `NearPairs`
    dynamics: Callable[[Arm, Scene, PhysicsState, Array], Unconstrained]
    narrowphase: Callable[[Any, Kinematics, EngineConfig], tuple[Contacts, Any]]  # from and to `NearPairs`
    constrain: Callable[[Arm, Scene, Kinematics, PhysicsState, Contacts, Execution, ContactRows | None], Constraints]
    solve: Callable[[MassMatrix, Array, Constraints, Array, EngineConfig], Solution]
    integrate: Callable[[Arm, Scene, MassMatrix, Array, Array, Array], tuple[Array, Array]]


BY_XLA = Stages(kinematics, broadphase, unconstrained, narrowphase, make_constraints, solver.solve, integrate)


def stages_of(execution: Execution) -> Stages:
    """Stages of an execution: in kernels of our own where it has any."""
    if execution.cpu_kernels:
        return BY_XLA._replace(
            kinematics=cpu_dynamics.kinematics,
            broadphase=cpu_collision.broadphase,
            dynamics=cpu_dynamics.dynamics,
            narrowphase=cpu_collision.narrowphase,
            constrain=cpu_constraints.make_constraints,
            solve=cpu_newton.solve,
            integrate=cpu_integrate.integrate,
        )
    if execution.kernels and not execution.early_exit:
        return BY_XLA._replace(solve=cuda_newton.solve)
    return BY_XLA
