"""The replay buffer of off-policy learning, on the device: the newest transitions, the same number of each task.

The storage is flashbax's item buffer, once a task, so that a sample holds as many transitions of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key


class Experience(struct.PyTreeNode):
    """Windows of one or several steps to learn from; see `n_step`.

    `next_obs` is the last step's true successor, so that truncation needs no mark of its own.
    """

    obs: Float[Array, "... plain"]  # without the one-hot vector, which the task tells
    task: Int[Array, "..."]
    action: Float[Array, "... action"]
    reward: Float[Array, "..."]  # discounted sum
    discount: Float[Array, "..."]  # of the successor's value; zero where the episode terminated
    next_obs: Float[Array, "... plain"]


class Replay(NamedTuple):
    """The functions of a buffer, all pure; its state is a pytree of arrays with a leading axis of tasks."""

    init: Callable[[], Any]
    add: Callable[[Any, Experience], Any]  # windows (time, envs)
    sample: Callable[[Any, Key[Array, ""]], Experience]  # (tasks * batch_per_task,) rows, task after task


def make_replay(
    size: int, batch_per_task: int, *, num_tasks: int, plain_size: int, action_size: int, rows_per_add: int
) -> Replay:
    """A buffer for lanes of which lane i has task i modulo the number of tasks.

    Args:
        size: transitions kept, over all tasks.
        batch_per_task: transitions of each task in a sample, drawn with replacement.
        num_tasks: number of tasks.
        plain_size: entries of an observation without the one-hot vector.
        action_size: entries of an action.
        rows_per_add: transitions that come at once, over all tasks.

    Raises:
        ValueError: if the buffer would be smaller than what comes at once, or than a sample.
    """
    capacity = size // num_tasks
    least = max(rows_per_add // num_tasks, batch_per_task)
    if capacity < least:
        raise ValueError(
            f"replay_size must be at least {least * num_tasks}, a rollout and a batch of {num_tasks} tasks, got {size}"
        )
    # A sample may be drawn as soon as anything is there: it is drawn with replacement.
    buffer = flashbax.make_item_buffer(capacity, 1, batch_per_task, add_sequences=True)
    blank = Experience(
        obs=jnp.zeros(plain_size),
        task=jnp.zeros((), jnp.int32),
        action=jnp.zeros(action_size),
        reward=jnp.zeros(()),
        discount=jnp.zeros(()),
        next_obs=jnp.zeros(plain_size),
    )

    def init() -> Any:
        return jax.vmap(lambda _: buffer.init(blank))(jnp.arange(num_tasks))

    def add(state: Any, windows: Experience) -> Any:
        return jax.vmap(buffer.add)(state, jax.tree.map(by_task, windows))

    def by_task(x: Array) -> Array:
        """(time, envs, ...) -> (tasks, rows, ...)."""
        lanes = x.reshape(x.shape[0] * x.shape[1] // num_tasks, num_tasks, *x.shape[2:])
        return jnp.moveaxis(lanes, 1, 0)

    def sample(state: Any, key: Key[Array, ""]) -> Experience:
        drawn = jax.vmap(buffer.sample)(state, jax.random.split(key, num_tasks)).experience
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), drawn)

    return Replay(init, add, sample)
