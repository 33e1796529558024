"""Cameras as an option of an environment: `mw.make("MT10", pixels=mw.Pixels("corner2", 64, 64))`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.rendering.camera import Camera, Segmentation, Views, check_request
from mjx_metaworld.rendering.camera import camera as make_camera


@dataclass(frozen=True)
class Pixels:
    """Cameras whose pictures `state.pixels` holds, after each reset and step; `mw.camera` is what draws.

    They are uint8 `(height, width, 3)`, with a leading axis of cameras if several are named, and `mw.Views` with depth
    or segmentation.

    Args:
        camera: one of `list_cameras()`, or several.
        width: pixels.
        height: pixels.
        camera_pos: as for `mw.camera`.
        depth: as for `mw.camera`.
        segmentation: as for `mw.camera`.

    Raises:
        ValueError: for an unknown camera or segmentation, or a size outside 1 .. 4096.
        TypeError: if `camera` is neither a name nor several in an order.
    """

    camera: str | Sequence[str] = "corner2"
    width: int = 64
    height: int = 64
    camera_pos: tuple[float, float, float] | None = None
    depth: bool = False
    segmentation: Segmentation | None = None

    def __post_init__(self) -> None:
        names = check_request(self.camera, self.width, self.height, self.camera_pos, self.segmentation)
        # As values that compare and hash, whatever sequences were given.
        if not isinstance(self.camera, str):
            object.__setattr__(self, "camera", names)
        if self.camera_pos is not None:
            x, y, z = map(float, self.camera_pos)
            object.__setattr__(self, "camera_pos", (x, y, z))

    @property
    def shapes(self) -> Any:
        """Shapes and types of what is drawn of one environment, in the place of the arrays."""
        cameras = () if isinstance(self.camera, str) else (len(self.camera),)
        size = (*cameras, self.height, self.width)
        color = jax.ShapeDtypeStruct((*size, 3), jnp.uint8)
        if not self.depth and self.segmentation is None:
            return color
        return Views(color, jax.ShapeDtypeStruct(size, jnp.float32), jax.ShapeDtypeStruct(size, jnp.int32))

    def __call__(self, env: MetaWorldEnv) -> Camera:
        """The cameras of an environment; raises as `mw.camera` does."""
        return make_camera(
            env,
            self.camera,
            self.width,
            self.height,
            camera_pos=self.camera_pos,
            depth=self.depth,
            segmentation=self.segmentation,
        )
