"""Rendered pictures made ready to look at: upright, labelled, side by side, in files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mjx_metaworld.physics.checks import as_numbers, check_integer
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.rendering.render import check_picture

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise ImportError(f"pictures need pillow: {install_command('cli')}") from error

VIDEO_SUFFIXES = (".mp4", ".gif")


def upright(images: np.ndarray, camera: str) -> np.ndarray:
    """Pictures `(..., height, width, 3)` of a camera the right way up: `corner2` is mounted upside down.

    Raises:
        ValueError: for an unknown camera, or pictures of another shape, such as depths.
    """
    check_picture(camera)
    _check_shape("images", images, (..., "height", "width", 3))
    return images[..., ::-1, ::-1, :] if camera == "corner2" else images


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """A picture `(height, width, 3)` with a line of text in its upper left corner; of floats as `tiled` takes them."""
    _check_shape("image", image, ("height", "width", 3))
    picture = Image.fromarray(as_bytes(image))
    font = ImageFont.load_default(max(10, image.shape[0] // 18))
    ImageDraw.Draw(picture).text((6, 4), text, fill="black", font=font, stroke_width=1, stroke_fill="white")
    return np.asarray(picture)


def tiled(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Pictures `(n, height, width, 3)` as one, in rows of `columns`; by default about as many rows as columns.

    Args:
        images: at least one; integers in 0 .. 255, or floats in 0 .. 1, which are scaled.
        columns: pictures side by side.

    Returns:
        uint8; empty places are white.

    Raises:
        ValueError: for no pictures, or other shapes and numbers.
    """
    _check_shape("images", images, ("n", "height", "width", 3))
    count, height, width, _ = np.shape(images)
    if columns is not None:
        check_integer("columns", columns)
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
    sheet[:count] = as_bytes(images)
    return sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Pictures of integers in 0 .. 255, or of floats in 0 .. 1, as uint8 in one piece.

    Raises:
        ValueError: for other numbers.
    """
    images = np.asarray(images)
    if images.dtype.kind not in "iuf":
        raise ValueError(f"pictures are of integers in 0..255 or of floats in 0..1, got {images.dtype}")
    highest = 1 if images.dtype.kind == "f" else 255
    if not np.all((images >= 0) & (images <= highest)):  # nor NaN
        held = f"{images.min()} to {images.max()}"
        raise ValueError(f"pictures of {images.dtype} hold numbers in 0..{highest}, got {held}")
    return np.ascontiguousarray(np.rint(images * 255.0) if highest == 1 else images, np.uint8)


def _check_shape(name: str, images: np.ndarray, wanted: tuple[Any, ...]) -> None:
    """Refuse pictures of another shape; named axes may have any length but 0, and those before `...` any number."""
    shape = np.shape(images)
    axes = wanted[1:] if wanted[0] is ... else wanted
    enough = len(shape) >= len(axes) if wanted[0] is ... else len(shape) == len(axes)
    sizes = shape[len(shape) - len(axes) :]
    if not enough or sizes[-1] != axes[-1] or 0 in sizes:
        raise ValueError(
            f"{name} must have shape ({', '.join('...' if x is ... else str(x) for x in wanted)}), got {shape}"
        )


def write_png(path: Path | str, image: np.ndarray) -> None:
    """Write a picture, of numbers as `tiled` takes them, and the folders above it."""
    picture = Image.fromarray(as_bytes(image))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write_video(path: Path | str, frames: Sequence[np.ndarray], rate: float) -> None:
    """Write frames `(height, width, 3)` as an .mp4 (H.264) or an endless .gif.

    A GIF counts time in steps of 10 ms, and players show a frame for at least 20 ms: above 50 frames a second it is
    slower than `rate`, below that frames differ by a step so that their mean is right. An .mp4 has a whole number of
    frames a second, the nearest to `rate`.

    Args:
        path: the file; folders above it are made.
        frames: at least one, all of one size, of numbers as `tiled` takes them.
        rate: frames a second.

    Raises:
        ValueError: for another suffix, no frames, frames of several shapes or of other numbers, or a bad rate.
        ImportError: for an .mp4 without imageio and its pyav, which the extra `cli` installs.
    """
    path = Path(path)
    if path.suffix not in VIDEO_SUFFIXES:
        raise ValueError(f"a video ends in {' or '.join(VIDEO_SUFFIXES)}, got {path}")
    if not (as_numbers([rate]) or (0.0,))[0] > 0:
        raise ValueError(f"rate must be a finite number > 0, got {rate!r}")
    shapes = list(dict.fromkeys(np.shape(frame) for frame in frames))
    if len(shapes) != 1:
        raise ValueError(f"a video takes frames of one shape, (height, width, 3), got {shapes or 'no frame'}")
    _check_shape("frames", frames[0], ("height", "width", 3))
    pictures = [as_bytes(frame) for frame in frames]
    imageio = None if path.suffix == ".gif" else require_mp4()
    path.parent.mkdir(parents=True, exist_ok=True)
    if imageio is None:
        first, *rest = map(Image.fromarray, pictures)
        first.save(path, save_all=True, append_images=rest, duration=_durations(len(pictures), rate), loop=0)
        return
    height, width = (size - size % 2 for size in shapes[0][:2])  # H.264 takes even sizes only
    even = np.stack([picture[:height, :width] for picture in pictures])
    imageio.imwrite(path, even, plugin="pyav", codec="libx264", fps=max(1, round(rate)))


def _durations(count: int, rate: float) -> list[int]:
    """Milliseconds that a GIF shows each frame; 65535 steps of ten are the most that it can hold."""
    ends = np.rint(np.arange(count + 1) * 100.0 / rate)
    return [10 * int(steps) for steps in np.clip(np.diff(ends), 2, 65535)]


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
