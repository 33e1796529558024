"""Pictures of a batch as observations: {"state": numbers, "pixels": pictures}, gymnasium's names for these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from gymnasium.spaces import Box, Dict, Space

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.processes.forks import without_threads
from mjx_metaworld.rendering.camera import Views, check_available
from mjx_metaworld.rendering.on_device import draw_lanes
from mjx_metaworld.rendering.pixels import Pixels
from mjx_metaworld.types import State

_LABELS = np.iinfo(np.int32)
# Keys of observations, beside the fields of `Views` and what a pixel's values may be.
_KINDS = {
    "pixels": ("color", 0, 255, np.uint8),
    "depth": ("depth", 0.0, np.inf, np.float32),
    "segmentation": ("label", _LABELS.min, _LABELS.max, np.int32),
}


class Sight:
    """Pictures of all lanes, of which some at a time are drawn anew.

    Args:
        pixels: the cameras.
        num_envs: number of lanes.
        numbers: space of what else one lane observes.

    Attributes:
        space: of one lane's observations.

    Raises:
        ImportError, RuntimeError: where nothing can be drawn, see `mw.camera`.
    """

    def __init__(self, pixels: Pixels, num_envs: int, numbers: Space) -> None:
        if not without_threads():
            check_available()
        self._pixels = pixels
        cameras = () if isinstance(pixels.camera, str) else (len(pixels.camera),)
        size = (*cameras, pixels.height, pixels.width)
        measured = pixels.depth or pixels.segmentation is not None
        shapes = {"pixels": (*size, 3)} | ({"depth": size, "segmentation": size} if measured else {})
        parts = {
            name: Box(low, high, shapes[name], kind) for name, (_, low, high, kind) in _KINDS.items() if name in shapes
        }
        self.space = Dict({"state": numbers, **parts})
        self._images = {name: np.zeros((num_envs, *part.shape), part.dtype) for name, part in parts.items()}

    def look(self, env: MetaWorldEnv, state: State, lanes: np.ndarray) -> None:
        """Draw the lanes of a mask."""
        rows = np.flatnonzero(lanes)
        if len(rows):
            drawn = draw_lanes(env, self._pixels, state, rows)
            for name, images in self._images.items():
                images[rows] = getattr(drawn, _KINDS[name][0]) if isinstance(drawn, Views) else drawn

    def observe(self, numbers: np.ndarray, lane: int | None = None) -> dict[str, np.ndarray]:
        """Copies of the observations of all lanes, or of one; `numbers` are what else they observe."""
        parts = {"state": numbers, **self._images}
        return jax.tree.map(np.copy, parts if lane is None else {name: part[lane] for name, part in parts.items()})


def as_pixels(pixels: Pixels | Mapping[str, Any] | None) -> Pixels | None:
    """Cameras of `mw.Pixels`, or of its arguments by name, such as a configuration file holds.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(pixels, Mapping):
        return Pixels(**pixels)
    if pixels is not None and not isinstance(pixels, Pixels):
        raise TypeError(f"pixels must be mw.Pixels(...) or a dict of its arguments, got {pixels!r}")
    return pixels
