"""A policy on the reference's frozen goals, counted as metaworld's own evaluation counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Episodes, EpisodeStats, begin_episodes, step_episodes
from mjx_metaworld.training.algorithm import Observe, observation
from mjx_metaworld.training.devices import fetch, place
from mjx_metaworld.types import EPISODE_STEPS, Policy, State
from mjx_metaworld.vector import reset_to_goals


def make_evaluator(
    env: MetaWorldEnv,
    rand_vecs: Sequence[np.ndarray],
    policy: Callable[[Any], Policy],
    num_steps: int = EPISODE_STEPS,
    lanes: NamedSharding | None = None,
    observe: Observe = observation,
) -> Callable[[Any], EpisodeStats]:
    """Prepare the evaluation of a policy on given goals; one compiled program serves all calls.

    An episode ends at its first success, up to which its rewards count, as in metaworld's own evaluation.

    Args:
        env: whose own episode length does not matter here.
        rand_vecs: (n, rand) goal vectors a task, the same n for all, as `mw.goals` gives them.
        policy: makes the policy of what the evaluation is called with, such as a train state.
        num_steps: control steps an episode at most.
        lanes: how the episodes are divided among devices, if their number allows it.
        observe: makes what the policy acts on of the environments' states; by default their observations.

    Returns:
        The evaluation: statistics of shape (tasks, goals), on the host.
    """
    first = reset_to_goals(env, rand_vecs)

    def run(source: Any, first: State) -> EpisodeStats:
        act = policy(source)

        def step(carry: tuple[Episodes, Int[Array, ""]]) -> tuple[Episodes, Int[Array, ""]]:
            episodes, count = carry
            action = jnp.clip(act(observe(episodes.state, ~episodes.stats.success), episodes.state.task), -1.0, 1.0)
            return step_episodes(env, episodes, action, until_success=True), count + 1

        def unfinished(carry: tuple[Episodes, Int[Array, ""]]) -> Bool[Array, ""]:
            episodes, count = carry
            return (count < num_steps) & ~jnp.all(episodes.stats.success)

        start = (begin_episodes(first), jnp.zeros((), jnp.int32))
        return jax.lax.while_loop(unfinished, step, start)[0].stats

    if lanes is None:
        evaluate_all = jit(run)
    else:
        # Each device goes on until its own episodes are over.
        whole = PartitionSpec()
        divided = whole if len(first.task) % lanes.mesh.size else lanes.spec
        first = place(first, NamedSharding(lanes.mesh, divided))
        each = jax.shard_map(run, mesh=lanes.mesh, in_specs=(whole, divided), out_specs=divided, check_vma=False)
        evaluate_all = jit(each)

    def evaluate(source: Any) -> EpisodeStats:
        shape = (len(rand_vecs), len(rand_vecs[0]))
        return jax.tree.map(lambda x: x.reshape(shape), fetch(evaluate_all(source, first)))

    return evaluate
