"""Episodes of the scripted experts, simulated in batches and cut where they first succeed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mjx_metaworld.adapters.lerobot.goals import next_goal
from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.experts import expert
from mjx_metaworld.observation import OBSERVATION
from mjx_metaworld.physics.model import PhysicsState
from mjx_metaworld.suites import goal_batch
from mjx_metaworld.types import State, on_host

_CHUNK = 10  # control steps in one call; a batch ends with the chunk in which its last lane does


class Frames(NamedTuple):
    """Control steps, leading axis time: what was observed, what was done, and what came of it."""

    physics: PhysicsState  # at the time of the observation
    obs: Float[Array, "steps 39"]
    action: Float[Array, "steps 4"]  # within [-1, 1]
    reward: Float[Array, " steps"]
    success: Bool[Array, " steps"]


class Demonstration(NamedTuple):
    """One episode on the host, up to its first success or the time limit."""

    task: int  # index into the environment's tasks
    seed: int  # the goal is the one that LeRobot's Meta-World environment has for it
    frames: Frames
    last_state: State  # without the key

    @property
    def succeeded(self) -> bool:
        """True if the task was solved."""
        return bool(self.frames.success[-1])

    def states(self) -> State:
        """The states at the times of the observations, with the physics and all that stays the same in an episode."""
        steps = len(self.frames.reward)
        still = jax.tree.map(lambda x: np.broadcast_to(x, (steps, *np.shape(x))), self.last_state)
        return still.replace(physics=self.frames.physics)


def demonstrate(
    env: MetaWorldEnv,
    episodes: int,
    *,
    seed: int,
    only_successes: bool,
    max_attempts: int,
    batch_size: int,
    on_compiled: Callable[[], None] = lambda: None,
) -> Iterator[Demonstration]:
    """Expert episodes of every task, as they get done; those of one task in the order of their seeds within a batch.

    Args:
        env: with the goal observable.
        episodes: wanted of each task.
        seed: of each task's first attempt; the next has the seed after it.
        only_successes: leave out episodes without success, and try further seeds in their place.
        max_attempts: at most so many attempts at each task.
        batch_size: lanes simulated at once.
        on_compiled: called once, when the simulation has been compiled.

    Yields:
        At most `episodes` a task; fewer if `max_attempts` did not bring enough successes.
    """
    missing, attempts = np.full(len(env.tasks), episodes), np.zeros(len(env.tasks), int)
    simulate = _compile(env, batch_size)
    on_compiled()
    while True:
        wanted = np.minimum(missing, max_attempts - attempts)
        tasks = np.repeat(np.arange(len(env.tasks)), wanted)[:batch_size]
        if not len(tasks):
            return
        seeds = seed + attempts[tasks] + _rank_within(tasks)
        attempts += np.bincount(tasks, minlength=len(env.tasks))
        for lane in simulate(tasks, seeds):
            if lane.succeeded or not only_successes:
                missing[lane.task] -= 1
                yield lane


def _rank_within(tasks: np.ndarray) -> np.ndarray:
    """Number of equal entries before each entry of a sorted array."""
    return np.arange(len(tasks)) - np.searchsorted(tasks, tasks)


def _compile(env: MetaWorldEnv, batch_size: int) -> Callable[[np.ndarray, np.ndarray], Iterator[Demonstration]]:
    policy = jax.vmap(expert(env))

    def advance(state: State) -> tuple[State, Frames]:
        def step(state: State, _: None) -> tuple[State, Frames]:
            action = jnp.clip(policy(state.obs, state.task), -1.0, 1.0)
            after = jax.vmap(env.step)(state, action)
            obs, success = state.obs[:, OBSERVATION], after.metrics.success > 0
            return after, Frames(state.physics, obs, action, after.reward, success)

        return jax.lax.scan(step, state, length=_CHUNK)

    shapes = (
        jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        jax.ShapeDtypeStruct((batch_size, env.rand_vec_size), float),
    )
    start = jit(jax.vmap(env.reset_to))
    start_compiled = start.lower(*shapes).compile()
    advance_compiled = jit(advance).lower(jax.eval_shape(start, *shapes)).compile()

    def simulate(tasks: np.ndarray, seeds: np.ndarray) -> Iterator[Demonstration]:
        used = np.pad(np.arange(len(tasks)), (0, batch_size - len(tasks)), "edge")  # idle lanes repeat the last one
        goals = [next_goal(env.tasks[tasks[i]], np.random.default_rng(seeds[i]))[None] for i in used]
        task, rand_vec = goal_batch(goals, env.rand_vec_size, tasks[used])
        state = start_compiled(jnp.asarray(task), jnp.asarray(rand_vec, float))
        chunks, succeeded = [], np.zeros(batch_size, bool)
        for _ in range(-(-env.max_episode_steps // _CHUNK)):
            state, frames = advance_compiled(state)
            chunks.append(jax.device_get(frames))
            succeeded |= chunks[-1].success.any(0)
            if succeeded.all():
                break
        frames = jax.tree.map(lambda *parts: np.concatenate(parts)[: env.max_episode_steps], *chunks)
        ends = np.where(succeeded, frames.success.argmax(0) + 1, len(frames.success))
        last = on_host(state)
        for lane, (task, seed) in enumerate(zip(tasks, seeds, strict=True)):
            of_lane = jax.tree.map(lambda x: x[: ends[lane], lane], frames)  # noqa: B023  # used at once
            yield Demonstration(int(task), int(seed), of_lane, jax.tree.map(lambda x: x[lane], last))  # noqa: B023

    return simulate
