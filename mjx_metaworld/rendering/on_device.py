"""`render`'s pictures from the device's cameras: any number of leading axes in, numpy arrays out."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.rendering.camera import Views, camera
from mjx_metaworld.types import State


class _View(NamedTuple):
    """Parameters of a compiled camera."""

    camera: str
    width: int
    height: int
    camera_pos: tuple[float, float, float] | None
    depth: bool


# An environment's compiled cameras go with it.
_cameras: weakref.WeakKeyDictionary[MetaWorldEnv, dict[_View, Callable[..., Any]]] = weakref.WeakKeyDictionary()


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
    lanes = jax.tree.map(lambda x: jnp.reshape(x, (count, *np.shape(x)[len(shape) :]))[rows], state)
    place = None if camera_pos is None else (float(camera_pos[0]), float(camera_pos[1]), float(camera_pos[2]))
    images = np.asarray(_compiled(env, _View(name, width, height, place, depth))(lanes))[:count]
    return images.reshape(*shape, *images.shape[1:])


def _compiled(env: MetaWorldEnv, view: _View) -> Callable[..., Any]:
    found = _cameras.setdefault(env, {})
    if view not in found:
        found[view] = _compile(weakref.proxy(env), view)
    return found[view]


def _compile(env: Any, view: _View) -> Callable[..., Any]:
    one = camera(env, view.camera, view.width, view.height, camera_pos=view.camera_pos, depth=view.depth)

    def draw(state: State) -> Any:
        seen = one(state)
        return seen.depth if isinstance(seen, Views) else seen

    return jax.jit(jax.vmap(draw))
