"""Pictures as LeRobot's Meta-World datasets and environment have them."""

from __future__ import annotations

import jax
import numpy as np

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.rendering.on_device import draw_lanes
from mjx_metaworld.rendering.pixels import Pixels
from mjx_metaworld.rendering.render import Renderer, backend_of, render
from mjx_metaworld.types import State, on_host

_CAMERA = "corner2"
_POSITION = (0.75, 0.075, 0.7)  # LeRobot moves the camera closer


def draw(
    env: MetaWorldEnv, state: State, lanes: np.ndarray, width: int, height: int, renderer: Renderer = "opengl"
) -> np.ndarray:
    """Draw some lanes of a batch, upright.

    Args:
        env: the environment that the state belongs to.
        state: a batch of states.
        lanes: `(n,)` indices into it.
        width: pixels.
        height: pixels.
        renderer: what draws.

    Returns:
        uint8 `(n, height, width, 3)`.
    """
    backend = backend_of(renderer)
    if backend == "device" and isinstance(state.task, jax.Array):  # of a batch that steps, always as large
        images = draw_lanes(env, Pixels(_CAMERA, width, height, _POSITION), state, lanes)
    else:
        images = render(env, pick_lanes(state, lanes), _CAMERA, width, height, camera_pos=_POSITION, backend=backend)
    return images[:, ::-1, ::-1]  # the camera is mounted upside down


def pick_lanes(state: State, lanes: np.ndarray) -> State:
    """Some lanes of a batch, on the host and without their keys, which no picture shows."""
    return jax.tree.map(lambda x: x[lanes], on_host(state))
