"""A policy that sees, evaluated on pictures that the host draws: does what was learnt hold for OpenGL's?"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Episodes, EpisodeStats, begin_episodes, step_episodes
from mjx_metaworld.training.view import Eyes
from mjx_metaworld.types import EPISODE_STEPS, on_host
from mjx_metaworld.vector import reset_to_goals


def evaluate_with(
    eyes: Eyes,
    env: MetaWorldEnv,
    policy: Callable[[Any, Array], Array],
    rand_vecs: Sequence[np.ndarray],
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
) -> EpisodeStats:
    """Evaluate as `make_evaluator` does, with pictures drawn between the steps, of the unfinished episodes alone.

    Args:
        eyes: draw a batch of states on the host, such as `opengl_eyes`.
        env: whose own episode length does not matter here.
        policy: (views, task) -> actions, of a batch.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        num_steps: control steps an episode at most; it ends at its first success.
        advance: called after every control step of all episodes, for a progress bar.

    Returns:
        Statistics of shape (tasks, goals), on the host.
    """

    def step(episodes: Episodes, action: Float[Array, "envs 4"]) -> Episodes:
        return step_episodes(env, episodes, jnp.clip(action, -1.0, 1.0), until_success=True)

    act, step = jit(policy), jit(step)
    episodes = begin_episodes(reset_to_goals(env, rand_vecs))
    count = len(episodes.state.task)
    for _ in range(num_steps):
        unfinished = np.flatnonzero(~np.asarray(episodes.stats.success))
        if unfinished.size == 0:
            break
        state = on_host(episodes.state)
        # All lanes go on in one program; those that are done see nothing, and what they do does not count.
        seen = eyes(jax.tree.map(operator.itemgetter(unfinished), state))
        view = jax.tree.map(functools.partial(_put, places=unfinished, count=count), seen)
        episodes = step(episodes, act(view, state.task))
        advance()
    shape = (len(rand_vecs), len(rand_vecs[0]))
    return jax.tree.map(lambda x: x.reshape(shape), jax.device_get(episodes.stats))


def _put(rows: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """Rows at their places among `count`, zeros elsewhere."""
    whole = np.zeros((count, *rows.shape[1:]), rows.dtype)
    whole[places] = rows
    return whole
