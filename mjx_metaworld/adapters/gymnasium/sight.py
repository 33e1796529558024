"""Pictures of a batch as observations: {"state": numbers, "pixels": pictures}, gymnasium's names for these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from gymnasium.spaces import Dict, Space

from mjx_metaworld.adapters.views import named_pixels, picture_boxes
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.processes.forks import without_threads
from mjx_metaworld.rendering.camera import check_available
from mjx_metaworld.rendering.on_device import draw_lanes
from mjx_metaworld.rendering.pixels import Pixels
from mjx_metaworld.types import State


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
        parts = picture_boxes(named_pixels(pixels.shapes))
        self.space = Dict({"state": numbers, **parts})
        self._images = {name: np.zeros((num_envs, *part.shape), part.dtype) for name, part in parts.items()}

    def look(self, env: MetaWorldEnv, state: State, lanes: np.ndarray) -> None:
        """Draw the lanes of a mask."""
        rows = np.flatnonzero(lanes)
        if len(rows):
            for name, drawn in named_pixels(draw_lanes(env, self._pixels, state, rows)).items():
                self._images[name][rows] = drawn

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
