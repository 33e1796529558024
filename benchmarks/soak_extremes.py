"""Highest values of a soak, each with the state that its lane came from, beside how far MuJoCo C goes from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from benchmarks.soak_reference import measured
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.rendering.to_mujoco import to_mujoco
from mjx_metaworld.types import State
from mjx_metaworld.vector import select_envs

PHYSICS = PhysicsConfig()  # of a soak


class Origins(struct.PyTreeNode):
    """State of each lane at the start of the chunk, or of the episode if that began later, and the step after it."""

    state: State
    step: Int[Array, " envs"]

    def renewed(self, done: Bool[Array, " envs"], after: State, step: Int[Array, ""]) -> Origins:
        """Origins after a step."""
        return Origins(select_envs(done, after, self.state), jnp.where(done, step + 1, self.step))


class Extremes(struct.PyTreeNode):
    """The highest value of each quantity in a chunk. Leading axes (..., bounds)."""

    highest: Float[Array, "*groups bounds"]
    origin: State
    start: Int[Array, "*groups bounds"]  # the first step after the origin
    end: Int[Array, "*groups bounds"]  # the step after the one that gave the value
    lane: Int[Array, "*groups bounds"]

    def renewed(self, values: Float[Array, "envs bounds"], origins: Origins, step: Int[Array, ""]) -> Extremes:
        """Extremes after a step.

        Lanes are compared with those of their group alone, so that devices need not meet in every step.
        """
        groups = self.highest.shape[0]

        def best(old: Extremes, values: Array, origins: Origins, first: Array) -> Extremes:
            lane = jnp.argmax(values, axis=0)
            origin, start = jax.tree.map(lambda x: x[lane], (origins.state, origins.step))
            end = jnp.full(lane.shape, step + 1)
            new = Extremes(jnp.max(values, axis=0), origin, start, end, first + lane)
            return select_envs(new.highest > old.highest, new, old)

        values, origins = jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), (values, origins))
        return jax.vmap(best)(self, values, origins, jnp.arange(groups) * values.shape[1])

    def reduced(self) -> Extremes:
        """Extremes of all groups together."""
        group = jnp.argmax(self.highest, axis=0)
        return jax.tree.map(lambda x: x[group, jnp.arange(len(group))], self)


def no_extremes(start: State, groups: int, bounds: int) -> Extremes:
    """Extremes before the first step."""
    none = jnp.zeros((groups, bounds), jnp.int32)
    origin = jax.tree.map(lambda x: jnp.zeros((groups, bounds, *x.shape[1:]), x.dtype), start)
    return Extremes(jnp.full(none.shape, -jnp.inf), origin, none, none, none)


class Paths(struct.PyTreeNode):
    """Extremes with what drove their lanes through the chunk."""

    extremes: Extremes
    ctrl: Float[Array, "bounds steps"]  # of the gripper
    mocap_pos: Float[Array, "bounds steps 3"]  # m

    def merged(self, later: Paths) -> Paths:
        """Of two chunks, on the host, the higher values with all that belongs to them."""
        higher = later.extremes.highest > self.extremes.highest

        def select(new: np.ndarray, old: np.ndarray) -> np.ndarray:
            return np.where(higher.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)

        return jax.tree.map(select, later, self)

    @classmethod
    def of_leaves(cls, leaves: Sequence[np.ndarray], state: State) -> Paths:
        """Arrays of a file; the state gives the structure."""
        one: Any = 0
        structure = jax.tree.structure(cls(Extremes(one, state, one, one, one), one, one))
        return jax.tree.unflatten(structure, leaves)


def paths(extremes: Extremes, actions: Float[Array, "steps envs 4"], mocap_pos: Float[Array, "steps envs 3"]) -> Paths:
    """Extremes of a chunk with what drove their lanes: of an action with a bad number nothing, of others what fits."""
    action = actions[:, extremes.lane].swapaxes(0, 1)
    valid = jnp.all(jnp.isfinite(action), axis=-1)
    ctrl = jnp.where(valid, jnp.clip(action[..., 3], -1.0, 1.0), 0.0)
    return Paths(extremes, ctrl, mocap_pos[:, extremes.lane].swapaxes(0, 1))


def replay(env: MetaWorldEnv, found: Paths, names: Sequence[str]) -> list[float | None]:
    """Highest value of each quantity that MuJoCo C reaches from the same state by the same actions.

    Args:
        env: the environment that was soaked.
        found: what it reached.
        names: of the quantities, in their order.

    Returns:
        A value a quantity, over the same steps; None for what nothing reached and what is none of MuJoCo's.
    """
    return [_replayed(env, jax.tree.map(lambda x, i=i: x[i], found), name) for i, name in enumerate(names)]


def _replayed(env: MetaWorldEnv, found: Paths, name: str) -> float | None:
    extremes = found.extremes
    if not np.isfinite(extremes.highest):
        return None
    model, data = to_mujoco(env, extremes.origin)
    table: Any = env.rows(extremes.origin.task)
    low, high = np.asarray(table.hand_low), np.asarray(table.hand_high)

    def values() -> list[float]:
        return [value for each, value in measured(model, data, low, high) if each == name]

    reached = values()
    for step in range(int(extremes.start), int(extremes.end)):
        data.mocap_pos[0], data.ctrl[:] = found.mocap_pos[step], (found.ctrl[step], -found.ctrl[step])
        mujoco.mj_step(model, data, PHYSICS.substeps)
        reached += values()
    return max(reached, default=None)
