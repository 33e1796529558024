"""Whole episodes of the scripted experts: here in one batch, and on the CPU reference in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from rich.progress import Progress

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import EpisodeRun, batched, run_episodes
from mjx_metaworld.experts import expert
from mjx_metaworld.parity.record import EpisodeOutcome, run_reference_expert
from mjx_metaworld.vector import reset_to_goals

CHUNK = 10  # control steps in one call, between two moves of a progress bar


def run_experts(
    env: MetaWorldEnv, goals: Sequence[np.ndarray], num_steps: int, progress: Progress | None = None
) -> EpisodeRun:
    """The scripted experts at all goals of all tasks in one batch.

    Args:
        env: with the goal observable.
        goals: (n, rand) goal vectors for each of `env.tasks`, the same n for all.
        num_steps: control steps an episode, a multiple of 10.
        progress: bars to draw, if any.

    Returns:
        The last states with leading axis tasks * goals, and statistics of shape (tasks, goals).

    Raises:
        ValueError: if `num_steps` is no positive multiple of 10, or the environment hides the goal.
    """
    scripted = expert(env)

    def policy(obs: Array, task: Array, key: Array) -> Array:
        return jnp.clip(scripted(obs, task), -1.0, 1.0)

    run = run_episodes(
        env, batched(policy), lambda: reset_to_goals(env, goals), num_steps, steps_per_call=CHUNK, bars=progress
    )
    shape = (len(goals), len(goals[0]))
    return run._replace(stats=jax.tree.map(lambda x: x.reshape(shape), run.stats))


T = TypeVar("T")
Reference = list[Future[list[EpisodeOutcome]]]


@contextlib.contextmanager
def reference_episodes(
    names: Sequence[str], goals: Sequence[np.ndarray], num_steps: int, processes: int = 1
) -> Iterator[Reference]:
    """Start the reference's episodes in the background; one future a task, in the given order."""
    with reference_processes(processes) as pool:
        yield [
            pool.submit(run_reference_expert, name, vectors, num_steps)
            for name, vectors in zip(names, goals, strict=True)
        ]


@contextlib.contextmanager
def reference_processes(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for the reference, spawned, not forked, since JAX has threads.

    What has not begun when they are no longer waited for is left out.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=silence_policies)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def silence_policies() -> None:
    """The reference's policies warn at every gain above 10."""
    warnings.filterwarnings("ignore", module="metaworld.policies")


def collect(reference: Sequence[Future[T]], progress: Progress | None = None) -> list[T]:
    """Wait for the reference's tasks: what came of each."""
    bars = progress or Progress(disable=True)
    waiting = bars.add_task("CPU metaworld", total=len(reference))
    outcomes = []
    for future in reference:
        outcomes.append(future.result())
        bars.advance(waiting)
    return outcomes
