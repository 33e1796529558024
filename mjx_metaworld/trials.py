"""Trials of meta-learning: several episodes with one goal, in every lane of a vector environment.

A restart draws the next episode from the key in the state that ended, so that the same key draws the same goal again:
a lane keeps its goal for as long as it is restarted from one key. A trial remembers it.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, UInt

from mjx_metaworld.inputs.keys import PRNGKey
from mjx_metaworld.physics.checks import check_integer, check_offers
from mjx_metaworld.physics.exportable import exportable
from mjx_metaworld.types import State, Transition
from mjx_metaworld.vector import VectorEnv, check_batch, select_envs

_TRIALS = "what mw.begin_trials or the step before gave"


@exportable
class Trials(struct.PyTreeNode):
    """Lanes in the midst of their trials."""

    state: State  # leading axis envs
    goal_key: UInt[Array, "envs words"]  # draws the trial's first state, with task, goal and randomised parameters
    episode: Int[Array, " envs"]  # of the trial's, how many are over

    @property
    def obs(self) -> Float[Array, "envs obs"]:
        """The observations of the lanes."""
        return self.state.obs

    @property
    def task(self) -> Int[Array, " envs"]:
        """The tasks of the lanes."""
        return self.state.task


def begin_trials(vector_env: VectorEnv, key: PRNGKey) -> Trials:
    """First trials in all lanes.

    Args:
        vector_env: the environments.
        key: the only source of randomness.

    Raises:
        TypeError: if `vector_env` is no batch, or `key` no key.
    """
    check_batch(vector_env)
    state = vector_env.reset(key)
    count = jnp.zeros(vector_env.num_envs, jnp.int32)
    # The key that drew these goals is not in their states: that of a first restart is.
    return end_trials(vector_env, Trials(state, state.episode.next_key, count), jnp.ones_like(count, bool))


def step_trials(
    vector_env: VectorEnv, trials: Trials, action: Float[Array, "envs 4"], episodes: int
) -> tuple[Trials, Transition]:
    """One control step of every lane, then a new episode where one ended: with the same goal within a trial.

    A trial ends with its last episode. The next one begins in the same lane, with the goal (and the task, where the
    vector environment draws tasks anew) that a restart draws.

    Args:
        vector_env: the environments.
        trials: from `begin_trials` or the step before.
        action: of each lane.
        episodes: of a trial; the same in all steps.

    Returns:
        What to go on from, and the transition just made. Where an episode ended and `episode` is 0, so did the trial.

    Raises:
        ValueError: if `episodes` is no positive integer.
        TypeError: if `trials` are none.
    """
    check_offers("trials", trials, _TRIALS, "goal_key", "episode", "state")
    last = trials.episode >= check_integer("episodes", episodes) - 1
    keys = trials.state.episode.next_key
    ready = _with_keys(trials.state, select_envs(last, keys, trials.goal_key))
    state, transition = vector_env.step(ready, action)
    done = transition.terminated | transition.truncated
    # Within an episode a lane holds its own key, which draws the next goal whenever the trial is ended.
    state = _with_keys(state, select_envs(done, state.episode.next_key, keys))
    episode = jnp.where(done, jnp.where(last, 0, trials.episode + 1), trials.episode)
    return Trials(state, select_envs(done & last, keys, trials.goal_key), episode), transition


def end_trials(vector_env: VectorEnv, trials: Trials, ended: Bool[Array, " envs"]) -> Trials:
    """New trials in the lanes whose trial is to end, the others as they are.

    Raises:
        TypeError: if `trials` are none, or `ended` holds other than booleans.
    """
    check_offers("trials", trials, _TRIALS, "goal_key", "episode", "state")
    state = vector_env.restart(trials.state, ended)
    keys = select_envs(ended, trials.state.episode.next_key, trials.goal_key)
    return Trials(state, keys, jnp.where(ended, 0, trials.episode))


def _with_keys(state: State, keys: UInt[Array, "envs words"]) -> State:
    return state.replace(episode=state.episode.replace(next_key=keys))
