"""Pictures of a batch under gymnasium's names: render modes, camera names and ids."""

from __future__ import annotations

import numpy as np

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.physics.checks import as_integer
from mjx_metaworld.rendering.render import FREE, check_picture, free_lookats, list_cameras, render
from mjx_metaworld.types import State

RENDER_MODES = ("rgb_array", "depth_array")
_FREE_ID = -1  # MuJoCo's id of the free camera


class Pictures:
    """A batch's camera, as gymnasium's renderer of MuJoCo's environments takes it.

    Args:
        render_mode: one of `RENDER_MODES`, or None.
        camera_name: one of `mjx_metaworld.rendering.render.list_cameras()`.
        camera_id: the same by its number, or -1; without name and number the free camera, as there.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: for an unknown mode or camera, a camera by both name and number, or a bad size.
    """

    def __init__(
        self, render_mode: str | None, camera_name: str | None, camera_id: int | None, width: int, height: int
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(f"render_mode must be None or one of {', '.join(RENDER_MODES)}, got {render_mode!r}")
        self._camera = _camera(camera_name, camera_id)
        check_picture(self._camera, width=width, height=height)
        self._width, self._height = width, height
        self._depth = render_mode == "depth_array"
        self._lookats: np.ndarray | None = None  # gymnasium's renderer sets the free camera up once

    def draw(self, env: MetaWorldEnv, state: State) -> tuple[np.ndarray, ...]:
        """One picture a lane: uint8 (height, width, 3), or float32 (height, width) of OpenGL's depth buffer, 0 .. 1."""
        if self._camera == FREE and self._lookats is None:
            self._lookats = free_lookats(env, state)
        size = (self._width, self._height)
        images = render(env, state, self._camera, *size, lookat=self._lookats, depth=self._depth, zbuffer=self._depth)
        return tuple(images)


def _camera(name: str | None, number: int | None) -> str:
    known = list_cameras()
    if name is not None and number is not None:
        raise ValueError(f"give camera_name or camera_id, not both, got {name!r} and {number!r}")
    if name is not None:
        if name not in known:
            raise ValueError(f"camera_name must be one of {', '.join(known)}, got {name!r}")
        return name
    if number is None:
        return FREE
    index = as_integer(number)
    if index is None or not _FREE_ID <= index < len(known):
        raise ValueError(f"camera_id must be from {_FREE_ID} (free) to {len(known) - 1} ({known[-1]}), got {number!r}")
    return FREE if index == _FREE_ID else known[index]
