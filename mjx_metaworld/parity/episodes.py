"""Whole episodes of the scripted experts: here in one batch, and on the CPU reference in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from rich.progress import Progress

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.experts import expert_policy
from mjx_metaworld.parity.reference import EpisodeOutcome, run_reference_expert
from mjx_metaworld.suites import every_goal
from mjx_metaworld.types import State

CHUNK = 10  # control steps in one call, between two moves of a progress bar


class Episodes(NamedTuple):
    """Episodes of all tasks and goals."""

    state: State  # at the end, leading axis tasks * goals
    success: np.ndarray  # (tasks, goals) bool: at any step
    episode_return: np.ndarray  # (tasks, goals)
    compile_seconds: float
    run_seconds: float


class _Carry(NamedTuple):
    state: State
    success: Bool[Array, " envs"]
    episode_return: Float[Array, " envs"]


def run_experts(
    env: MetaWorldEnv, goals: Sequence[np.ndarray], num_steps: int, progress: Progress | None = None
) -> Episodes:
    """All tasks and goals in one vmap; compiled ahead, so that compile and run time are apart.

    Args:
        env: with the goal observable.
        goals: (n, rand) goal vectors for each of `env.tasks`, the same n for all.
        num_steps: control steps an episode, a multiple of 10.
        progress: bars to draw, if any.

    Raises:
        ValueError: if `num_steps` is no positive multiple of 10.
    """
    if num_steps < 1 or num_steps % CHUNK:
        raise ValueError(f"num_steps must be a positive multiple of {CHUNK}, got {num_steps}")
    bars = progress or Progress(disable=True)
    task, rand_vec = every_goal(goals, env.rand_vec_size)
    task, rand_vec = jnp.asarray(task), jnp.asarray(rand_vec, float)
    policy = jax.vmap(expert_policy([spec.name for spec in env.tasks]))

    def reset(task: Array, rand_vec: Array) -> _Carry:
        state = jax.vmap(lambda t, v: env.reset_to(t, v))(task, rand_vec)
        return _Carry(state, jnp.zeros(task.shape, bool), jnp.zeros(task.shape))

    def step(carry: _Carry, _: None) -> tuple[_Carry, None]:
        state = jax.vmap(env.step)(carry.state, jnp.clip(policy(carry.state.obs, carry.state.task), -1.0, 1.0))
        success = carry.success | (state.metrics.success > 0)
        return _Carry(state, success, carry.episode_return + state.reward), None

    compiling = bars.add_task("compiling", total=None)
    start = time.perf_counter()
    carry = jit(reset)(task, rand_vec)
    advance = jit(lambda carry: jax.lax.scan(step, carry, length=CHUNK)[0]).lower(carry).compile()
    compile_seconds = time.perf_counter() - start
    bars.update(compiling, total=1, completed=1)

    running = bars.add_task(f"stepping {task.size} environments", total=num_steps)
    start = time.perf_counter()
    for _ in range(num_steps // CHUNK):
        carry = jax.block_until_ready(advance(carry))
        bars.advance(running, CHUNK)
    run_seconds = time.perf_counter() - start
    shape = (len(goals), len(goals[0]))
    success, episode_return = (np.asarray(x).reshape(shape) for x in (carry.success, carry.episode_return))
    return Episodes(carry.state, success, episode_return, compile_seconds, run_seconds)


Reference = list[Future[list[EpisodeOutcome]]]


@contextlib.contextmanager
def reference_episodes(
    names: Sequence[str], goals: Sequence[np.ndarray], num_steps: int, processes: int = 1
) -> Iterator[Reference]:
    """Start the reference's episodes in the background; one future a task, in the given order.

    The processes are spawned, not forked, since JAX has threads.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=silence_policies) as pool:
        yield [
            pool.submit(run_reference_expert, name, vectors, num_steps)
            for name, vectors in zip(names, goals, strict=True)
        ]


def silence_policies() -> None:
    """The reference's policies warn at every gain above 10."""
    warnings.filterwarnings("ignore", module="metaworld.policies")


def collect(reference: Reference, progress: Progress | None = None) -> list[list[EpisodeOutcome]]:
    """Wait for the reference's episodes: one list a task."""
    bars = progress or Progress(disable=True)
    waiting = bars.add_task("CPU metaworld", total=len(reference))
    outcomes = []
    for future in reference:
        outcomes.append(future.result())
        bars.advance(waiting)
    return outcomes
