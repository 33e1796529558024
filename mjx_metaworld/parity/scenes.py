"""Scenes of one's own against MuJoCo C: each stage from MuJoCo's own inputs, and whole control steps.

States are taken where the hand, led by MuJoCo C, pushes and grips at the object and the fixture. The bars are those
that the 50 tasks are held to.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.build.readings import SkeletonState, read_skeleton
from mjx_metaworld.parity import collisions
from mjx_metaworld.parity.dissect import (
    RecordedState,
    constraints_of,
    contacts_of,
    dissect,
    kinematics_of,
    load_robot,
    mass_of,
    physics_states_of,
    scenes_of,
    to_lanes,
)
from mjx_metaworld.physics.backend import execution_of
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.physics.constraint import make_constraints
from mjx_metaworld.physics.engine import Engine
from mjx_metaworld.physics.inertia import dense, mass_matrix, smooth_force
from mjx_metaworld.physics.integrate import integrate
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import PhysicsState
from mjx_metaworld.physics.solver import solve
from mjx_metaworld.scenes.bodies import BodyMap, map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.lead import hold_hand, lead_hand

_SUBSTEPS = PhysicsConfig().substeps
_SETTLING = 50  # control steps, as in a reset
# In groups as on a CPU, without loops that end early.
_EXECUTION = Execution(contact_group=4)
_CONFIG = EngineConfig(execution=_EXECUTION)


class SceneState(NamedTuple):
    """One moment of a rollout in MuJoCo C."""

    stages: RecordedState  # of the substep that follows
    snapshot: collisions.Snapshot  # the contacts in it
    after: SkeletonState  # a control step later


class Bar(NamedTuple):
    """Largest error that a stage may have, at a quantile over states."""

    stage: str
    quantile: float
    limit: float


# float32, relative to 1 + |value| but for depths and positions in m; tests/physics has the reasons. On the round rims
# of cylinders MuJoCo's search stops 1e-6 m early, which leaves the normal free by some 1e-2.
BARS = (
    Bar("kinematics", 1.0, 2e-6),
    Bar("mass matrix", 1.0, 1e-5),
    Bar("smooth forces", 1.0, 1e-4),
    Bar("contacts that one side lacks", 1.0, 1e-4),
    Bar("contact depth", 0.99, 1e-4),
    Bar("contact normal", 0.9, 1e-2),
    Bar("constraint Jacobian", 1.0, 1e-5),
    Bar("constraint D", 1.0, 5e-4),
    Bar("constraint aref", 1.0, 1e-3),
    Bar("qacc", 0.99, 1e-4),
    Bar("integration", 1.0, 2e-6),
    Bar("control step", 0.5, 1e-5),
    Bar("control step", 0.99, 1e-3),
)


class Measured(NamedTuple):
    """A bar and the error that was measured against it."""

    bar: Bar
    error: float
    count: int  # states, contacts or joints

    @property
    def holds(self) -> bool:
        """True if the error is within the bar."""
        return self.error <= self.bar.limit

    def __str__(self) -> str:
        name = f"{self.bar.stage} (quantile {self.bar.quantile:g} of {self.count})"
        return f"{name:<55} {self.error:8.1e}  bar {self.bar.limit:.0e}{'' if self.holds else '  BEYOND'}"


def measure_scenes(
    specs: Sequence[SceneSpec],
    *,
    seed: int = 0,
    steps: int = 100,
    every: int = 5,
    physics: PhysicsConfig | None = None,
) -> list[Measured]:
    """Record rollouts in MuJoCo C and compare every stage with it; all scenes share one program.

    Args:
        specs: the scenes, each of which fits (`mw.check_scene`).
        seed: of the hand's ways.
        steps: control steps of a scene's rollout.
        every: control steps between states.
        physics: accuracy of the engine, as `mw.make` takes it.
    """
    states = [state for spec in specs for state in record_scene(spec, seed=seed, steps=steps, every=every)]
    accuracy = physics or PhysicsConfig()
    return measured(dynamics_errors(states) | contact_errors(states, accuracy) | step_errors(states, accuracy))


def measured(errors: dict[str, np.ndarray]) -> list[Measured]:
    """Errors of stages by their names against the bars of these stages."""
    return [
        Measured(bar, _quantile(errors[bar.stage], bar.quantile), len(errors[bar.stage]))
        for bar in BARS
        if bar.stage in errors
    ]


def _quantile(errors: np.ndarray, quantile: float) -> float:
    return float(np.quantile(errors, quantile)) if len(errors) else 0.0


# --- rollouts ---


def record_scene(spec: SceneSpec, *, seed: int = 0, steps: int = 100, every: int = 5) -> list[SceneState]:
    """Lead the hand to a scene's moving bodies in MuJoCo C, and keep every `every`-th state at a random substep."""
    rng = np.random.default_rng(seed)
    model = load_scene(spec)
    bodies, data = map_bodies(model, spec.prop), mujoco.MjData(model)
    hold_hand(data)
    mujoco.mj_step(model, data, nstep=_SETTLING * _SUBSTEPS)
    states: list[SceneState] = []
    for step in lead_hand(model, data, rng, steps):
        if step % every == every - 1:
            states.append(_keep(spec, model, data, bodies, int(rng.integers(_SUBSTEPS))))
        mujoco.mj_step(model, data, nstep=_SUBSTEPS)
    return states


