"""Policies with memory: what they are told, how they are called, and their network.

They see an observation without the goal and, as metaworld's recurrent observation has it, the action and the reward of
the step before, both zero where an episode begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.training.networks import GaussianActor, Torso

LARGEST_REWARD = 10.0  # of the rewards v2, by which metaworld divides those in its recurrent observations


class Past(struct.PyTreeNode):
    """The step before an observation, as a policy with memory is told of it."""

    action: Float[Array, "*n action"]  # zero where an episode begins
    reward: Float[Array, "*n"]  # likewise, divided by `LARGEST_REWARD`
    done: Bool[Array, "*n"]  # whether an episode has ended there, within the trial


def no_past(num_envs: int, action_size: int) -> Past:
    """The past of a trial's first observation: nothing."""
    action, reward = (jnp.zeros(shape, jnp.float32) for shape in ((num_envs, action_size), num_envs))
    return Past(action, reward, jnp.zeros(num_envs, bool))


def past_after(
    action: Float[Array, "n action"], reward: Float[Array, " n"], done: Bool[Array, " n"], over: Bool[Array, " n"]
) -> Past:
    """The past of the next observations.

    Args:
        action: taken, in [-1, 1].
        reward: for it.
        done: whether the episode ended, so that the next observation begins another one.
        over: whether the trial ended, too.
    """
    action, reward = jnp.where(done[:, None], 0.0, action), jnp.where(done, 0.0, reward / LARGEST_REWARD)
    return Past(action.astype(jnp.float32), reward.astype(jnp.float32), done & ~over)


class RecurrentPolicy(NamedTuple):
    """A policy that remembers what it met in a trial."""

    start: Callable[[int], Any]  # the memory of so many lanes before a trial, with a leading axis of lanes
    # (memory, obs (n, obs), past, key) -> actions (n, action) in [-1, 1], and the memory after this step. The actions
    # are drawn, as in training, or the most likely ones, where the key is None.
    act: Callable[[Any, Array, Past, Key[Array, ""] | None], tuple[Array, Any]]


class Memory(nn.Module):
    """A gated recurrent unit (Cho et al., 2014) behind hidden layers, run over sequences.

    Attributes:
        hidden: widths of the hidden layers.
        size: numbers that it remembers.
        span: for how many steps those remember that do so longest, at the start.
    """

    hidden: Sequence[int]
    size: int
    span: float

    @nn.compact
    def __call__(
        self,
        seen: Float[Array, "time n input"],
        memory: Float[Array, "n size"],
        fresh: Bool[Array, "time n"],
    ) -> Float[Array, "time n size"]:
        """The memory after each step; where it is fresh, the one before the step is forgotten."""
        # What the steps bring is computed for all at once; only what the memory adds takes one step after another.
        brought = nn.Dense(3 * self.size)(Torso(self.hidden)(seen))
        kept = self.param("kept", _spans(self.span), (self.size,))
        weights = self.param("recurrent", _square_blocks, (self.size, 3 * self.size))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.size,))

        def step(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            brought, fresh = now
            memory = jnp.where(fresh[:, None], 0.0, memory)
            keep, reset, new = jnp.split(brought, 3, -1)
            keep_more, reset_more, new_more = jnp.split(memory @ weights, 3, -1)
            keep = nn.sigmoid(keep + keep_more + kept)
            new = nn.tanh(new + nn.sigmoid(reset + reset_more) * (new_more + bias))
            memory = keep * memory + (1.0 - keep) * new
            return memory, memory

        return jax.lax.scan(step, memory, (brought, fresh))[1]


class Output(NamedTuple):
    """Outputs of a `RecurrentActor` after each step."""

    mean: Float[Array, "time n action"]
    log_std: Float[Array, "time n action"]
    memory: Float[Array, "time n size"]
    belief: Float[Array, "time n goal"]  # of where the goal is, in standard deviations


class RecurrentActor(nn.Module):
    """A Gaussian whose mean depends on what is seen and remembered, and a guess of the hidden goal.

    Attributes:
        hidden: widths of the actor's hidden layers.
        memory_hidden: widths of the layers before the memory.
        memory_size: numbers that are remembered.
        span: steps for which they are at most, at the start.
        action_size: number of actions.
        goal_size: number of entries that are guessed.
        initial_std: standard deviation at the start.
    """

    hidden: Sequence[int]
    memory_hidden: Sequence[int]
    memory_size: int
    span: float
    action_size: int
    goal_size: int
    initial_std: float

    @nn.compact
    def __call__(
        self,
        seen: Float[Array, "time n input"],
        memory: Float[Array, "n size"],
        fresh: Bool[Array, "time n"],
    ) -> Output:
        """The outputs after each step of sequences; see `Memory`."""
        remembered = Memory(self.memory_hidden, self.memory_size, self.span)(seen, memory, fresh)
        actor = GaussianActor(self.hidden, self.action_size, 1, self.initial_std)
        task = jnp.zeros(fresh.shape, jnp.int32)  # which of several it is, it is to find out
        mean, log_std = actor(jnp.concatenate([seen, remembered], axis=-1), task)
        return Output(mean, log_std, remembered, nn.Dense(self.goal_size)(remembered))


def _spans(longest: float) -> Callable[..., Array]:
    """Biases of the gate that keeps, for spans between one step and the longest (Tallec and Ollivier, 2018)."""

    def draw(key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        return jnp.log(jax.random.uniform(key, shape, jnp.float32, 1.0, max(longest, 2.0)))

    return draw


def _square_blocks(key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
    """Orthogonal weights of each gate, side by side."""
    size = shape[0]
    blocks = [nn.initializers.orthogonal()(k, (size, size)) for k in jax.random.split(key, shape[1] // size)]
    return jnp.concatenate(blocks, axis=1)
