"""One control step: the stages in MuJoCo's order, five substeps and a last forward pass."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mjx_metaworld.physics import spatial, stacked
from mjx_metaworld.physics.collision import Geometry
from mjx_metaworld.physics.config import EngineConfig, PhysicsConfig
from mjx_metaworld.physics.constraint import Constraints, ContactRows
from mjx_metaworld.physics.cost_estimate import estimate_cost
from mjx_metaworld.physics.inertia import MassMatrix
from mjx_metaworld.physics.model import (
    ARM_DOFS,
    FREE_DOFS,
    PART_DOFS,
    Arm,
    Contacts,
    Kinematics,
    PhysicsState,
    Scene,
)
from mjx_metaworld.physics.solver import Solution
from mjx_metaworld.physics.stages import NearPairs, Stages, stages_of

Array = jax.Array
Tree = TypeVar("Tree")


class ForwardResult(NamedTuple):
    """Everything that one evaluation of the dynamics yields (MuJoCo's `mj_forward`)."""

    kin: Kinematics
    mass: MassMatrix
    qfrc_smooth: Array  # (18, L)
    contacts: Contacts
    candidates: NearPairs  # with which the next evaluation begins
    constraints: Constraints
    solution: Solution


class ControlStep(NamedTuple):
    """RewardOutput of a control step; all arrays lanes last."""

    state: PhysicsState
    kin: Kinematics  # of that state
    touching: Array  # (L,) bool: both finger pads press on the main object
    cost_estimate: Array  # (L,) int32 how much work it was, see `cost_estimate.py`; zero without `early_exit`


def forward(
    arm: Arm,
    scene: Scene,
    state: PhysicsState,
    ctrl: Array,
    candidates: NearPairs,
    config: EngineConfig,
    scratch: ContactRows | None = None,
    stages: Stages | None = None,
) -> ForwardResult:
    """Evaluate the dynamics at a state; all arrays lanes last.

    Args:
        arm: constants of the robot.
        scene: the lanes' scenes.
        state: the lanes' states.
        ctrl: (2, L) targets of the finger servos.
        candidates: pairs for the narrow phase.
        config: accuracy and execution.
        scratch: rows that may be overwritten, as `make_constraints` takes them.
        stages: how contacts are found and constraints are solved; None: as suits the execution.
    """
    stages = stages or stages_of(config.execution)
    kin, mass, qfrc_smooth = stages.dynamics(arm, scene, state, ctrl)
    contacts, candidates = stages.narrowphase(candidates, kin, config)
    constraints = stages.constrain(arm, scene, kin, state, contacts, config.execution, scratch)
    solution = stages.solve(mass, qfrc_smooth, constraints, state.qacc_warmstart, config)
    return ForwardResult(kin, mass, qfrc_smooth, contacts, candidates, constraints, solution)


def control_step(
    arm: Arm, scene: Scene, geometry: Geometry, state: PhysicsState, ctrl: Array, config: EngineConfig
) -> ControlStep:
    """Advance by `substeps` time steps, then evaluate the dynamics once more, as metaworld does.

    Candidate pairs are selected once, at the start: within 12.5 ms no pair comes near that was not among the nearest.
    """
    stages = stages_of(config.execution)
    kin = stages.kinematics(arm, scene, state.qpos, state.prop_pos)
    reach = reach_of(arm, kin, state.qvel, geometry.radius, config.accuracy)
    candidates = stages.broadphase(geometry, kin, config, reach)

    # One loop for the substeps and the last evaluation, which only keeps its results: the dynamics are compiled once.
    # Its name is in the compiled program, where `benchmarks.stages` counts what belongs to a substep.
    @jax.named_scope("substep")
    def substep(index, carry):
        state, cost, _, _, rows, begin = carry
        now = forward(arm, scene, state, ctrl, candidates.going_on(begin), config, rows, stages)
        qfrc = now.qfrc_smooth + now.solution.qfrc_constraint
        qpos, qvel = stages.integrate(arm, scene, now.mass, state.qpos, state.qvel, qfrc)
        last = index == config.accuracy.substeps
        if config.execution.early_exit:  # elsewhere the order of environments saves nothing
            cost = cost + estimate_cost(now.constraints, now.solution.iterations)
        state = state.replace(
            qpos=jnp.where(last, state.qpos, qpos),
            qvel=jnp.where(last, state.qvel, qvel),
            qacc_warmstart=now.solution.qacc,
        )
        touching = _touching(now.contacts, now.solution.contact_normal_force)
        rows = None if rows is None else now.constraints.contact_rows
        return state, cost, now.kin, touching, rows, now.candidates.start

    lanes = state.qpos.shape[-1]
    # The rows are handed on because filling them anew takes longer than what is written to them; a kernel fills none.
    rows = None
    if not config.execution.cpu_kernels:
        rows = ContactRows.none(config.accuracy.max_contacts, lanes, state.qpos.dtype, geometry.pairs.num_rows)
    constants = jnp.zeros(lanes, jnp.int32), jnp.zeros(lanes, bool), rows
    cost, touching, rows = _of_tile(constants, state.qpos[0])
    start = (state, cost, kin, touching, rows, candidates.start)
    state, cost, kin, touching, *_ = jax.lax.fori_loop(0, config.accuracy.substeps + 1, substep, start)
    return ControlStep(state, kin, touching, cost)


def _of_tile(constants: Tree, own: Array) -> Tree:
    """Make constants depend on a tile's `own` numbers (L,), so that each tile counts as having its own.

    JAX maps the body of a loop once more where a carry turns out to differ among tiles only after the first round,
    which for a substep is a quarter of what tracing a step takes (benchmarks/LOG.md, section 21). The compiler drops
    the selection between a thing and itself.
    """
    return jax.tree.map(lambda x: jnp.where(own[0] == 0, x, x), constants)


def reach_of(arm: Arm, kin: Kinematics, qvel: Array, radius: float, accuracy: PhysicsConfig) -> Array:
    """Bound (L,) in metres on how much closer two colliders may come within a control step.

    Twice what the bodies' speeds amount to, as an object at rest that is struck may leave twice as fast as the hand,
    and what an acceleration of 128 m/s² adds.
    """
    arms = kin.hand_pos - kin.anchor[ARM_DOFS]
    hand = jnp.sum((kin.lin[ARM_DOFS] + stacked.cross(kin.ang[ARM_DOFS], arms)) * qvel[ARM_DOFS, None], axis=0)
    free, part = qvel[FREE_DOFS], qvel[PART_DOFS]
    speed = spatial.norm(hand) + spatial.norm(free[:3]) + radius * spatial.norm(free[3:])
    speed = speed + jnp.abs(part[0]) + jnp.abs(part[1]) + radius * jnp.abs(part[2])
    return 0.01 + accuracy.substeps * arm.timestep * 2.0 * speed


def _touching(contacts: Contacts, normal_force: Array) -> Array:
    """(L,) True where each pad's contacts with the main object carry force (metaworld's `touching_object`)."""

    def presses(pad: int) -> Array:
        force = jnp.where(contacts.active & (contacts.touch == pad), normal_force, 0.0)
        return jnp.sum(force, axis=0) > 0.0

    return presses(1) & presses(2)