def _keep(spec: SceneSpec, model: mujoco.MjModel, data: mujoco.MjData, bodies: BodyMap, substep: int) -> SceneState:
    at = copy.copy(data)
    mujoco.mj_step(model, at, nstep=substep)
    forwarded, later = copy.copy(at), copy.copy(at)
    mujoco.mj_forward(model, forwarded)
    xpos, xmat = collisions.skeleton_poses(model, forwarded, bodies)
    snapshot = collisions.Snapshot(spec.name, spec, xpos, xmat, collisions.contacts_of(forwarded))
    mujoco.mj_step(model, later, nstep=_SUBSTEPS)
    return SceneState(dissect(model, at, spec.name, spec), snapshot, read_skeleton(later, bodies))


# --- errors ---


def contact_errors(
    states: Sequence[SceneState], accuracy: PhysicsConfig, *, dtype: type = np.float32
) -> dict[str, np.ndarray]:
    """Errors of the narrow phase, one of each pair of geoms that touches."""
    batch = collisions.to_batch([state.snapshot for state in states], dtype)
    touching = collisions.compare(batch, collisions.collide_batch(batch, EngineConfig(accuracy, _EXECUTION)))
    both = [c for c in touching if c.ours and c.theirs]
    return {
        "contact depth": np.array([c.depth_error for c in both]),
        "contact normal": np.array([c.normal_error for c in both]),
        "contacts that one side lacks": np.array([_beyond_touch(c) for c in touching if not (c.ours and c.theirs)]),
    }


def _beyond_touch(comparison: collisions.Comparison) -> float:
    """Distance in m from the edge of contact of a pair that only one side finds."""
    return abs(comparison.touching_depth + comparison.margin)


