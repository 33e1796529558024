"""One episode of a policy in every environment of a batch: whether it succeeds, and its return."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.types import State, StochasticPolicy, Transition, on_host

if TYPE_CHECKING:
    from rich.progress import Progress

# Actions (envs, 4) in the states of a batch; a key for those that draw.
Act = Callable[[State, Key[Array, ""]], Float[Array, "envs 4"]]


class EpisodeStats(struct.PyTreeNode):
    """Success and return of episodes, of which there may be any leading axes; in progress, those so far."""

    success: Bool[Array | np.ndarray, "*episodes"]  # at any step
    episode_return: Float[Array | np.ndarray, "*episodes"]  # sum of the rewards

    def after(self, success: Float[Array, "*episodes"], reward: Float[Array, "*episodes"]) -> EpisodeStats:
        """Statistics one step later, from the metric `success` of that step and what its reward counts."""
        return EpisodeStats(self.success | (success > 0), self.episode_return + reward)


class Episodes(struct.PyTreeNode):
    """A batch of episodes in progress."""

    state: State  # leading axis envs
    stats: EpisodeStats


class EpisodeRun(NamedTuple):
    """Episodes that have been run."""

    state: State  # the last, leading axis envs
    stats: EpisodeStats  # (envs,), on the host
    kept: State | None  # with `keep`: the states on the host, leading axes (moments, envs)
    compile_seconds: float
    run_seconds: float


class Finished(struct.PyTreeNode):
    """Episodes that ended in a rollout: where `done`, the other entries are those of the whole episode."""

    done: Bool[Array, "steps envs"]
    success: Bool[Array, "steps envs"]  # at any step of the episode
    episode_return: Float[Array, "steps envs"]
    length: Int[Array, "steps envs"]  # control steps
    task: Int[Array, "steps envs"]  # index into `env.tasks`

    def mean(self, values: Array) -> Float[Array, ""]:
        """Mean over the episodes that ended of values (steps, envs), such as `success`; NaN where none did."""
        return jnp.mean(values.astype(float), where=self.done)


class Open(struct.PyTreeNode):
    """Episodes in progress between two rollouts."""

    stats: EpisodeStats  # (envs,) so far
    length: Int[Array, " envs"]


def no_episodes(num_envs: int) -> EpisodeStats:
    """Statistics before the first step."""
    return EpisodeStats(success=jnp.zeros(num_envs, bool), episode_return=jnp.zeros(num_envs))


def accumulate(stats: EpisodeStats, transitions: Transition) -> tuple[EpisodeStats, EpisodeStats]:
    """Go through transitions (steps, envs) with automatic resets.

    Returns:
        Statistics (envs,) of the episodes in progress at the end, and those so far (steps, envs) at every step, which
        where an episode ends are its own.
    """
    done = transitions.terminated | transitions.truncated

    def step(open_: EpisodeStats, now: tuple[Array, Array, Array]) -> tuple[EpisodeStats, EpisodeStats]:
        reward, success, ends = now
        so_far = open_.after(success, reward)
        return EpisodeStats(so_far.success & ~ends, jnp.where(ends, 0.0, so_far.episode_return)), so_far

    return jax.lax.scan(step, stats, (transitions.reward, transitions.metrics.success, done))


def finish_episodes(transitions: Transition, open_episodes: Open | None = None) -> tuple[Open, Finished]:
    """Statistics of the episodes that end in a rollout of a `VectorEnv`; traceable.

    A success counts for its own episode, whichever rollout that began in: give what the last call returned.

    Args:
        transitions: from `mw.rollout` or a scan over `VectorEnv.step`, leading axes (steps, envs).
        open_episodes: in progress before; None where the rollout began with fresh episodes.
    """
    done = transitions.terminated | transitions.truncated
    if open_episodes is None:
        open_episodes = Open(no_episodes(done.shape[1]), jnp.zeros(done.shape[1], jnp.int32))
    stats, so_far = accumulate(open_episodes.stats, transitions)

    def count(length: Array, ends: Array) -> tuple[Array, Array]:
        return jnp.where(ends, 0, length + 1), length + 1

    length, lengths = jax.lax.scan(count, open_episodes.length, done)
    return Open(stats, length), Finished(done, so_far.success, so_far.episode_return, lengths, transitions.task)


def begin_episodes(state: State) -> Episodes:
    """Episodes that begin in the states of a batch."""
    return Episodes(state, no_episodes(state.task.shape[0]))


def step_episodes(
    env: MetaWorldEnv, episodes: Episodes, action: Float[Array, "envs 4"], *, until_success: bool = False
) -> Episodes:
    """One control step of every episode.

    Args:
        env: the environment.
        episodes: so far.
        action: of each environment.
        until_success: count rewards up to the first success only, as metaworld's evaluation does.
    """
    state, stats = jax.vmap(env.step)(episodes.state, action), episodes.stats
    reward = jnp.where(stats.success, 0.0, state.reward) if until_success else state.reward
    return Episodes(state, stats.after(state.metrics.success, reward))


def batched(policy: StochasticPolicy) -> Act:
    """A policy of one environment for the states of a batch."""

    def act(state: State, key: Key[Array, ""]) -> Float[Array, "envs 4"]:
        return jax.vmap(policy)(state.obs, state.task, jax.random.split(key, state.task.shape[0]))

    return act


def run_episodes(
    env: MetaWorldEnv,
    act: Act,
    reset: Callable[[], State],
    num_steps: int,
    *,
    seed: int = 0,
    steps_per_call: int = 10,
    keep: bool = False,
    bars: Progress | None = None,
) -> EpisodeRun:
    """Run one episode in every environment, compiled ahead, so that compile and run time are apart.

    Args:
        env: the environment.
        act: policy of a batch; of one environment `batched` makes it.
        reset: makes the first states, one leading axis of environments; best compiled by `jit`.
        num_steps: control steps, a multiple of `steps_per_call`.
        seed: of the policy's randomness.
        steps_per_call: control steps in one compiled call, between two moves of a progress bar.
        keep: keep the first state and the one after every call.
        bars: progress bars to draw, if any.

    Raises:
        ValueError: if `num_steps` is no positive multiple of `steps_per_call`.
    """
    if num_steps < 1 or num_steps % steps_per_call:
        raise ValueError(f"num_steps must be a positive multiple of {steps_per_call}, got {num_steps}")

    def step(episodes: Episodes, key: Key[Array, ""]) -> tuple[Episodes, None]:
        return step_episodes(env, episodes, act(episodes.state, key)), None

    def advance(episodes: Episodes, key: Key[Array, ""]) -> Episodes:
        return jax.lax.scan(step, episodes, jax.random.split(key, steps_per_call))[0]

    compiling = None if bars is None else bars.add_task("compiling", total=None)
    start = time.perf_counter()
    episodes = begin_episodes(reset())
    keys = jax.random.split(key_of_seed(seed), num_steps // steps_per_call)
    compiled = jit(advance).lower(episodes, keys[0]).compile()
    compile_seconds = time.perf_counter() - start
    stepping = None
    if bars is not None and compiling is not None:
        bars.update(compiling, total=1, completed=1)
        stepping = bars.add_task(f"stepping {episodes.state.task.shape[0]} environments", total=len(keys))

    kept = [on_host(episodes.state)] if keep else []
    start = time.perf_counter()
    for key in keys:
        episodes = jax.block_until_ready(compiled(episodes, key))
        if keep:
            kept.append(on_host(episodes.state))
        if bars is not None and stepping is not None:
            bars.advance(stepping)
    run_seconds = time.perf_counter() - start
    return EpisodeRun(
        state=episodes.state,
        stats=jax.device_get(episodes.stats),
        kept=jax.tree.map(lambda *leaves: np.stack(leaves), *kept) if keep else None,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )
