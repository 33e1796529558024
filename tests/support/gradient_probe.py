"""Observations after ten control steps as a function of the actions: gradients, central differences, contact sets."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import mjx_metaworld as mw
from mjx_metaworld.physics.collision import Geometry, broadphase
from mjx_metaworld.physics.collision.shapes import WarmStart
from mjx_metaworld.physics.cone import zone_of
from mjx_metaworld.physics.config import EngineConfig, PhysicsConfig
from mjx_metaworld.physics.integrate import integrate
from mjx_metaworld.physics.kinematics import kinematics
from mjx_metaworld.physics.model import PhysicsState
from mjx_metaworld.physics.step import forward, reach_of
from mjx_metaworld.types import State

STEPS = 10
# Differences need a forward step whose own error is far below them; the derivative is that of the exact optimum.
PRECISE = PhysicsConfig(solver_iterations=20, linesearch_iterations=12, solver_tolerance=1e-10, convex_iterations=12)


class Probe(NamedTuple):
    """Episodes in some lanes, actions around which to differentiate, and what of the observations is looked at."""

    env: mw.MetaWorldEnv
    state: State
    actions: Array  # (steps, lanes, 4)
    weights: Array  # (lanes, 39)

    def observed(self, actions: Array) -> Array:
        """(lanes,) weighted sums of the entries of the last observation."""

        def step(state: State, action: Array) -> tuple[State, None]:
            return jax.vmap(self.env.step)(state, action), None

        end, _ = jax.lax.scan(step, self.state, actions)
        return jnp.sum(end.obs * self.weights, axis=1)

    def gradient(self, actions: Array) -> Array:
        """(steps, lanes, 4) of each lane's sum with respect to its actions."""
        return jax.grad(lambda x: jnp.sum(self.observed(x)))(actions)

    def observed_and_acting(self, actions: Array) -> tuple[Array, Array]:
        """Besides `observed`, (lanes, ...) which contacts and limits act, and how, in every substep on the way."""
        acting = self.env.engine.on_lanes(lambda *args: _acting(self.env, *args))

        def step(state: State, action: Array) -> tuple[State, Array]:
            new = jax.vmap(self.env.step)(state, action)
            moved = state.physics.replace(mocap_pos=new.physics.mocap_pos)
            ctrl = jnp.stack([action[:, 3], -action[:, 3]], axis=1)
            return new, jax.vmap(acting)(jax.vmap(self.env.rows)(state.task).scene, moved, ctrl)

        end, sets = jax.lax.scan(step, self.state, actions)
        return jnp.sum(end.obs * self.weights, axis=1), jnp.moveaxis(sets, 1, 0)


def probe(env: mw.MetaWorldEnv, state: State, seed: int = 0) -> Probe:
    """Random weights for the episodes in `state`, and random actions off the bounds, where they would be clipped."""
    rng = np.random.default_rng(seed)
    lanes, dtype = state.obs.shape[0], state.obs.dtype
    actions = jnp.asarray(rng.uniform(-0.9, 0.9, (STEPS, lanes, 4)), dtype)
    return Probe(env, state, actions, jnp.asarray(rng.normal(size=(lanes, 39)), dtype))


def half_after_expert(env: mw.MetaWorldEnv, state: State, steps: int = 29) -> State:
    """Fresh episodes, of which those in the second half of the lanes are carried on under the scripted experts."""
    expert, lanes = jax.vmap(mw.expert(env)), state.obs.shape[0]

    def step(state: State, _: None) -> tuple[State, None]:
        return jax.vmap(env.step)(state, jnp.clip(expert(state.obs, state.task), -1.0, 1.0)), None

    later = mw.jit(lambda state: jax.lax.scan(step, state, length=steps)[0])(state)
    return jax.tree.map(lambda x, y: jnp.concatenate([x[: lanes // 2], y[lanes // 2 :]]), state, later)


def _acting(env: mw.MetaWorldEnv, scene: Array, state: PhysicsState, ctrl: Array) -> Array:
    """(substeps, K + 18, L) int32: of every contact its bodies and zone, of every dof whether its limit acts."""
    engine = env.engine
    accuracy, execution = engine.config.accuracy, dataclasses.replace(engine.config.execution, early_exit=False)
    config = EngineConfig(accuracy, execution)
    rows = engine.select(scene)
    kin = kinematics(engine.arm, rows, state.qpos, state.prop_pos)
    geometry = Geometry.of(engine.scenes, engine.hulls, scene)
    candidates = broadphase(geometry, kin, config, reach_of(engine.arm, kin, state.qvel, geometry.radius, accuracy))

    def substep(
        carry: tuple[PhysicsState, WarmStart | None], _: None
    ) -> tuple[tuple[PhysicsState, WarmStart | None], Array]:
        state, start = carry
        now = forward(engine.arm, rows, state, ctrl, candidates.going_on(start), config)
        found, qacc = now.constraints, now.solution.qacc
        zone = zone_of(jnp.sum(found.contact_jac * qacc, axis=2) - found.contact_aref, found.contact_mu)
        pair = 14 * now.contacts.body1 + now.contacts.body2
        contacts = jnp.where(now.contacts.active, 1 + 3 * pair + zone.satisfied + 2 * zone.quadratic, 0)
        limits = (found.limit_d > 0.0) & (found.limit_jac * qacc - found.limit_aref < 0.0)
        qfrc = now.qfrc_smooth + now.solution.qfrc_constraint
        qpos, qvel = integrate(engine.arm, rows, now.mass, state.qpos, state.qvel, qfrc)
        acting = jnp.concatenate([contacts.astype(jnp.int32), limits.astype(jnp.int32)])
        return (state.replace(qpos=qpos, qvel=qvel, qacc_warmstart=qacc), now.candidates.start), acting

    return jax.lax.scan(substep, (state, candidates.start), length=accuracy.substeps)[1]