def dynamics_errors(moments: Sequence[SceneState], *, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Errors of all stages but the narrow phase, one of each state; float64 needs `jax.enable_x64`."""
    states = [moment.stages for moment in moments]
    arm, count = load_robot(), -(-max(len(state.solver_contacts) for state in states) // 4) * 4 or 4

    # A program for each stage: all in one compile for minutes.
    @jax.jit
    def smooth(scene, physics, ctrl):
        kin = kinematics(arm, scene, physics.qpos, physics.prop_pos)
        force = smooth_force(arm, scene, kin, physics.qpos, physics.qvel, ctrl)
        return kin, dense(mass_matrix(arm, scene, kin)), force

    @jax.jit
    def rows(scene, physics, kin, contacts):
        return make_constraints(arm, scene, kin, physics, contacts, _CONFIG.execution)

    @jax.jit
    def accelerate(mass, force, efc, warmstart):
        return solve(mass, force, efc, warmstart, _CONFIG).qacc

    @jax.jit
    def advance(scene, mass, qpos, qvel, qfrc):
        return integrate(arm, scene, mass, qpos, qvel, qfrc)

    def lanes(values: Sequence[np.ndarray]) -> jax.Array:
        return to_lanes(values, dtype)

    efc = constraints_of(states, count, dtype)
    scene, physics, their_mass = scenes_of(states, dtype), physics_states_of(states, dtype), mass_of(states, dtype)
    kin, mass, force = smooth(scene, physics, lanes([s.ctrl for s in states]))
    own = rows(scene, physics, kinematics_of(states, dtype), contacts_of(states, count, dtype))
    qacc = accelerate(their_mass, lanes([s.qfrc_smooth for s in states]), efc, physics.qacc_warmstart)
    qfrc = lanes([s.mass @ s.qacc_exact for s in states])
    qpos, qvel = advance(scene, their_mass, physics.qpos, physics.qvel, qfrc)
    theirs = np.stack([s.mass for s in states], -1)
    scale = np.sqrt(np.einsum("iil,jjl->ijl", theirs, theirs))
    of_rows = {
        name: [_relative(getattr(own, f"{kind}_{field}"), getattr(efc, f"{kind}_{field}")) for kind in kinds]
        for name, field, kinds in (
            ("constraint Jacobian", "jac", ("weld", "limit", "contact")),
            ("constraint D", "d", ("weld", "limit", "contact")),
            ("constraint aref", "aref", ("weld", "limit", "contact")),
        )
    }
    return {name: np.max(errors, axis=0) for name, errors in of_rows.items()} | {
        "kinematics": _relative(kin.hand_pos, np.stack([s.hand_pos for s in states], -1)),
        "mass matrix": _largest(np.abs(np.asarray(mass, float) - theirs) / scale),
        "smooth forces": _relative(force, np.stack([s.qfrc_smooth for s in states], -1)),
        "qacc": _relative(qacc, np.stack([s.qacc_exact for s in states], -1)),
        "integration": np.maximum(
            _relative(qpos, np.stack([s.next_qpos for s in states], -1)),
            _relative(qvel, np.stack([s.next_qvel for s in states], -1)),
        ),
    }


def step_errors(
    states: Sequence[SceneState], accuracy: PhysicsConfig, *, dtype: type = np.float32
) -> dict[str, np.ndarray]:
    """Differences of the positions after one control step from MuJoCo's, of all of the scenes' joints and states."""
    batch = collisions.to_batch([state.snapshot for state in states], dtype)
    engine = Engine(load_robot(), batch.scenes, batch.hulls, EngineConfig(accuracy, execution_of("auto")))
    before = physics_states_of([state.stages for state in states], dtype)
    before = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), before)
    ctrl = jnp.asarray(np.stack([state.stages.ctrl for state in states]), dtype)
    cost = jnp.zeros(len(states), jnp.int32)
    after: PhysicsState = jax.jit(jax.vmap(engine.step))(batch.row, before, ctrl, cost)[0]
    theirs = np.stack([state.after.qpos for state in states])
    exists = np.zeros(theirs.shape, bool)
    for row, state in zip(exists, states, strict=True):
        scene = state.stages.scene
        row[map_bodies(load_scene(scene), scene.prop).qpos] = True
    return {"control step": np.abs(np.asarray(after.qpos, float) - theirs)[exists]}


def _relative(ours: jax.Array, theirs: jax.Array | np.ndarray) -> np.ndarray:
    """Largest error (L,) of each lane, relative to 1 + |value|."""
    theirs = np.asarray(theirs, float)
    return _largest(np.abs(np.asarray(ours, float) - theirs) / (1.0 + np.abs(theirs)))


def _largest(errors: np.ndarray) -> np.ndarray:
    return errors.reshape(-1, errors.shape[-1]).max(0)
