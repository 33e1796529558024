"""The derivative of a control step: a pullback of its own, which leaves the step's own program as it is.

The step keeps its inputs alone. Backward, the control step is computed once more by the same stages in a form that can
be differentiated, and cotangents are pulled back through that:

- loops have fixed counts, pairs stay in their lanes, and every substep is recomputed when it is needed
  (`jax.checkpoint`);
- which pairs are near, which contacts are kept and where the search for a convex contact starts are constants;
- the solver is differentiated at its optimum (the implicit function theorem) instead of through its iterations, general
  convex contacts at the features that touch (`collision/feature.py`), all other kinds through their closed forms.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.collision import Geometry, narrowphase
from mjx_metaworld.physics.collision.feature import touch
from mjx_metaworld.physics.collision.shapes import WarmStart
from mjx_metaworld.physics.cone import contact_forces, zone_of
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.dynamics import Dynamics, contact_factors, vary
from mjx_metaworld.physics.inertia import MassMatrix, dense
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.model import ARM_DOFS, NV, Arm, PhysicsState, Scene
from mjx_metaworld.physics.operation import varying_alike
from mjx_metaworld.physics.solver import Solution
from mjx_metaworld.physics.stages import BY_XLA, stages_of
from mjx_metaworld.physics.step import forward, reach_of

Array = jax.Array

# Counts with which the optimum and the deepest points are found before they are differentiated; the loops end earlier
# where `early_exit` lets them.
_SOLVER_ITERATIONS, _LINESEARCH_ITERATIONS, _CONVEX_ITERATIONS = 20, 10, 12


class DiffState(NamedTuple):
    """Differentiable part of a physics state, before or after a control step."""

    qpos: Array
    qvel: Array
    mocap_pos: Array
    prop_pos: Array


class DiffOutputs(NamedTuple):
    """Differentiable part of the poses after a control step."""

    xpos: Array
    xmat: Array
    hand_pos: Array


def with_pullback(
    step: Callable[..., Any], pullback: Callable[..., tuple[DiffState, Array, Any]]
) -> Callable[..., Any]:
    """A step of one environment that can be differentiated in reverse mode.

    Args:
        step: from a scene's row, a `PhysicsState`, ctrl, a cost estimate and `Dynamics` or None to a `PhysicsState`,
            `Poses` and the next estimate.
        pullback: from the arguments but the estimate and the cotangents `DiffState` and `DiffOutputs` of what it
            returns to those of the state's `DiffState`, of ctrl and of the `Dynamics`.
    """

    @jax.custom_vjp
    def differentiable(
        scene: Array, state: PhysicsState, ctrl: Array, cost_estimate: Array, dynamics: Dynamics | None
    ) -> Any:
        return step(scene, state, ctrl, cost_estimate, dynamics)

    def keep_inputs(
        scene: Array, state: PhysicsState, ctrl: Array, cost_estimate: Array, dynamics: Dynamics | None
    ) -> Any:
        return step(scene, state, ctrl, cost_estimate, dynamics), (scene, state, ctrl, dynamics)

    def pull_back(inputs: tuple[Array, PhysicsState, Array, Dynamics | None], cotangents: Any) -> Any:
        state = inputs[1]
        new_state, poses, _ = cotangents
        diff_outputs = DiffOutputs(poses.xpos, poses.xmat, poses.hand_pos)
        diff_state, ctrl, dynamics = pullback(*inputs, _diff_state(new_state), diff_outputs)
        unused = jnp.zeros_like(state.qacc_warmstart)
        return None, state.replace(**diff_state._asdict(), qacc_warmstart=unused), ctrl, None, dynamics

    differentiable.defvjp(keep_inputs, pull_back)

    def of_one(*args: Any) -> Any:
        # JAX (0.10.2) refuses numpy arrays in a function with a pullback that is mapped and compiled. A copy is no
        # instruction of the program, but makes JAX's own of them.
        return differentiable(*varying_alike(jax.tree.map(jnp.array, args)))

    return of_one


def pull_lanes(
    arm: Arm,
    scene: Scene,
    geometry: Geometry,
    state: PhysicsState,
    ctrl: Array,
    dynamics: Dynamics | None,
    diff_state: DiffState,
    diff_outputs: DiffOutputs,
    config: EngineConfig,
) -> tuple[DiffState, Array, Dynamics | None]:
    """Pull cotangents back through a control step; all arrays lanes last.

    Args:
        arm: constants of the robot.
        scene: the lanes' scenes.
        geometry: their colliders and pairs.
        state: the states before the step.
        ctrl: (2, L).
        dynamics: the lanes' physical parameters.
        diff_state: cotangents of what the step made of the state.
        diff_outputs: cotangents of the poses after it.
        config: of the step; its counts are raised.
    """

    def advance(start: DiffState, ctrl: Array, dynamics: Dynamics | None) -> tuple[DiffState, DiffOutputs]:
        varied = geometry._replace(factors=contact_factors(scene, dynamics))
        return _advance(arm, vary(arm, scene, dynamics), varied, state.replace(**start._asdict()), ctrl, config)

    _, pull = jax.vjp(advance, _diff_state(state), ctrl, dynamics)
    return pull((diff_state, diff_outputs))


def _diff_state(state: PhysicsState) -> DiffState:
    return DiffState(state.qpos, state.qvel, state.mocap_pos, state.prop_pos)


def _advance(
    arm: Arm, scene: Scene, geometry: Geometry, state: PhysicsState, ctrl: Array, config: EngineConfig
) -> tuple[DiffState, DiffOutputs]:
    """The control step in the form that can be differentiated, without the last evaluation's forces."""
    accuracy, execution = config.accuracy, config.execution
    fixed = EngineConfig(
        dataclasses.replace(accuracy, convex_iterations=max(accuracy.convex_iterations, _CONVEX_ITERATIONS)),
        dataclasses.replace(execution, early_exit=False),
    )
    stages = BY_XLA._replace(
        narrowphase=functools.partial(narrowphase, convex=touch),
        solve=lambda mass, qfrc, efc, warm, _: _solve(mass, qfrc, efc, warm, config),
    )
    held = jax.lax.stop_gradient(state)
    kin = kinematics(arm, scene, held.qpos, held.prop_pos)
    candidates = stages.broadphase(geometry, kin, fixed, reach_of(arm, kin, held.qvel, geometry.radius, accuracy))

    @jax.checkpoint
    def substep(
        carry: tuple[PhysicsState, WarmStart | None], _: None
    ) -> tuple[tuple[PhysicsState, WarmStart | None], None]:
        state, start = carry
        now = forward(arm, scene, state, ctrl, candidates.going_on(start), fixed, stages=stages)
        qfrc = now.qfrc_smooth + now.solution.qfrc_constraint
        qpos, qvel = stages.integrate(arm, scene, now.mass, state.qpos, state.qvel, qfrc)
        state = state.replace(qpos=qpos, qvel=qvel, qacc_warmstart=jax.lax.stop_gradient(now.solution.qacc))
        return (state, now.candidates.start), None

    (state, _), _ = jax.lax.scan(substep, (state, candidates.start), length=accuracy.substeps)
    kin = kinematics(arm, scene, state.qpos, state.prop_pos)
    return _diff_state(state), DiffOutputs(kin.xpos, kin.xmat, kin.hand_pos)


