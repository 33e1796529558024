"""Bookkeeping of the training episodes: success and return by task, and starts spread over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mjx_metaworld.episodes import EpisodeStats, accumulate
from mjx_metaworld.training.algorithm import EpisodeReport, TrainingEnv
from mjx_metaworld.training.normalize import task_moments
from mjx_metaworld.types import Transition


def follow(
    episodes: EpisodeStats, transitions: Transition, num_tasks: int, counted: Bool[Array, "time envs"] | None = None
) -> tuple[EpisodeStats, EpisodeReport]:
    """Go through a rollout's transitions (time, envs); report the episodes that ended in it, where they are counted."""
    done = transitions.terminated | transitions.truncated
    episodes, so_far = accumulate(episodes, transitions)
    ends = done if counted is None else done & counted
    task = jnp.where(ends, transitions.task, num_tasks)  # rows that end nothing are nobody's
    success, returns = (task_moments(x.astype(float), task, num_tasks) for x in (so_far.success, so_far.episode_return))
    seen = success.count > 0
    return episodes, EpisodeReport(
        success=jnp.where(seen, success.mean, jnp.nan),
        episode_return=jnp.where(seen, returns.mean, jnp.nan),
        nonfinite_steps=jnp.sum(~transitions.finite, dtype=float),
    )


def step_and_end(
    env: TrainingEnv,
    env_state: Any,
    action: Float[Array, "envs action"],
    ends: Callable[[Transition], Bool[Array, " envs"]],
) -> tuple[Any, Transition]:
    """Advance all lanes, and start new episodes where one ended or is made to: there the transition is truncated.

    One restart follows either, as each takes a second or two to compile.

    Args:
        env: the environments.
        env_state: their states.
        action: of each lane.
        ends: tells by the transition which episodes are to end with it besides.
    """
    env_state, transition = (env.advance or env.step)(env_state, action)
    done = transition.terminated | transition.truncated
    early = ends(transition) & ~done
    env_state = env.restart(env_state, early if env.advance is None else early | done)
    return env_state, transition.replace(truncated=transition.truncated | early)


def early_ends(env: TrainingEnv, horizon: int, iteration: Array) -> Bool[Array, "horizon envs"]:
    """Mask of the steps of a rollout that end a first episode early: of its last step, see `early_end`."""
    return jnp.zeros((horizon, env.num_envs), bool).at[-1].set(early_end(env, horizon, iteration))


def early_end(env: TrainingEnv, horizon: int, iteration: Array) -> Bool[Array, " envs"]:
    """Mask of lanes that end their first episode early, after the given iteration of `horizon` steps.

    All lanes start together; cutting the first episodes short spreads the later starts evenly over an episode's
    length, or a trial's, so that a batch always holds all of its phases.
    """
    phases = max(1, env.trial_steps // horizon)
    place, lanes_of_task = jnp.arange(env.num_envs) // env.num_tasks, -(-env.num_envs // env.num_tasks)
    phase = place % phases if lanes_of_task >= phases else place * phases // lanes_of_task
    return phase == iteration + 1
