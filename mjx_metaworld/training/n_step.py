"""n-step returns: the steps of a rollout as windows, which end early where their episode does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.training.replay import Experience
from mjx_metaworld.types import Transition


class Steps(struct.PyTreeNode):
    """Parts of transitions that windows are made of, with leading axes (time, envs)."""

    obs: Float[Array, "time envs plain"]  # without the one-hot vector
    task: Int[Array, "time envs"]
    action: Float[Array, "time envs action"]
    reward: Float[Array, "time envs"]
    terminated: Bool[Array, "time envs"]
    truncated: Bool[Array, "time envs"]
    next_obs: Float[Array, "time envs plain"]  # the true successor, also at an episode's end


def steps_of(transitions: Transition, plain_size: int) -> Steps:
    """Steps of a rollout's transitions (time, envs); `plain_size` entries of an observation come before the one-hot."""
    return Steps(
        obs=transitions.obs[..., :plain_size],
        task=transitions.task.astype(jnp.int32),
        action=transitions.action,
        reward=transitions.reward,
        terminated=transitions.terminated,
        truncated=transitions.truncated,
        next_obs=transitions.next_obs[..., :plain_size],
    )


def nothing_pending(n: int, num_envs: int, plain_size: int, action_size: int) -> Steps:
    """Room for the last n - 1 steps of a rollout, whose windows end in the next; see `join`."""
    shape = (n - 1, num_envs)
    return Steps(
        obs=jnp.zeros((*shape, plain_size)),
        task=jnp.zeros(shape, jnp.int32),
        action=jnp.zeros((*shape, action_size)),
        reward=jnp.zeros(shape),
        terminated=jnp.zeros(shape, bool),
        truncated=jnp.zeros(shape, bool),
        next_obs=jnp.zeros((*shape, plain_size)),
    )


def join(pending: Steps, rollout: Steps, first: Bool[Array, ""]) -> tuple[Steps, Steps]:
    """The steps of which windows are due, and those that stay pending for the next rollout.

    Args:
        pending: the n - 1 last steps of the rollout before.
        rollout: at least n - 1 steps.
        first: whether there was no rollout before. Then steps of this one stand in, each a window by itself.
    """
    waiting = pending.reward.shape[0]
    stand_in = jax.tree.map(lambda x: x[:waiting], rollout)
    stand_in = stand_in.replace(truncated=jnp.ones_like(stand_in.truncated))
    pending = jax.tree.map(lambda new, old: jnp.where(first, new, old), stand_in, pending)
    due = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), pending, rollout)
    return due, jax.tree.map(lambda x: x[x.shape[0] - waiting :], due)


def n_step(steps: Steps, n: int, gamma: float) -> Experience:
    """The windows of n steps within a rollout.

    A window ends early where its episode does. Its value then goes on from the true successor, which a truncated
    episode has and a terminated one has not.

    Args:
        steps: (time, envs), of which at least n; behind an episode's end the next begins.
        n: steps of a window.
        gamma: discount a step.

    Returns:
        A window for each of the first time - n + 1 steps.
    """
    windows = steps.reward.shape[0] - n + 1
    start = jax.tree.map(lambda x: x[:windows], steps)
    reward, next_obs = jnp.zeros_like(start.reward), start.next_obs
    discount, going = jnp.ones_like(start.reward), jnp.ones_like(start.terminated)
    for offset in range(n):
        now = jax.tree.map(lambda x, offset=offset: x[offset : offset + windows], steps)
        reward = jnp.where(going, reward + discount * now.reward, reward)
        next_obs = jnp.where(going[..., None], now.next_obs, next_obs)
        discount = jnp.where(going, jnp.where(now.terminated, 0.0, gamma * discount), discount)
        going = going & ~(now.terminated | now.truncated)
    return Experience(
        obs=start.obs, task=start.task, action=start.action, reward=reward, discount=discount, next_obs=next_obs
    )