def _solve(
    mass: MassMatrix, qfrc_smooth: Array, efc: Constraints, qacc_warmstart: Array, config: EngineConfig
) -> Solution:
    """Accelerations as by the stage `solve`, with the derivative of the optimum.

    There the gradient of the cost vanishes, so the optimum moves by minus the inverse Hessian times what the arguments
    change the gradient by. One Newton step whose matrix is held constant has that derivative.
    """
    accuracy = config.accuracy
    precise = EngineConfig(
        dataclasses.replace(
            accuracy,
            solver_iterations=max(accuracy.solver_iterations, _SOLVER_ITERATIONS),
            linesearch_iterations=max(accuracy.linesearch_iterations, _LINESEARCH_ITERATIONS),
            solver_tolerance=min(accuracy.solver_tolerance, float(jnp.finfo(qfrc_smooth.dtype).eps) ** 0.5),
        ),
        dataclasses.replace(config.execution, compaction=0),
    )
    held = jax.lax.stop_gradient((mass, qfrc_smooth, efc))
    solve = stages_of(precise.execution).solve
    found = jax.lax.stop_gradient(solve(*held, jax.lax.stop_gradient(qacc_warmstart), precise))

    def changes(unit: Array) -> Array:
        tangent = jnp.broadcast_to(unit[:, None], found.qacc.shape)
        return jax.jvp(lambda qacc: _gradient(*held, qacc), (found.qacc,), (tangent,))[1]

    hessian = jax.vmap(changes, out_axes=1)(jnp.eye(NV, dtype=found.qacc.dtype))
    hessian = jax.lax.stop_gradient(hessian)
    qacc = found.qacc - solve_spd(hessian, _gradient(mass, qfrc_smooth, efc, found.qacc))
    momentum = jnp.sum(dense(mass) * qacc, axis=1)
    return found._replace(qacc=qacc, qfrc_constraint=momentum - qfrc_smooth)


def _gradient(mass: MassMatrix, qfrc_smooth: Array, efc: Constraints, qacc: Array) -> Array:
    """Gradient (18, L) of the cost that the solver minimizes."""
    smooth = jnp.sum(dense(mass) * qacc, axis=1) - qfrc_smooth
    weld = efc.weld_d * (jnp.sum(efc.weld_jac * qacc[ARM_DOFS], axis=1) - efc.weld_aref)
    weld = jnp.pad(jnp.sum(efc.weld_jac * weld[:, None], axis=0), ((0, NV - ARM_DOFS.stop), (0, 0)))
    limit = efc.limit_jac * qacc - efc.limit_aref
    limit = efc.limit_jac * efc.limit_d * jnp.where(limit < 0.0, limit, 0.0)
    jaref = jnp.sum(efc.contact_jac * qacc, axis=2) - efc.contact_aref
    normal, tangential = contact_forces(zone_of(jaref, efc.contact_mu), efc.contact_d, efc.contact_mu)
    force = jnp.concatenate([normal[:, None], tangential[:, None] * jaref[:, 1:]], axis=1)
    return smooth + weld + limit - jnp.sum(efc.contact_jac * force[:, :, None], axis=(0, 1))
