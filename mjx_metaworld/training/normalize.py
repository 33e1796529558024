"""Running statistics: observations are standardised, rewards divided by the size of their task's returns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

# Metres: positions that vary less than this are not blown up, so that a body at rest, which trembles by a tenth of a
# millimetre and differently in each simulator, stays a constant to the policy.
_MIN_STD = 0.01
_OBS_LIMIT = 10.0  # standard deviations
_MIN_SCALE = 1e-3  # of returns; a task without any reward is not divided by zero


class Moments(struct.PyTreeNode):
    """Mean and variance of all that was seen, with any shape of independent statistics."""

    count: Float[Array, "..."]
    mean: Float[Array, "..."]
    variance: Float[Array, "..."]


def no_moments(shape: tuple[int, ...]) -> Moments:
    """Moments of nothing yet: mean 0, variance 1, which the first batch replaces."""
    return Moments(count=jnp.zeros(shape), mean=jnp.zeros(shape), variance=jnp.ones(shape))


def merge(old: Moments, new: Moments) -> Moments:
    """The moments of both together (Chan's parallel formula); `new` may be empty, with a count of zero."""
    count = old.count + new.count
    weight = jnp.where(count > 0, new.count / jnp.maximum(count, 1.0), 0.0)
    shift = new.mean - old.mean
    variance = (1 - weight) * old.variance + weight * new.variance + weight * (1 - weight) * shift**2
    return Moments(count=count, mean=old.mean + weight * shift, variance=variance)


def batch_moments(values: Float[Array, "... d"]) -> Moments:
    """Moments of each of the last axis' entries, over all leading axes."""
    rows = values.reshape(-1, values.shape[-1])
    count = jnp.full(rows.shape[-1], float(rows.shape[0]))
    return Moments(count=count, mean=rows.mean(0), variance=rows.var(0))


def task_moments(values: Float[Array, "..."], task: Int[Array, "..."], num_tasks: int) -> Moments:
    """Moments of scalars by task, each with shape (tasks,)."""
    share = jax.nn.one_hot(task.reshape(-1), num_tasks)
    count = share.sum(0)
    mean = values.reshape(-1) @ share / jnp.maximum(count, 1.0)
    spread = (values.reshape(-1) - share @ mean) ** 2
    return Moments(count=count, mean=mean, variance=spread @ share / jnp.maximum(count, 1.0))


def standardise(moments: Moments, obs: Float[Array, "... obs"]) -> Float[Array, "... obs"]:
    """Observations in standard deviations; entries beyond the moments' (a one-hot vector) stay as they are."""
    size = moments.mean.shape[0]
    std = jnp.maximum(jnp.sqrt(moments.variance), _MIN_STD)
    scaled = jnp.clip((obs[..., :size] - moments.mean) / std, -_OBS_LIMIT, _OBS_LIMIT)
    return jnp.concatenate([scaled, obs[..., size:]], axis=-1)


class RewardScale(struct.PyTreeNode):
    """Divisor of each task's rewards: the root mean square of its discounted returns so far.

    Nothing is subtracted from rewards, since that would pay for or punish longer episodes. The mean square, unlike the
    variance, is not near zero where all returns are alike.
    """

    running: Float[Array, " envs"]  # each lane's discounted sum of its episode's past rewards
    moments: Moments  # of these sums, by task

    def divisor(self) -> Float[Array, " tasks"]:
        """Divisor of each task's rewards."""
        seen = jnp.sqrt(self.moments.variance + self.moments.mean**2)
        return jnp.where(self.moments.count > 0, jnp.maximum(seen, _MIN_SCALE), 1.0)


def no_reward_scale(num_envs: int, num_tasks: int) -> RewardScale:
    """Reward scale before the first reward: divides by one."""
    return RewardScale(running=jnp.zeros(num_envs), moments=no_moments((num_tasks,)))


def discounted_sums(
    running: Float[Array, " envs"], reward: Float[Array, "time envs"], done: Bool[Array, "time envs"], gamma: float
) -> tuple[Float[Array, " envs"], Float[Array, "time envs"]]:
    """Discounted sums of each lane's past rewards, which start anew where an episode ends.

    Args:
        running: the sums before the rollout.
        reward: of its steps.
        done: whether a step ended its episode.
        gamma: discount a step.

    Returns:
        The sums to go on from, and those at each step.
    """

    def step(running: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        rewards, ends = now
        running = gamma * running + rewards
        return jnp.where(ends, 0.0, running), running

    return jax.lax.scan(step, running, (reward, done))


def observe_rewards(
    scale: RewardScale,
    reward: Float[Array, "time envs"],
    done: Bool[Array, "time envs"],
    task: Int[Array, "time envs"],
    gamma: float,
) -> RewardScale:
    """Take in a rollout's rewards."""
    running, sums = discounted_sums(scale.running, reward, done, gamma)
    num_tasks = scale.moments.mean.shape[0]
    return RewardScale(running=running, moments=merge(scale.moments, task_moments(sums, task, num_tasks)))


class ReturnPeak(struct.PyTreeNode):
    """Divisor of each task's rewards: the largest size of the discounted sums of its past rewards so far.

    These sums then lie in [-1, 1]; what follows a state may be worth more, where rewards are cut short soon after they
    began.
    """

    running: Float[Array, " envs"]  # each lane's discounted sum of its episode's past rewards
    peak: Float[Array, " tasks"]

    def divisor(self) -> Float[Array, " tasks"]:
        """Divisor of each task's rewards."""
        return jnp.maximum(self.peak, _MIN_SCALE)


def no_return_peak(num_envs: int, num_tasks: int) -> ReturnPeak:
    """Peak before the first reward."""
    return ReturnPeak(running=jnp.zeros(num_envs), peak=jnp.zeros(num_tasks))


def observe_peak(
    returns: ReturnPeak,
    reward: Float[Array, "time envs"],
    done: Bool[Array, "time envs"],
    task: Int[Array, "time envs"],
    gamma: float,
) -> ReturnPeak:
    """Take in a rollout's rewards."""
    running, sums = discounted_sums(returns.running, reward, done, gamma)
    largest = jnp.abs(sums)[..., None] * jax.nn.one_hot(task, returns.peak.shape[0])
    return ReturnPeak(running=running, peak=jnp.maximum(returns.peak, largest.max((0, 1))))
