"""Rendered pictures made ready to look at: upright, labelled, side by side, in files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from mjx_metaworld.processes.installed import install_command

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise ImportError(f"pictures need pillow: {install_command('cli')}") from error

VIDEO_SUFFIXES = (".mp4", ".gif")


def upright(images: np.ndarray, camera: str) -> np.ndarray:
    """Pictures `(..., height, width, 3)` of a camera the right way up: `corner2` is mounted upside down."""
    return images[..., ::-1, ::-1, :] if camera == "corner2" else images


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """A picture `(height, width, 3)` with a line of text in its upper left corner."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    font = ImageFont.load_default(max(10, image.shape[0] // 18))
    ImageDraw.Draw(picture).text((6, 4), text, fill="black", font=font, stroke_width=1, stroke_fill="white")
    return np.asarray(picture)


def tiled(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Pictures `(n, height, width, 3)` as one, in rows of `columns`; by default about as many rows as columns."""
    count, height, width, _ = images.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
    sheet[:count] = images
    return sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(image)).save(path)


def write_video(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    """Write frames `(height, width, 3)` as an .mp4 (H.264) or an endless .gif.

    Args:
        path: the file; folders above it are made.
        frames: all of one size.
        rate: frames a second.

    Raises:
        ValueError: for another suffix.
        ImportError: for an .mp4 without imageio and its pyav, which the extra `cli` installs.
    """
    if path.suffix not in VIDEO_SUFFIXES:
        raise ValueError(f"a video ends in {' or '.join(VIDEO_SUFFIXES)}, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        first, *rest = (Image.fromarray(np.ascontiguousarray(frame)) for frame in frames)
        first.save(path, save_all=True, append_images=rest, duration=1000 / rate, loop=0)
        return
    imageio = require_mp4()
    height, width = (size - size % 2 for size in frames[0].shape[:2])  # H.264 takes even sizes only
    even = np.stack([frame[:height, :width] for frame in frames])
    imageio.imwrite(path, even, plugin="pyav", codec="libx264", fps=round(rate))


def require_mp4() -> ModuleType:
    """The library that writes an .mp4.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        import av  # noqa: F401
        import imageio.v3 as imageio
    except ImportError as error:
        raise ImportError(f"an .mp4 needs imageio[pyav]: {install_command('cli')}") from error
    return imageio
