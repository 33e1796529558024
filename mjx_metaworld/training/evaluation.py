"""A policy on the reference's frozen goals, counted as metaworld's own evaluation counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.suites import every_goal
from mjx_metaworld.types import EPISODE_STEPS, Policy, State


class Evaluation(NamedTuple):
    """Episodes on the frozen goals, each until its first success or 500 steps."""

    success: np.ndarray  # (tasks, goals) bool
    episode_return: np.ndarray  # (tasks, goals), up to the first success like in metaworld's evaluation

    def mean_success(self) -> float:
        """Over all tasks and goals."""
        return float(self.success.mean())


class _Carry(NamedTuple):
    state: State
    step: Int[Array, ""]
    success: Bool[Array, " lanes"]
    episode_return: Float[Array, " lanes"]


def make_evaluator(
    env: MetaWorldEnv,
    rand_vecs: Sequence[np.ndarray],
    policy: Callable[[Any], Policy],
    num_steps: int = EPISODE_STEPS,
    lanes: NamedSharding | None = None,
) -> Callable[[Any], Evaluation]:
    """Prepare the evaluation of a policy on given goals; one compiled program serves all calls.

    Args:
        env: whose own episode length does not matter here.
        rand_vecs: (n, rand) goal vectors a task, the same n for all, as `mw.goals` gives them.
        policy: makes the policy of what the evaluation is called with, such as a train state.
        num_steps: control steps an episode at most.
        lanes: how the episodes are divided among devices, if their number allows it.
    """
    task, padded = every_goal(rand_vecs, env.rand_vec_size)
    first = jit(jax.vmap(lambda t, v: env.reset_to(t, v)))(jnp.asarray(task), jnp.asarray(padded, float))

    def run(source: Any, first: State) -> tuple[Array, Array]:
        act = policy(source)

        def step(carry: _Carry) -> _Carry:
            state = jax.vmap(env.step)(carry.state, jnp.clip(act(carry.state.obs, carry.state.task), -1.0, 1.0))
            episode_return = carry.episode_return + jnp.where(carry.success, 0.0, state.reward)
            return _Carry(state, carry.step + 1, carry.success | (state.metrics.success > 0), episode_return)

        def unfinished(carry: _Carry) -> Array:
            return (carry.step < num_steps) & ~jnp.all(carry.success)

        lanes = first.task.shape
        start = _Carry(first, jnp.zeros((), jnp.int32), jnp.zeros(lanes, bool), jnp.zeros(lanes))
        end = jax.lax.while_loop(unfinished, step, start)
        return end.success, end.episode_return

    if lanes is None:
        evaluate_all = jit(run)
    else:
        # Each device goes on until its own episodes are over.
        whole = PartitionSpec()
        divided = whole if len(task) % lanes.mesh.size else lanes.spec
        first = jax.device_put(first, NamedSharding(lanes.mesh, divided))
        each = jax.shard_map(run, mesh=lanes.mesh, in_specs=(whole, divided), out_specs=divided, check_vma=False)
        evaluate_all = jit(each)

    def evaluate(source: Any) -> Evaluation:
        success, episode_return = evaluate_all(source, first)
        shape = (len(rand_vecs), len(rand_vecs[0]))
        return Evaluation(np.asarray(success).reshape(shape), np.asarray(episode_return).reshape(shape))

    return evaluate
