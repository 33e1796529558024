"""A scripted policy with memory: where it goes depends on all that a trial has told it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from mjx_metaworld.observation import HAND
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy


class Count(struct.PyTreeNode):
    """Of each lane, what it has met in its trial."""

    steps: Float[Array, " envs"]
    episodes: Float[Array, " envs"]  # that are over
    moved: Float[Array, " envs"]  # sideways, as it was told of its own actions
    earned: Float[Array, " envs"]


def sweeping() -> RecurrentPolicy:
    """Sweeps sideways over where goals of reach-v3 lie, higher with every episode, and lower the more it earns.

    Actions that were drawn (with a key) are the same, so that whole trials can be compared.
    """

    def start(num_envs: int) -> Count:
        return Count(*(jnp.zeros(num_envs) for _ in range(4)))

    def act(memory: Count, obs: Array, past: Past, key: Array | None) -> tuple[Array, Count]:
        memory = Count(
            steps=memory.steps + 1,
            episodes=memory.episodes + past.done,
            moved=memory.moved + past.action[:, 0],
            earned=memory.earned + past.reward,
        )
        place = jnp.stack(
            [
                0.1 * jnp.sin(memory.steps / 6) + 0.005 * memory.moved,
                jnp.full(len(obs), 0.85),
                0.1 + 0.05 * memory.episodes - 0.0005 * memory.earned,
            ],
            axis=-1,
        )
        action = jnp.clip(10 * (place - obs[:, HAND]), -1.0, 1.0)
        return jnp.concatenate([action, jnp.zeros((len(obs), 1))], axis=-1), memory

    return RecurrentPolicy(start, jax.jit(act))
