"""Moments of environments as a page shows them: poses of bodies, goals, rewards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.tasks.points import matrix_to_quat
from mjx_metaworld.types import Metrics, State, on_host

_BLOCK = 64  # states whose frames are computed at once


class Frame(struct.PyTreeNode):
    """A moment of one environment; with leading axes of moments, lanes or both."""

    pos: Float[Array | np.ndarray, "*axes bodies 3"]  # of the skeleton's bodies, m
    quat: Float[Array | np.ndarray, "*axes bodies 4"]  # w, x, y, z
    goal: Float[Array | np.ndarray, "*axes 3"]
    object_init: Float[Array | np.ndarray, "*axes 3"]
    hand_target: Float[Array | np.ndarray, "*axes 3"]  # the mocap body, which the hand follows
    task: Int[Array | np.ndarray, "*axes"]
    step: Int[Array | np.ndarray, "*axes"]  # control steps since the episode began
    metrics: Metrics  # of the step that led here


def frame_of(env: MetaWorldEnv, state: State) -> Frame:
    """The frame of one environment; a pure function, to be batched with `jax.vmap`."""
    poses = env.engine.poses(env.rows(state.task).scene, state.physics)
    return Frame(
        pos=poses.xpos,
        quat=jnp.roll(matrix_to_quat(poses.xmat), 1, axis=-1),
        goal=state.episode.goal,
        object_init=state.episode.object_init,
        hand_target=state.physics.mocap_pos,
        task=state.task,
        step=state.episode.step,
        metrics=state.metrics,
    )


def frames_of(env: MetaWorldEnv, states: State) -> Frame:
    """Frames of states with any leading axes, on the host; compiled once for an environment."""
    axes = np.shape(states.task)
    flat = jax.tree.map(lambda x: np.reshape(x, (-1, *np.shape(x)[len(axes) :])), on_host(states))
    count = len(flat.task)
    blocks = []
    for first in range(0, count, _BLOCK):
        rows = np.minimum(np.arange(first, first + _BLOCK), count - 1)
        blocks.append(jax.device_get(_compiled(env)(jax.tree.map(lambda x, rows=rows: x[rows], flat))))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *blocks)
    return jax.tree.map(lambda x: x.reshape(*axes, *x.shape[1:]), whole)


@functools.lru_cache(maxsize=4)
def _compiled(env: MetaWorldEnv) -> Callable[[State], Frame]:
    return jit(jax.vmap(functools.partial(frame_of, env.blind)))


def at(frames: Frame, *index: Any) -> Frame:
    """A part of frames along their leading axes."""
    return jax.tree.map(lambda x: x[index], frames)


def stacked(frames: Sequence[Frame]) -> Frame:
    """Frames one after the other, along a new first axis."""
    return jax.tree.map(lambda *parts: np.stack(parts), *frames)
