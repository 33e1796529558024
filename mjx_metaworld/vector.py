"""A batch of environments that restart by themselves, and rollouts of it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.types import State, Transition

Policy = Callable[[Float[Array, "envs obs"], Key[Array, ""]], Float[Array, "envs 4"]]


class VectorEnv:
    """`num_envs` copies of an environment, stepped together, each restarted when its episode ends.

    Args:
        env: what to batch.
        num_envs: number of lanes, at least 1.
        resample_task: draw a lane's task anew at every reset, uniformly among `env.tasks`. With False lane i keeps
            task i modulo the number of tasks, which gives every task the same share of the batch.

    Raises:
        ValueError: if `num_envs` is not a positive integer.
    """

    def __init__(self, env: MetaWorldEnv, num_envs: int, *, resample_task: bool = True) -> None:
        if not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs must be a positive integer, got {num_envs!r}")
        self.env = env
        self.num_envs = num_envs
        self.resample_task = resample_task

    def reset(self, key: Key[Array, ""]) -> State:
        """Fresh episodes in all lanes; every leaf of the state has a leading axis of `num_envs`."""
        keys = jax.random.split(key, self.num_envs)
        if self.resample_task:
            return jax.vmap(self.env.reset)(keys)
        return jax.vmap(self.env.reset)(keys, jnp.arange(self.num_envs) % len(self.env.tasks))

    def step(self, state: State, action: Float[Array, "envs 4"]) -> tuple[State, Transition]:
        """One control step of every lane, then a new episode in the lanes whose episode ended.

        Returns:
            The state to go on from (already the new episode's where one ended) and the transition just made, whose
            `next_obs` is the successor within the old episode.
        """
        successor = jax.vmap(self.env.step)(state, action)
        transition = Transition(
            obs=state.obs,
            action=action,
            reward=successor.reward,
            terminated=successor.terminated,
            truncated=successor.truncated,
            next_obs=successor.obs,
            metrics=successor.metrics,
            task=state.task,
        )
        done = successor.terminated | successor.truncated
        # Most steps end no episode at all: then nothing of a reset is computed.
        state = jax.lax.cond(jnp.any(done), lambda s: self.restart(s, done), lambda s: s, successor)
        return state, transition

    def restart(self, state: State, done: Bool[Array, "envs"]) -> State:
        """New episodes in the lanes that are done, the others as they are."""
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(state.episode.key)
        fresh = jax.vmap(self.env.reset)(keys) if self.resample_task else jax.vmap(self.env.reset)(keys, state.task)

        def choose(new, old):
            return jnp.where(done.reshape(done.shape + (1,) * (new.ndim - done.ndim)), new, old)

        return jax.tree.map(choose, fresh, state)


def rollout(
    vector_env: VectorEnv, policy: Policy, key: Key[Array, ""], num_steps: int, state: State | None = None
) -> tuple[State, Transition]:
    """Run a policy for `num_steps` control steps in one `lax.scan`.

    Args:
        vector_env: the environments.
        policy: `(obs (envs, obs), key) -> action (envs, 4)`.
        key: draws the first episodes (unless `state` is given) and the policy's randomness.
        num_steps: length of the scan.
        state: where to start; by default fresh episodes.

    Returns:
        The last state, and all transitions with leading axes (num_steps, envs).
    """
    reset_key, policy_key = jax.random.split(key)
    if state is None:
        state = vector_env.reset(reset_key)

    def body(state, step_key):
        return vector_env.step(state, policy(state.obs, step_key))

    return jax.lax.scan(body, state, jax.random.split(policy_key, num_steps))
