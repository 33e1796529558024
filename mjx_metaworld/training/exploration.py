"""Exploration that differs by lane: each has its own strength of noise, its own patience, and its own urge to wander.

Noise that is held moves the hand somewhere, where a new draw at every step only makes it tremble. Some draws replace
the policy's action altogether for as long as they are held (temporally extended epsilon-greedy exploration, Dabney et
al., 2021): a policy that has settled on a plateau of the reward is carried away from it, and comes back another way.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Key

# Their multiples lie evenly in [0, 1), and out of step with each other and with the strengths.
_GOLDEN, _PLASTIC = (5**0.5 - 1) / 2, 0.7548776662466927


class Held(struct.PyTreeNode):
    """Draws that lanes hold."""

    noise: Float[Array, "envs action"]  # standard Gaussian
    wandering: Bool[Array, " envs"]  # whether it replaces the policy's action


class LaneNoise(NamedTuple):
    """Settings of each lane's noise."""

    strength: Float[np.ndarray, " envs"]  # in the policy's standard deviations
    renewal: Float[np.ndarray, " envs"]  # chance of a new draw at a step
    wander: Float[np.ndarray, " envs"]  # chance that a draw replaces the policy's action

    def start(self, action_size: int) -> Held:
        """Before the first draw."""
        envs = self.strength.shape[0]
        return Held(noise=jnp.zeros((envs, action_size)), wandering=jnp.zeros(envs, bool))

    def draw(self, held: Held, key: Key[Array, ""]) -> Held:
        """Noise of the next step, which in some lanes is that of the last."""
        key, renewal_key, wander_key = jax.random.split(key, 3)
        renewed = jax.random.uniform(renewal_key, self.renewal.shape) < self.renewal
        wandering = jax.random.uniform(wander_key, self.wander.shape) < self.wander
        return Held(
            noise=jnp.where(renewed[:, None], jax.random.normal(key, held.noise.shape), held.noise),
            wandering=jnp.where(renewed, wandering, held.wandering),
        )

    def act(
        self, held: Held, mean: Float[Array, "envs action"], log_std: Float[Array, "envs action"], *, blind: Array
    ) -> Float[Array, "envs action"]:
        """Actions of a squashed Gaussian policy, or uniform ones in lanes that wander, and in all with `blind`."""
        action = jnp.tanh(mean + jnp.exp(log_std) * self.strength[:, None] * held.noise)
        uniform = 2 * jax.scipy.stats.norm.cdf(held.noise) - 1
        return jnp.where((blind | held.wandering)[:, None], uniform, action)


def lane_noise(
    num_envs: int, num_tasks: int, *, weakest: float, strongest: float, longest: float, wander: float
) -> LaneNoise:
    """Noise of lanes of which lane i has task i modulo the number of tasks; each task has all kinds of lanes.

    Args:
        num_envs: lanes.
        num_tasks: number of tasks.
        weakest: strength of a task's first lane.
        strongest: of its last, with even steps between.
        longest: steps for which the most patient lane holds a draw in the mean; the least holds none.
        wander: chance that a draw replaces the policy's action in the lane with the strongest urge; the least has none.
    """
    of_task = np.arange(num_envs) // num_tasks
    share = of_task / max(1, num_envs // num_tasks - 1)
    hold = longest ** (of_task * _GOLDEN % 1.0)
    lanes = (weakest + (strongest - weakest) * share, 1.0 / hold, wander * (of_task * _PLASTIC % 1.0))
    return LaneNoise(*(x.astype(np.float32) for x in lanes))
