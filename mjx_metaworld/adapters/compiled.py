"""The compiled functions behind stateful adapters, kept for the whole process: rebuilding an adapter compiles nothing.

Termination, time limits and one-hot ids are left to the host, which knows them anyway, so that one program serves
every setting of them, and any number of adapters at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.randomise.drawing import Term
from mjx_metaworld.tasks.spec import RewardVersion, TaskSpec
from mjx_metaworld.types import Metrics, State
from mjx_metaworld.vector import select_envs


class StepOutput(NamedTuple):
    """Outputs of a step that the host reads."""

    obs: Float[Array, "envs 39"]
    reward: Float[Array, " envs"]
    metrics: Metrics
    terminated: Bool[Array, " envs"]  # by what is not finite; successes are the host's
    finite: Bool[Array, " envs"]


class Programs(NamedTuple):
    """Jitted functions; `jax.jit` keeps a program for every batch size that was used."""

    env: MetaWorldEnv
    # States with these goals, and with parameters of an episode by these keys, where such are drawn.
    start: Callable[[Int[Array, " starts"], Float[Array, "starts rand"], Key[Array, " starts"] | None], State]
    pick: Callable[[State, Int[Array, " envs"]], State]  # some rows of a batch of states
    restart: Callable[[State, State, Int[Array, " envs"], Bool[Array, " envs"]], State]  # those lanes at those starts
    step: Callable[[State, Float[Array, "envs 4"]], tuple[State, StepOutput]]

    def __reduce__(self) -> tuple[Any, ...]:
        env = self.env
        return programs, (env.tasks, env.goal_observable, env.reward_version, env.engine.config, env.randomise)


@functools.lru_cache(maxsize=16)
def programs(
    tasks: tuple[TaskSpec, ...],
    goal_observable: bool,
    reward_version: RewardVersion,
    config: EngineConfig,
    randomise: tuple[Term, ...] | None = None,
) -> Programs:
    """The functions for a list of tasks and options, the same object for the same arguments."""
    env = make(
        tasks,
        goal_observable=goal_observable,
        reward_version=reward_version,
        physics=config.accuracy,
        backend=config.execution,
        randomise=randomise,
    )

    def pick(states: State, row: Int[Array, " envs"]) -> State:
        return jax.tree.map(lambda x: x[row], states)

    def restart(state: State, starts: State, row: Int[Array, " envs"], chosen: Bool[Array, " envs"]) -> State:
        return select_envs(chosen, pick(starts, row), state)

    def step(state: State, action: Float[Array, "envs 4"]) -> tuple[State, StepOutput]:
        state = jax.vmap(env.step)(state, action)
        return state, StepOutput(state.obs, state.reward, state.metrics, state.terminated, state.finite)

    return Programs(env, jit(jax.vmap(env.reset_to)), jit(pick), jit(restart), jit(step))
