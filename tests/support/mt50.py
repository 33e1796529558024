"""MT50 in 100 lanes, two a task, with one compiled reset and step for all tests that need the true physics.

A test module that uses it stands in the list in `conftest.py`, so that only one of the test processes compiles it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

import mjx_metaworld as mw
from mjx_metaworld.experts import expert_policy
from mjx_metaworld.parity import steps as parity
from mjx_metaworld.types import State

LANES = 100
TASK_OF_LANE = np.arange(LANES) % 50  # lanes i and i + 50 run the same task with different goals
GOAL_SEED = 1


class Compiled(NamedTuple):
    """Jitted and vmapped functions of all lanes, and one entry for every trace of the reset or the step."""

    reset: Callable[[Array, Array], State]  # keys, tasks
    reset_to: Callable[[Array, Array], State]  # tasks, rand_vecs
    expert: Callable[[Array, Array], Array]  # observations, tasks
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

    # It runs some five hundred times: long enough for some optimization, of which the first level gives most.
    program = mw.jit(step, compiler_options={"xla_backend_optimization_level": 1})
    policy = expert_policy([spec.name for spec in env.tasks])
    reset_to = jax.vmap(lambda task, rand_vec: env.reset_to(task, rand_vec))
    return Compiled(
        reset=jax.jit(reset),
        reset_to=jax.jit(reset_to),
        expert=jax.jit(jax.vmap(policy)),
        # Of one type: an action of weak type, such as `jnp.full` makes, would compile it all a second time.
        step=lambda state, action: program(state, jnp.asarray(action, jnp.float32)),
        traces=traces,
    )


def fresh(seed: int = 0, tasks: np.ndarray = TASK_OF_LANE) -> State:
    """New episodes in all lanes."""
    return compiled().reset(jax.random.split(jax.random.key(seed), LANES), jnp.asarray(tasks, jnp.int32))


def started(tasks: np.ndarray, goal_indices: np.ndarray) -> State:
    """Episodes with frozen goals, by their task (100,) and their index (100,) among the task's goals."""
    chosen = [goals()[task][index] for task, index in zip(tasks, goal_indices, strict=True)]
    padded = [np.pad(rand_vec, (0, environment().rand_vec_size - len(rand_vec))) for rand_vec in chosen]
    return compiled().reset_to(jnp.asarray(tasks, jnp.int32), jnp.asarray(np.stack(padded), jnp.float32))


@functools.cache
def recorded(task: int) -> parity.Steps:
    """Twelve control steps of the reference under its expert, spread over one episode's first 120."""
    return parity.record_steps(environment(), task, goals()[task][:1], style="expert", num_steps=120, every=10)


def assert_in_every_lane(ok: Bool[np.ndarray, " lanes"], what: str) -> None:
    """Fail with the names of the tasks in whose lanes `ok` is False."""
    names = [environment().tasks[task].name for task in TASK_OF_LANE[~np.asarray(ok)]]
    assert not names, f"{what}: {', '.join(sorted(set(names)))}"
