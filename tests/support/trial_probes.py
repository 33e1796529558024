"""Environments with trials in which remembering pays, and how much, is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from mjx_metaworld.training.algorithm import TrainingEnv
from mjx_metaworld.types import Metrics, Transition
from mjx_metaworld.vector import select_envs

EPISODES = 2  # of a trial
GOAL = slice(0, 1)  # of an observation


class TrialProbeState(struct.PyTreeNode):
    """One lane a row."""

    obs: Float[Array, "envs 2"]
    task: Int[Array, " envs"]
    step: Int[Array, " envs"]
    episode: Int[Array, " envs"]
    key: Key[Array, " envs"]


def trial_probe(
    reward: Callable[[Array, Array, Array], Array],
    *,
    num_envs: int = 16,
    episode_steps: int = 2,
    cue: bool = False,
    terminates: bool = False,
) -> TrainingEnv:
    """Trials with a hidden goal of -1 or 1, drawn for each; an observation is the goal and the cue.

    Args:
        reward: (goal (envs,), episode of the trial (envs,), action (envs, 2)) -> (envs,).
        num_envs: lanes.
        episode_steps: length of an episode.
        cue: whether the second entry tells the goal in a trial's first episode; zero otherwise.
        terminates: whether episodes end by termination instead of truncation.
    """

    def goal_of(key: Array) -> Array:
        return jax.vmap(lambda k: jnp.where(jax.random.bernoulli(k), 1.0, -1.0))(key)

    def observe(episode: Array, key: Array) -> Array:
        goal = goal_of(key)
        return jnp.stack([goal, jnp.where(cue & (episode == 0), goal, 0.0)], -1)

    def start(key: Array) -> TrialProbeState:
        zero = jnp.zeros(num_envs, jnp.int32)
        return TrialProbeState(observe(zero, key), zero, zero, zero, key)

    def restart(state: TrialProbeState, ended: Array) -> TrialProbeState:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(state.key)
        return select_envs(ended, start(keys), state)

    def step(state: TrialProbeState, action: Array) -> tuple[TrialProbeState, Transition]:
        count = state.step + 1
        done = count >= episode_steps
        last = done & (state.episode == EPISODES - 1)
        episode = jnp.where(done, state.episode + 1, state.episode)
        after = state.replace(step=jnp.where(done, 0, count), episode=episode, obs=observe(episode, state.key))
        rewards, zero = reward(state.obs[:, 0], state.episode, action), jnp.zeros(num_envs)
        transition = Transition(
            obs=state.obs,
            action=action,
            reward=rewards,
            terminated=done & terminates,
            truncated=done & ~jnp.asarray(terminates),
            next_obs=observe(state.episode, state.key),
            metrics=Metrics(*[zero] * 7).replace(success=(rewards > 0).astype(float)),
            task=state.task,
        )
        return restart(after, last), transition

    return TrainingEnv(
        num_envs=num_envs,
        num_tasks=1,
        observation_size=2,
        one_hot=False,
        action_size=2,
        episode_steps=episode_steps,
        reset=lambda key: start(jax.random.split(key, num_envs)),
        step=step,
        restart=restart,
        trial_episodes=EPISODES,
        goal=GOAL,
    )


def remembering_pays(goal: Array, episode: Array, action: Array) -> Array:
    """Pays in a trial's second episode alone, and for knowing the goal that a cue told in the first."""
    return jnp.where(episode == 1, 1.0 - (action[:, 0] - 0.5 * goal) ** 2, 0.0)


def trying_pays(goal: Array, episode: Array, action: Array) -> Array:
    """Pays for moving towards the goal, which rewards alone tell."""
    return 10.0 * goal * action[:, 0]
