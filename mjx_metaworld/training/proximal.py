"""Parts that proximal policy optimisations share: advantages, the clipped loss, and the updates from a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.training.devices import gradient
from mjx_metaworld.training.networks import gaussian_entropy, gaussian_kl, gaussian_log_prob
from mjx_metaworld.training.normalize import task_moments

_RATE_STEP = 1.5  # by how much the learning rate moves at once, and within which limits
_MIN_RATE, _MAX_RATE = 1e-5, 1e-2
Batch = TypeVar("Batch")


@runtime_checkable
class Diverging(Protocol):
    """Figures of an update, an array tree."""

    @property
    def kl(self) -> Float[Array, ""]:
        """KL divergence of the policy from that which acted, in nats."""
        ...


Figures = TypeVar("Figures", bound=Diverging)


@runtime_checkable
class Settings(Protocol):
    """Hyperparameters of the updates."""

    @property
    def epochs(self) -> int:
        """Passes over a batch."""
        ...

    @property
    def minibatches(self) -> int:
        """Updates of a pass."""
        ...

    @property
    def learning_rate(self) -> float:
        """Step of the first updates."""
        ...

    @property
    def target_kl(self) -> float:
        """KL divergence of an update that the learning rate follows."""
        ...

    @property
    def clip(self) -> float:
        """Bound of the probability ratio's distance from one."""
        ...


class Learner(struct.PyTreeNode):
    """Networks and optimizer, which the updates change."""

    params: Any
    optimizer: optax.OptState
    learning_rate: Float[Array, ""]


class Choice(NamedTuple):
    """Actions, the Gaussians they were drawn from, and how much better than expected they were."""

    action: Float[Array, "*n action"]
    mean: Float[Array, "*n action"]
    log_std: Float[Array, "*n action"]
    advantage: Float[Array, "*n"]


class Losses(NamedTuple):
    """Figures of an update."""

    policy: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, ""]
    kl: Float[Array, ""]


def advantages(
    reward: Float[Array, "time envs"],
    terminated: Bool[Array, "time envs"],
    truncated: Bool[Array, "time envs"],
    value: Float[Array, "time envs"],
    next_value: Float[Array, "time envs"],
    *,
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "time envs"]:
    """Generalised advantage estimates (Schulman et al., 2016).

    Args:
        reward: of each step.
        terminated: whether the step ended the episode for good: nothing follows.
        truncated: whether it was cut off: the successor's value still counts, but no later step's error.
        value: of the observation before the step.
        next_value: of the true successor, also at an episode's end.
        gamma: discount a step.
        gae_lambda: weight of longer estimates; 0 is one-step, 1 the whole return.
    """
    error = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    weight = gamma * gae_lambda * ~(terminated | truncated)

    def step(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        estimate = now[0] + now[1] * later
        return estimate, estimate

    return jax.lax.scan(step, jnp.zeros_like(error[0]), (error, weight), reverse=True)[1]


def standardise_by_task(advantage: Float[Array, "..."], task: Int[Array, "..."], num_tasks: int) -> Float[Array, "..."]:
    """Advantages with mean zero and variance one in every task."""
    of_task = task_moments(advantage, task, num_tasks)
    return (advantage - of_task.mean[task]) / (jnp.sqrt(of_task.variance[task]) + 1e-8)


def explained_variance(advantage: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, ""]:
    """Share of the returns' variance that the value explains."""
    return 1.0 - jnp.var(advantage) / jnp.maximum(jnp.var(value + advantage), 1e-8)


def clipped_losses(
    chosen: Choice,
    policy: tuple[Float[Array, "*n action"], Float[Array, "*n action"]],
    value_error: Float[Array, "*n"],
    clip: float,
) -> Losses:
    """Losses of PPO as means over the rows.

    Args:
        chosen: what was done.
        policy: mean and log standard deviation of what would be done now.
        value_error: of the critic.
        clip: bound of the probability ratio's distance from one.
    """
    mean, log_std = policy
    old = gaussian_log_prob(chosen.action, chosen.mean, chosen.log_std)
    ratio = jnp.exp(gaussian_log_prob(chosen.action, mean, log_std) - old)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return Losses(
        policy=-jnp.minimum(ratio * chosen.advantage, clipped * chosen.advantage).mean(),
        value=0.5 * jnp.mean(value_error**2),
        entropy=gaussian_entropy(log_std).mean(),
        kl=gaussian_kl((chosen.mean, chosen.log_std), (mean, log_std)).mean(),
    )


def make_optimizer(max_grad_norm: float) -> optax.GradientTransformation:
    """Adam with clipped gradients, without the learning rate."""
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.scale_by_adam(eps=1e-5))


def learn(
    learner: Learner,
    batch: Batch,
    key: Key[Array, ""],
    *,
    loss: Callable[[Any, Batch], tuple[Float[Array, ""], Figures]],
    optimizer: optax.GradientTransformation,
    settings: Settings,
    lanes: NamedSharding | None,
) -> tuple[Learner, Figures]:
    """Passes of updates over a batch, whose learning rate follows their KL divergence.

    Args:
        learner: before.
        batch: arrays with a leading axis of rows, which the minibatches divide at random.
        key: of the minibatches.
        loss: of parameters and a minibatch, to be minimised, with figures such as its parts; all means over rows.
        optimizer: as `make_optimizer` makes it.
        settings: number of passes and updates, and the KL divergence.
        lanes: how minibatches are divided among devices.

    Returns:
        The learner after all updates, and the means of their figures.
    """
    size = jax.tree.leaves(batch)[0].shape[0]

    def update(learner: Learner, rows: Array) -> tuple[Learner, Figures]:
        minibatch = jax.tree.map(lambda x: x[rows], batch)
        grads, losses = gradient(loss, learner.params, minibatch, lanes)
        steps, state = optimizer.update(grads, learner.optimizer, learner.params)
        rate = learner.learning_rate
        rate = jnp.where(losses.kl > 2 * settings.target_kl, rate / _RATE_STEP, rate)
        rate = jnp.where(losses.kl < settings.target_kl / 2, rate * _RATE_STEP, rate)
        given = settings.learning_rate  # one that is beyond the limits itself widens them
        rate = jnp.clip(rate, min(_MIN_RATE, given), max(_MAX_RATE, given))
        # Networks stay 32 bits wide where rewards, and with these the rate, are 64.
        params = jax.tree.map(lambda p, s: p - (rate * s).astype(p.dtype), learner.params, steps)
        return Learner(params, state, rate), losses

    def epoch(learner: Learner, epoch_key: Array) -> tuple[Learner, Figures]:
        rows = jax.random.permutation(epoch_key, size).reshape(settings.minibatches, -1)
        return jax.lax.scan(update, learner, rows)

    learner, losses = jax.lax.scan(epoch, learner, jax.random.split(key, settings.epochs))
    return learner, jax.tree.map(jnp.mean, losses)
