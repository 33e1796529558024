"""A policy that learns in trials on frozen goals, by the protocol of metaworld's `metalearning_evaluation`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int, Key

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Episodes, EpisodeStats, begin_episodes, step_episodes
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.training.devices import fetch, place
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy, no_past, past_after
from mjx_metaworld.types import EPISODE_STEPS, State
from mjx_metaworld.vector import reset_to_goals, select_envs


class TrialLength(NamedTuple):
    """Episodes of an evaluation's trials."""

    adaptation: int  # in which actions are drawn, as in training
    evaluation: int = 1  # those that count
    likely: bool = False  # whether these take the most likely actions instead of drawn ones


class TrialStats(NamedTuple):
    """Statistics of trials: arrays of the shape (tasks, goals, episodes)."""

    adaptation: EpisodeStats  # whole episodes, whose returns go on behind a success
    evaluation: EpisodeStats  # up to the first success

    def counted(self) -> EpisodeStats:
        """The episodes of evaluation, each of which counts as one of its task: (tasks, goals * episodes)."""
        return jax.tree.map(lambda x: x.reshape(len(x), -1), self.evaluation)


class _Now(NamedTuple):
    episodes: Episodes
    memory: Any
    past: Past
    count: Int[Array, ""]  # steps made
    key: Key[Array, ""]


def make_trial_evaluator(
    env: MetaWorldEnv,
    rand_vecs: Sequence[np.ndarray],
    policy: Callable[[Any], RecurrentPolicy],
    length: TrialLength,
    num_steps: int = EPISODE_STEPS,
    lanes: NamedSharding | None = None,
    key: Key[Array, ""] | None = None,
) -> Callable[[Any], TrialStats]:
    """Prepare the evaluation of a policy with memory on given goals; one compiled program serves all calls.

    Each goal is a trial: whole episodes of adaptation, then episodes of evaluation that end at their first success.
    All begin in the same state, and the policy remembers throughout. Actions are drawn as in training: a policy that
    learns in trials tries things out, and the most likely actions leave that out.

    Args:
        env: whose own episode length does not matter here.
        rand_vecs: (n, rand) goal vectors of each task, the same n for all, as `mw.goals` gives them.
        policy: makes the policy of what the evaluation is called with, such as a train state.
        length: episodes of a trial.
        num_steps: control steps of an episode, at most.
        lanes: how the trials are divided among devices, if their number allows it.
        key: of the actions drawn; always the same by default.

    Returns:
        The evaluation: statistics of the shape (tasks, goals, episodes), on the host.

    Raises:
        ValueError: if there are to be fewer than no episodes of adaptation or fewer than one of evaluation.
    """
    check_integer("adaptation episodes", length.adaptation, low=0)
    check_integer("evaluation episodes", length.evaluation)
    first = reset_to_goals(env, rand_vecs)
    start_key = jax.random.key(0) if key is None else key

    def run(source: Any, first: State, keys: Array) -> tuple[EpisodeStats, EpisodeStats]:
        agent, num_envs = policy(source), first.task.shape[0]

        def episode(
            carry: tuple[Any, Past], key: Array, *, adapts: bool, draws: bool
        ) -> tuple[tuple[Any, Past], EpisodeStats]:
            def going_on(now: _Now) -> Bool[Array, " envs"]:
                return jnp.full(num_envs, True) if adapts else ~now.episodes.stats.success

            def step(now: _Now) -> _Now:
                key, draw_key = jax.random.split(now.key)
                state = now.episodes.state
                action, memory = agent.act(now.memory, state.obs, now.past, draw_key if draws else None)
                episodes = step_episodes(env, now.episodes, action, until_success=not adapts)
                no = jnp.zeros(num_envs, bool)
                past = past_after(action, episodes.state.reward, no, no)
                # A lane whose episode is over waits for the next one, in which it goes on with what it remembers.
                memory, past = select_envs(going_on(now), (memory, past), (now.memory, now.past))
                return _Now(episodes, memory, past, now.count + 1, key)

            start = _Now(begin_episodes(first), *carry, jnp.zeros((), jnp.int32), key)
            end = jax.lax.while_loop(lambda now: (now.count < num_steps) & going_on(now).any(), step, start)
            again = no_past(num_envs, env.action_size).replace(done=jnp.ones(num_envs, bool))
            return (end.memory, again), end.episodes.stats

        carry = agent.start(num_envs), no_past(num_envs, env.action_size)
        adapt_key, count_key = jax.random.split(keys[0])
        adapt_keys = jax.random.split(adapt_key, length.adaptation)
        carry, adaptation = jax.lax.scan(lambda c, k: episode(c, k, adapts=True, draws=True), carry, adapt_keys)
        count_keys = jax.random.split(count_key, length.evaluation)
        counting = functools.partial(episode, adapts=False, draws=not length.likely)
        _, evaluation = jax.lax.scan(counting, carry, count_keys)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), (adaptation, evaluation))

    keys = start_key[None]
    if lanes is None:
        evaluate_all = jit(run)
    else:
        # Each device goes on until its own episodes are over, and draws its own actions.
        whole = PartitionSpec()
        divides = len(first.task) % lanes.mesh.size == 0
        divided = lanes.spec if divides else whole
        keys = jax.random.split(start_key, lanes.mesh.size) if divides else keys
        first, keys = place((first, keys), NamedSharding(lanes.mesh, divided))
        specs = {"in_specs": (whole, divided, divided), "out_specs": divided}
        evaluate_all = jit(jax.shard_map(run, mesh=lanes.mesh, check_vma=False, **specs))

    def evaluate(source: Any) -> TrialStats:
        shape = (len(rand_vecs), len(rand_vecs[0]))
        stats = fetch(evaluate_all(source, first, keys))
        return TrialStats(*jax.tree.map(lambda x: x.reshape(*shape, x.shape[-1]), stats))

    return evaluate
