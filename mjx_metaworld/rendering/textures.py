"""Textures with their mipmaps, side by side in one array of bytes."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

MAX_LEVELS = 12  # mipmaps of a texture of 2048 pixels


class TextureTable(NamedTuple):
    """Textures with their mipmaps. Rows of `pixels` are RGB; `level` holds the first row of each mipmap."""

    pixels: np.ndarray  # (rows, 3) uint8
    cube: np.ndarray  # (textures,) int32: 1 for a cube whose faces are alike, 6 for one of six faces, 0 for a plane
    width: np.ndarray  # (textures,) int32
    height: np.ndarray  # (textures,) int32, of one face
    levels: np.ndarray  # (textures,) int32
    level: np.ndarray  # (textures, MAX_LEVELS) int32


class TextureAtlas:
    """Collects the textures of scenes, each distinct one once."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = [np.zeros((1, 3), np.uint8)]
        self._count = 1
        self._found: dict[tuple[int, int, int, bytes], int] = {}
        self._columns: list[tuple[int, int, int, int, list[int]]] = []

    def add(self, model: mujoco.MjModel, texture: int) -> int:
        """Index of a model's texture.

        Raises:
            ValueError: if it has neither 3 nor 4 channels, or is larger than the largest mipmap.
        """
        width, height = int(model.tex_width[texture]), int(model.tex_height[texture])
        channels = int(model.tex_nchannel[texture])
        if channels not in (3, 4):
            raise ValueError(f"texture {model.tex(texture).name!r} has {channels} channels; 3 and 4 can be drawn")
        if max(width, width if model.tex_type[texture] else height) >= 2**MAX_LEVELS:
            raise ValueError(f"texture {model.tex(texture).name!r} is larger than {2**MAX_LEVELS - 1} pixels")
        first = int(model.tex_adr[texture])
        data = model.tex_data[first : first + width * height * channels]
        key = (int(model.tex_type[texture]), width, height, data.tobytes())
        if key not in self._found:
            self._found[key] = len(self._columns)
            image = data.reshape(height, width, channels)[..., :3]
            cube = 0 if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D else height // width
            faces = image.reshape(max(cube, 1), -1, width, 3)
            self._columns.append((cube, width, faces.shape[1], *self._append(faces)))
        return self._found[key]

    def _append(self, faces: np.ndarray) -> tuple[int, list[int]]:
        """Number of mipmaps, and the first row of each."""
        levels = []
        while True:
            levels.append(self._count)
            self._rows.append(faces.reshape(-1, 3))
            self._count += faces.size // 3
            if faces.shape[1] == faces.shape[2] == 1:
                return len(levels), levels + [0] * (MAX_LEVELS - len(levels))
            faces = _halved(faces)

    def table(self) -> TextureTable:
        """All that was collected."""
        columns = self._columns or [(0, 1, 1, 1, [0] * MAX_LEVELS)]
        cube, width, height, count, level = (np.array(column, np.int32) for column in zip(*columns, strict=True))
        return TextureTable(np.concatenate(self._rows), cube, width, height, count, level)


def _halved(faces: np.ndarray) -> np.ndarray:
    """The next mipmap (n, ceil(h / 2), ceil(w / 2), 3): means of 2 x 2 pixels, rounded up as Mesa rounds them."""
    height, width = faces.shape[1:3]
    whole = faces[:, : max(height & ~1, 1), : max(width & ~1, 1)].astype(np.float32)
    rows, columns = 2 if height > 1 else 1, 2 if width > 1 else 1
    blocks = whole.reshape(len(faces), whole.shape[1] // rows, rows, whole.shape[2] // columns, columns, 3)
    # To the nearest would make a surface seven mipmaps away a hundredth darker than in `render`'s pictures.
    return np.ceil(blocks.mean((2, 4))).astype(np.uint8)
