"""Disturbances between policy and robot: repeated, late and noisy actions, noisy observations; of one environment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.inputs.keys import as_typed
from mjx_metaworld.observation import FRAME_SIZE, HAND, OBJECT, OBSERVATION_SIZE, PREVIOUS_FRAME, SECOND_OBJECT
from mjx_metaworld.randomise.structs import Delay, Noise, Randomised, Repeat


def command(drawn: Randomised, action: Float[Array, "4"], step: Int[Array, ""]) -> tuple[Randomised, Float[Array, "4"]]:
    """The action that reaches the robot in a control step, and the parameters with what is then pending.

    An action is first held, then late, then noisy; between the policy and the robot it is clipped to [-1, 1].

    Args:
        drawn: the episode's parameters.
        action: the policy's, finite.
        step: number of the step in its episode, from 0.
    """
    if drawn.action_repeat is not None:
        repeat, action = _hold(drawn.action_repeat, action, step)
        drawn = drawn.replace(action_repeat=repeat)
    if drawn.action_delay is not None:
        delay, action = _come_late(drawn.action_delay, action)
        drawn = drawn.replace(action_delay=delay)
    if drawn.action_noise is not None:
        action = jnp.clip(action, -1.0, 1.0) + _gaussian(drawn.action_noise, step, action.shape[0]).astype(action.dtype)
    return drawn, action


def _hold(repeat: Repeat, action: Array, step: Array) -> tuple[Repeat, Array]:
    held = jnp.where(step % repeat.steps == 0, action, repeat.held)
    return repeat.replace(held=held), held


def _come_late(delay: Delay, action: Array) -> tuple[Delay, Array]:
    line = jnp.concatenate([action[None], delay.pending])  # the newest first
    return delay.replace(pending=line[:-1]), line[jnp.minimum(delay.steps, len(line) - 1)]


def observe(
    noise: Noise, obs: Float[Array, "39"], step: Int[Array, ""], observed: Bool[Array, "18"]
) -> Float[Array, "39"]:
    """An observation with noise on positions, the frame before with the noise that it had.

    Args:
        noise: of the episode.
        obs: the true observation, without a task's one-hot vector.
        step: control steps since the episode began; 0 for its first observation, whose two frames are the same.
        observed: entries of a frame that carry noise.
    """
    now, before = (_gaussian(noise, number, FRAME_SIZE) for number in (step, jnp.maximum(step - 1, 0)))
    frames = jnp.concatenate([jnp.where(observed, x, 0.0).astype(obs.dtype) for x in (now, before)])
    return obs + jnp.pad(frames, (0, OBSERVATION_SIZE - PREVIOUS_FRAME.stop))


def _gaussian(noise: Noise, step: Array, size: int) -> Array:
    key = jax.random.fold_in(as_typed(noise.key, noise.key_impl), step)
    return noise.scale * jax.random.normal(key, (size,), float)


def noisy_entries(num_objects: int) -> Bool[np.ndarray, "18"]:
    """The entries of a frame that carry noise in a task with so many objects: positions, in m."""
    noisy = np.zeros(FRAME_SIZE, bool)
    for entries in (HAND, OBJECT, SECOND_OBJECT)[: 1 + num_objects]:
        noisy[entries] = True
    return noisy
