"""Highest values of a soak, each with the state that its lane came from, beside how far MuJoCo C goes from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
REPLAYS = 50
ROUNDING = 1e-7  # standard deviation, m or rad, as of a float32 near one


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
    before: State  # the step that gave the value
    origin: State
    start: Int[Array, "*groups bounds"]  # the first step after the origin
    end: Int[Array, "*groups bounds"]  # the step after the one that gave the value
    lane: Int[Array, "*groups bounds"]

    def renewed(
        self, values: Float[Array, "envs bounds"], before: State, origins: Origins, step: Int[Array, ""]
    ) -> Extremes:
        """Extremes after a step.

        Lanes are compared with those of their group alone, so that devices need not meet in every step.
        """
        groups = self.highest.shape[0]

        def best(old: Extremes, values: Array, before: State, origins: Origins, first: Array) -> Extremes:
            lane = jnp.argmax(values, axis=0)
            earlier, origin, start = jax.tree.map(lambda x: x[lane], (before, origins.state, origins.step))
            end = jnp.full(lane.shape, step + 1)
            new = Extremes(jnp.max(values, axis=0), earlier, origin, start, end, first + lane)
            return select_envs(new.highest > old.highest, new, old)

        first = jnp.arange(groups) * (len(values) // groups)
        values, before, origins = jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), (values, before, origins))
        return jax.vmap(best)(self, values, before, origins, first)

    def reduced(self) -> Extremes:
        """Extremes of all groups together."""
        group = jnp.argmax(self.highest, axis=0)
        return jax.tree.map(lambda x: x[group, jnp.arange(len(group))], self)


def no_extremes(start: State, groups: int, bounds: int) -> Extremes:
    """Extremes before the first step."""
    none = jnp.zeros((groups, bounds), jnp.int32)
    origin = jax.tree.map(lambda x: jnp.zeros((groups, bounds, *x.shape[1:]), x.dtype), start)
    return Extremes(jnp.full(none.shape, -jnp.inf), origin, origin, none, none, none)


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
        structure = jax.tree.structure(cls(Extremes(one, state, state, one, one, one), one, one))
        return jax.tree.unflatten(structure, leaves)


def paths(extremes: Extremes, actions: Float[Array, "steps envs 4"], mocap_pos: Float[Array, "steps envs 3"]) -> Paths:
    """Extremes of a chunk with what drove their lanes: of an action with a bad number nothing, of others what fits."""
    action = actions[:, extremes.lane].swapaxes(0, 1)
    valid = jnp.all(jnp.isfinite(action), axis=-1)
    ctrl = jnp.where(valid, jnp.clip(action[..., 3], -1.0, 1.0), 0.0)
    return Paths(extremes, ctrl, mocap_pos[:, extremes.lane].swapaxes(0, 1))


class Replayed(NamedTuple):
    """Highest values that MuJoCo C reaches in place of one here; None for what is no quantity of MuJoCo's."""

    last_step: float | None  # from the state before the step that gave the value
    all_steps: float | None  # from the origin


def replay(env: MetaWorldEnv, found: Paths, names: Sequence[str]) -> list[Replayed]:
    """Highest value of each quantity that MuJoCo C reaches from the same states by the same actions.

    Contacts amplify rounding: in what is thrown MuJoCo C parts from itself as it does from others, and a lane here from
    the same in another place. So it begins several times, each time with another `ROUNDING` added to the positions, and
    the highest of these counts.

    Args:
        env: the environment that was soaked.
        found: what it reached.
        names: of the quantities, in their order.
    """
    return [_replayed(env, jax.tree.map(lambda x, i=i: x[i], found), name) for i, name in enumerate(names)]


def _replayed(env: MetaWorldEnv, found: Paths, name: str) -> Replayed:
    extremes = found.extremes
    if not np.isfinite(extremes.highest):
        return Replayed(None, None)
    table: Any = env.rows(extremes.origin.task)
    low, high = np.asarray(table.hand_low), np.asarray(table.hand_high)

    def values(model: mujoco.MjModel, data: mujoco.MjData) -> list[float]:
        return [value for each, value in measured(model, data, low, high) if each == name]

    def highest(state: State, steps: range) -> float | None:
        rng, reached = np.random.default_rng(0), []
        for _ in range(REPLAYS):
            qpos = state.physics.qpos + ROUNDING * rng.normal(size=state.physics.qpos.shape)
            model, data = to_mujoco(env, state.replace(physics=state.physics.replace(qpos=qpos)))
            for step in steps:
                data.mocap_pos[0], data.ctrl[:] = found.mocap_pos[step], (found.ctrl[step], -found.ctrl[step])
                mujoco.mj_step(model, data, PHYSICS.substeps)
                reached += values(model, data)
            reached += [] if steps else values(model, data)
        return max(reached, default=None)

    steps = range(int(extremes.start), int(extremes.end))
    # An episode that has just begun has no step before.
    last = highest(extremes.before, steps[-1:]) if steps else highest(extremes.origin, steps)
    return Replayed(last, highest(extremes.origin, steps))
