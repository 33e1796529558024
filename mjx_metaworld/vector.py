"""A batch of environments that restart by themselves, and rollouts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.types import State, Transition

Policy = Callable[[Float[Array, "envs obs"], Key[Array, ""]], Float[Array, "envs 4"]]

Device: TypeAlias = jax.Device  # pyright: ignore[reportInvalidTypeForm] (jaxlib has no stubs)
Out = TypeVar("Out")
_GROUP = 128  # environments whose ends are counted together
LANE_AXIS = "lanes"  # the mesh axis over which the lanes are divided


class VectorEnv:
    """`num_envs` copies of an environment, stepped together, each restarted when its episode ends.

    Args:
        env: what to batch.
        num_envs: number of lanes, at least 1.
        resample_task: draw a lane's task anew at every reset, uniformly among `env.tasks`. With False lane i keeps
            task i modulo the number of tasks, which gives every task the same share of the batch.
        devices: divide the lanes among these, in order, each device the same number; typically `jax.devices()`. They
            exchange nothing. None leaves the placement to JAX: one device, unless the inputs say otherwise.

    Attributes:
        sharding: how the leading axis of states, actions and transitions lies on the devices; None without `devices`.

    Raises:
        ValueError: if `num_envs` is not a positive integer or not a multiple of the number of devices, or if a device
            is named twice or none is.
    """

    def __init__(
        self,
        env: MetaWorldEnv,
        num_envs: int,
        *,
        resample_task: bool = True,
        devices: Sequence[Device] | None = None,
    ) -> None:
        if not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs must be a positive integer, got {num_envs!r}")
        self.env = env
        self.num_envs = num_envs
        self.resample_task = resample_task
        self.sharding = None if devices is None else _lane_sharding(num_envs, devices)

    def reset(self, key: Key[Array, ""]) -> State:
        """Fresh episodes in all lanes; every leaf of the state has a leading axis of `num_envs`."""
        keys = jax.random.split(key, self.num_envs)
        if self.resample_task:
            return self._on_devices(jax.vmap(self.env.reset), keys)
        return self._on_devices(jax.vmap(self.env.reset), keys, jnp.arange(self.num_envs) % len(self.env.tasks))

    def step(self, state: State, action: Float[Array, "envs 4"]) -> tuple[State, Transition]:
        """One control step of every lane, then a new episode in the lanes whose episode ended.

        Returns:
            The state to go on from (already the new episode's where one ended) and the transition just made, whose
            `next_obs` is the successor within the old episode.
        """
        return self._on_devices(self._step, state, action)

    def _step(self, state: State, action: Float[Array, "envs 4"]) -> tuple[State, Transition]:
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
        # Most steps end no episode at all: then nothing of a reset is computed. Each device decides for its own lanes.
        state = jax.lax.cond(_any(done), lambda s: self._restart(s, done), lambda s: s, successor)
        return state, transition

    def restart(self, state: State, done: Bool[Array, "envs"]) -> State:
        """New episodes in the lanes that are done, the others as they are."""
        return self._on_devices(self._restart, state, done)

    def _restart(self, state: State, done: Bool[Array, "envs"]) -> State:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(state.episode.key)
        fresh = jax.vmap(self.env.reset)(keys) if self.resample_task else jax.vmap(self.env.reset)(keys, state.task)

        def choose(new, old):
            return jnp.where(done.reshape(done.shape + (1,) * (new.ndim - done.ndim)), new, old)

        return jax.tree.map(choose, fresh, state)

    def _on_devices(self, fn: Callable[..., Out], *args: Any) -> Out:
        """`fn(*args)`, where every leaf has a leading axis of lanes and each device computes its own part of it.

        Left to itself, the partitioner would spread the sorting of a batch by load and its loop over chunks over all
        devices; so each has its own, as if its lanes were the whole batch.
        """
        if self.sharding is None:
            return fn(*args)
        lanes = self.sharding.spec
        # The check of what varies between devices would need a declaration at every constant that starts a loop.
        return jax.shard_map(fn, mesh=self.sharding.mesh, in_specs=lanes, out_specs=lanes, check_vma=False)(*args)


def _any(done: Bool[Array, "envs"]) -> Bool[Array, ""]:
    """True if an episode has ended.

    By sums of groups first: a GPU computes all that a reward is made of where it looks for an end, and would do so in a
    single block.
    """
    groups = done.reshape(-1, math.gcd(len(done), _GROUP))
    return jnp.max(jnp.sum(groups, axis=1, dtype=jnp.int32)) > 0


def _lane_sharding(num_envs: int, devices: Sequence[Device]) -> NamedSharding:
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(f"devices must name at least one device, and none twice, got {list(devices)}")
    if num_envs % len(devices):
        raise ValueError(f"num_envs must be a multiple of the number of devices, {len(devices)}, got {num_envs}")
    return NamedSharding(Mesh(np.asarray(devices), (LANE_AXIS,)), PartitionSpec(LANE_AXIS))


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
