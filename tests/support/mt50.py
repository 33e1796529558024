"""MT50 in 100 lanes, two a task, with one compiled reset and step for all tests that use it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

import mjx_metaworld as mw
from mjx_metaworld.parity import steps as parity
from mjx_metaworld.types import State

LANES = 100
TASK_OF_LANE = np.arange(LANES) % 50  # lanes i and i + 50 run the same task with different goals
GOAL_SEED = 1


class Compiled(NamedTuple):
    """Jitted and vmapped `reset(keys, tasks)` and `step(state, action)`, and one entry for every trace of either."""

    reset: Callable[[Array, Array], State]
    step: Callable[[State, Array], State]
    traces: list[str]


@functools.cache
def environment() -> mw.MetaWorldEnv:
    return mw.make("MT50")


@functools.cache
def goals() -> tuple[np.ndarray, ...]:
    return mw.goals("MT50", seed=GOAL_SEED)


@functools.cache
def compiled() -> Compiled:
    env, traces = environment(), []

    def reset(key: Array, task: Array) -> State:
        traces.append("reset")
        return jax.vmap(env.reset)(key, task)

    def step(state: State, action: Array) -> State:
        traces.append("step")
        return jax.vmap(env.step)(state, action)

    return Compiled(jax.jit(reset), jax.jit(step), traces)


def fresh(seed: int = 0, tasks: np.ndarray = TASK_OF_LANE) -> State:
    """New episodes in all lanes."""
    return compiled().reset(jax.random.split(jax.random.key(seed), LANES), jnp.asarray(tasks, jnp.int32))


@functools.cache
def recorded(task: int) -> parity.Steps:
    """Twelve control steps of the reference under its expert, spread over one episode's first 120."""
    return parity.record_steps(environment(), task, goals()[task][:1], style="expert", num_steps=120, every=10)


def assert_in_every_lane(ok: Bool[np.ndarray, " lanes"], what: str) -> None:
    """Fail with the names of the tasks in whose lanes `ok` is False."""
    names = [environment().tasks[task].name for task in TASK_OF_LANE[~np.asarray(ok)]]
    assert not names, f"{what}: {', '.join(sorted(set(names)))}"
