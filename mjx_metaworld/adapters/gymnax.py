"""Meta-World with gymnax's interface, for PureJaxRL and its kin; gymnax itself is not needed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
from jaxtyping import Array, Float, Key

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.types import State
from mjx_metaworld.vector import VectorEnv


class GymnaxEnv:
    """One environment that restarts by itself; batch it with `jax.vmap`.

    Args:
        env: what to adapt; its options take the place of gymnax's `params`, which are None and ignored.
        separate_truncation: return `(obs, state, reward, terminated, truncated, info)` as gymnax does from version 1,
            instead of `(obs, state, reward, done, info)` as before.
    """

    default_params = None

    def __init__(self, env: MetaWorldEnv, *, separate_truncation: bool = True) -> None:
        self.env = env
        self.separate_truncation = separate_truncation
        self._lane = VectorEnv(env, 1)

    def reset(self, key: Key[Array, ""], params: None = None) -> tuple[Float[Array, " obs"], State]:
        """Start an episode of a task drawn uniformly."""
        state = self.env.reset(key)
        return state.obs, state

    def step(
        self, key: Key[Array, ""], state: State, action: Float[Array, "4"], params: None = None
    ) -> tuple[Any, ...]:
        """Advance by one control step, and start again where the episode ended, with the state's own randomness.

        `info` holds Meta-World's seven metrics, gymnax's `discount`, `terminated` and `truncated`, and
        `final_observation`, the true successor.
        """
        batch = jax.tree.map(lambda x: x[None], (state, action))
        following, transition = jax.tree.map(lambda x: x[0], self._lane.step(*batch))
        terminated, truncated = transition.terminated, transition.truncated
        info = {field.name: getattr(transition.metrics, field.name) for field in fields(transition.metrics)} | {
            "discount": 1.0 - terminated,
            "terminated": terminated,
            "truncated": truncated,
            "final_observation": transition.next_obs,
        }
        ends = (terminated, truncated) if self.separate_truncation else (terminated | truncated,)
        return following.obs, following, transition.reward, *ends, info

    def observation_space(self, params: None = None) -> Any:
        """A gymnasium `Box`."""
        return self.env.observation_space

    def action_space(self, params: None = None) -> Any:
        """A gymnasium `Box`."""
        return self.env.action_space
