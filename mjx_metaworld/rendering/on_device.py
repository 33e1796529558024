"""`render`'s pictures from the device's cameras: any number of leading axes in, numpy arrays out."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.rendering.camera import Views
from mjx_metaworld.rendering.pixels import Pixels
from mjx_metaworld.types import State

# An environment's compiled cameras go with it.
_cameras: weakref.WeakKeyDictionary[MetaWorldEnv, dict[Pixels, Callable[..., Any]]] = weakref.WeakKeyDictionary()


def draw_on_device(
    env: MetaWorldEnv,
    state: State,
    name: str,
    width: int,
    height: int,
    *,
    camera_pos: tuple[float, float, float] | None,
    depth: bool,
) -> np.ndarray:
    """Draw states as `render` does.

    Returns:
        uint8 `(..., height, width, 3)`, or with `depth` float32 `(..., height, width)`.
    """
    shape = np.shape(state.task)
    count = math.prod(shape)
    if count == 0:
        return np.empty(
            (*shape, height, width) if depth else (*shape, height, width, 3), np.float32 if depth else np.uint8
        )
    # A power of two, so that few programs are compiled where the number of states changes.
    rows = np.minimum(np.arange(2 ** (count - 1).bit_length()), count - 1)
    flat = jax.tree.map(lambda x: jnp.reshape(x, (count, *np.shape(x)[len(shape) :]))[rows], state)
    place = None if camera_pos is None else (float(camera_pos[0]), float(camera_pos[1]), float(camera_pos[2]))
    pixels = Pixels(name, width, height, place, depth=depth)
    drawn = draw_lanes(env, pixels, flat, np.arange(len(rows)))
    images: Any = drawn.depth if isinstance(drawn, Views) else drawn
    images = images[:count]
    return images.reshape(*shape, *images.shape[1:])


def draw_lanes(env: MetaWorldEnv, pixels: Pixels, state: State, lanes: np.ndarray) -> Any:
    """Draw some lanes of a batch.

    Args:
        env: the environment that the state belongs to.
        pixels: the cameras.
        state: with one leading axis.
        lanes: `(n,)` indices into it, n at least 1.

    Returns:
        What the cameras draw, as numpy arrays with a leading axis of n.
    """
    count, total = len(lanes), len(state.task)
    # All of them, or a power of two, so that few programs are compiled where the number of lanes changes.
    size = count if count == total else min(2 ** (count - 1).bit_length(), total)
    rows = np.asarray(lanes, np.int32)[np.minimum(np.arange(size), count - 1)]
    # NumPy's arrays of JAX's memory, where that is the host's.
    return jax.tree.map(lambda x: np.asarray(x)[:count], _compiled(env, pixels)(state.replace(pixels=None), rows))


def _compiled(env: MetaWorldEnv, pixels: Pixels) -> Callable[..., Any]:
    found = _cameras.setdefault(env, {})
    if pixels not in found:
        draw = pixels(weakref.proxy(env))  # pyright: ignore[reportArgumentType] - stands for the environment
        found[pixels] = jax.jit(lambda state, rows: jax.vmap(draw)(jax.tree.map(lambda x: x[rows], state)))
    return found[pixels]
