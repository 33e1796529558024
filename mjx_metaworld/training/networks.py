"""The networks: small MLPs on standardised observations, with one set of output weights a task.

Densities are written out, from jax.scipy's: distrax, which has them, would bring TensorFlow Probability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

_MIN_LOG_STD, _MAX_LOG_STD = -5.0, 2.0  # before squashing


class TaskHead(nn.Module):
    """A linear layer whose weights belong to the task; with one task a plain one.

    Attributes:
        size: number of outputs.
        num_tasks: number of sets of weights.
        scale: gain of the orthogonal initial weights.
    """

    size: int
    num_tasks: int
    scale: float = 1.0

    @nn.compact
    def __call__(
        self, features: Float[Array, "... features"], task: Int[Array, "..."], *, in_blocks: bool = False
    ) -> Float[Array, "... size"]:
        """The outputs of each row's own task.

        Args:
            features: of the rows.
            task: of each row.
            in_blocks: whether the rows come task after task, as many of each; then no other task's outputs are made,
                which of fifty tasks are most of a small network's work.
        """
        head = nn.Dense(self.size * self.num_tasks, kernel_init=nn.initializers.orthogonal(self.scale))
        if in_blocks and self.num_tasks > 1 and not self.is_initializing():
            weights = head.variables["params"]
            kernel = weights["kernel"].reshape(-1, self.num_tasks, self.size)
            blocks = features.reshape(self.num_tasks, -1, features.shape[-1])
            own = jnp.einsum("tbf,fts->tbs", blocks, kernel) + weights["bias"].reshape(self.num_tasks, 1, self.size)
            return own.reshape(-1, self.size)
        every = head(features)
        if self.num_tasks == 1:
            return every
        every = every.reshape(*features.shape[:-1], self.num_tasks, self.size)
        return jnp.take_along_axis(every, task[..., None, None], axis=-2)[..., 0, :]


class Torso(nn.Module):
    """Hidden layers.

    Attributes:
        hidden: their widths.
        activation: what follows each.
        normed: whether a layer norm comes before it; then the layers have no biases of their own.
    """

    hidden: Sequence[int]
    activation: Callable[[Array], Array] = nn.tanh
    normed: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "... input"]) -> Float[Array, "... features"]:
        """The last hidden layer."""
        if self.normed:  # a layer norm sees no lengths: only beside a constant can it tell how large an observation is
            x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        # Normalised units keep the direction of their weights alone, for which that of Gaussian numbers is as good.
        start = nn.initializers.lecun_normal() if self.normed else nn.initializers.orthogonal(2**0.5)
        for width in self.hidden:
            x = nn.Dense(width, use_bias=not self.normed, kernel_init=start)(x)
            x = self.activation(nn.LayerNorm()(x) if self.normed else x)
        return x


class GaussianActor(nn.Module):
    """A Gaussian with a mean in [-1, 1] and a standard deviation that depends on the task alone.

    Attributes:
        hidden: widths of the hidden layers.
        action_size: number of outputs.
        num_tasks: number of heads.
        initial_std: standard deviation at the start.
    """

    hidden: Sequence[int]
    action_size: int
    num_tasks: int
    initial_std: float

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... obs"], task: Int[Array, "..."]
    ) -> tuple[Float[Array, "... action"], Float[Array, "... action"]]:
        """Mean and log standard deviation of the action."""
        mean = nn.tanh(TaskHead(self.action_size, self.num_tasks, scale=0.01)(Torso(self.hidden)(obs), task))
        start = nn.initializers.constant(jnp.log(self.initial_std))
        log_std = self.param("log_std", start, (self.num_tasks, self.action_size))
        return mean, jnp.broadcast_to(log_std[task], mean.shape)


class Critic(nn.Module):
    """The value of an observation.

    Attributes:
        hidden: widths of the hidden layers.
        num_tasks: number of heads.
    """

    hidden: Sequence[int]
    num_tasks: int

    @nn.compact
    def __call__(self, obs: Float[Array, "... obs"], task: Int[Array, "..."]) -> Float[Array, "..."]:
        """One value a row."""
        return TaskHead(1, self.num_tasks)(Torso(self.hidden)(obs), task)[..., 0]


def gaussian_log_prob(
    action: Float[Array, "... action"], mean: Float[Array, "... action"], log_std: Float[Array, "... action"]
) -> Float[Array, "..."]:
    """Log density of an action under a diagonal Gaussian."""
    return jax.scipy.stats.norm.logpdf(action, mean, jnp.exp(log_std)).sum(-1)


def gaussian_entropy(log_std: Float[Array, "... action"]) -> Float[Array, "..."]:
    """Entropy of a diagonal Gaussian in nats."""
    return (log_std + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)


def gaussian_kl(
    old: tuple[Float[Array, "... action"], Float[Array, "... action"]],
    new: tuple[Float[Array, "... action"], Float[Array, "... action"]],
) -> Float[Array, "..."]:
    """KL(old || new) of two diagonal Gaussians, each mean and log standard deviation, in nats."""
    (mean, log_std), (new_mean, new_log_std) = old, new
    ratio = jnp.exp(2 * (log_std - new_log_std))
    gap = (mean - new_mean) ** 2 * jnp.exp(-2 * new_log_std)
    return (new_log_std - log_std + 0.5 * (ratio + gap - 1.0)).sum(-1)


# --- of soft actor-critic ---


class SquashedActor(nn.Module):
    """A Gaussian whose draws tanh squashes into [-1, 1].

    Attributes:
        hidden: widths of the hidden layers.
        action_size: number of outputs.
        num_tasks: number of heads.
        normed: whether the hidden layers are normalised.
    """

    hidden: Sequence[int]
    action_size: int
    num_tasks: int
    normed: bool = False

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... obs"], task: Int[Array, "..."], *, in_blocks: bool = False
    ) -> tuple[Float[Array, "... action"], Float[Array, "... action"]]:
        """Mean and log standard deviation before squashing; on blocks of tasks see `TaskHead`."""
        features = Torso(self.hidden, nn.relu, self.normed)(obs)
        head = TaskHead(2 * self.action_size, self.num_tasks, scale=0.01)
        mean, spread = jnp.split(head(features, task, in_blocks=in_blocks), 2, -1)
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


class CategoricalCritic(nn.Module):
    """The distribution of an action's return, over fixed atoms; its hidden layers are normalised.

    Attributes:
        hidden: widths of the hidden layers.
        atoms: number of atoms.
    """

    hidden: Sequence[int]
    atoms: int

    @nn.compact
    def __call__(self, obs: Float[Array, "... obs"], action: Float[Array, "... action"]) -> Float[Array, "... atoms"]:
        """Logits of the atoms; which task it is the observation's one-hot vector tells."""
        features = Torso(self.hidden, nn.relu, normed=True)(jnp.concatenate([obs, action], axis=-1))
        return nn.Dense(self.atoms, kernel_init=nn.initializers.normal(1e-3))(features)


def unit_weights(params: Any) -> Any:
    """Parameters whose hidden units have weights of length one, as normalised layers need not be told their size."""

    def unit(path: tuple[Any, ...], leaf: Array) -> Array:
        names = [entry.key for entry in path]
        if names[-1] != "kernel" or not any(name.startswith(Torso.__name__) for name in names):
            return leaf
        return leaf / (jnp.linalg.norm(leaf, axis=-2, keepdims=True) + 1e-8)

    return jax.tree_util.tree_map_with_path(unit, params)


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
