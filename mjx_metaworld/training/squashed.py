"""Networks of soft actor-critic: a tanh-squashed Gaussian, and the value of an observation with an action.

The density is written out, from jax.scipy's: distrax, which has it, would bring TensorFlow Probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from mjx_metaworld.training.networks import TaskHead, Torso, gaussian_log_prob

_MIN_LOG_STD, _MAX_LOG_STD = -5.0, 2.0  # before squashing


class SquashedActor(nn.Module):
    """A Gaussian whose draws tanh squashes into [-1, 1].

    Attributes:
        hidden: widths of the hidden layers.
        action_size: number of outputs.
        num_tasks: number of heads.
    """

    hidden: Sequence[int]
    action_size: int
    num_tasks: int

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... obs"], task: Int[Array, "..."]
    ) -> tuple[Float[Array, "... action"], Float[Array, "... action"]]:
        """Mean and log standard deviation before squashing."""
        features = Torso(self.hidden, nn.relu)(obs)
        mean, spread = jnp.split(TaskHead(2 * self.action_size, self.num_tasks, scale=0.01)(features, task), 2, -1)
        # Bounded smoothly: a clipped one would lose its gradient at the bounds.
        return mean, _MIN_LOG_STD + (_MAX_LOG_STD - _MIN_LOG_STD) * nn.sigmoid(spread)


class ActionCritic(nn.Module):
    """The value of an action.

    Attributes:
        hidden: widths of the hidden layers.
        num_tasks: number of heads.
    """

    hidden: Sequence[int]
    num_tasks: int

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... obs"], action: Float[Array, "... action"], task: Int[Array, "..."]
    ) -> Float[Array, "..."]:
        """One value a row."""
        features = Torso(self.hidden, nn.relu)(jnp.concatenate([obs, action], axis=-1))
        return TaskHead(1, self.num_tasks)(features, task)[..., 0]


def squashed_log_prob(
    drawn: Float[Array, "... action"], mean: Float[Array, "... action"], log_std: Float[Array, "... action"]
) -> Float[Array, "..."]:
    """Log density of the action tanh(drawn)."""
    # log(1 - tanh(x)^2), without the loss of digits where tanh is near one
    log_slope = 2 * (jnp.log(2.0) - drawn - nn.softplus(-2 * drawn))
    return gaussian_log_prob(drawn, mean, log_std) - log_slope.sum(-1)


def draw_squashed(
    key: Key[Array, ""], mean: Float[Array, "... action"], log_std: Float[Array, "... action"]
) -> tuple[Float[Array, "... action"], Float[Array, "..."]]:
    """An action, through which gradients flow, and its log density."""
    drawn = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    return jnp.tanh(drawn), squashed_log_prob(drawn, mean, log_std)
