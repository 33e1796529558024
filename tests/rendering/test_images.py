"""Pictures made ready to look at, and what is no picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mjx_metaworld.rendering.images import labelled, tiled, upright, write_png, write_video

FRAMES = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 120, 240, 60)]


def test_one_camera_is_turned_and_no_depth():
    picture = np.arange(12).reshape(2, 2, 3)
    np.testing.assert_array_equal(upright(picture, "corner2"), picture[::-1, ::-1])
    for camera in ("corner", "free"):
        assert upright(picture, camera) is picture
    for shape in ((4, 32, 32), (32, 3), (32, 32, 1), ()):
        with pytest.raises(ValueError, match=r"images must have shape \(..., height, width, 3\), got \("):
            upright(np.zeros(shape), "corner2")
    with pytest.raises(ValueError, match="no camera 'corner5'; available: topview, corner"):
        upright(picture, "corner5")


def test_floats_are_scaled():
    images = np.linspace(0, 1, 8 * 8 * 3, dtype=np.float32).reshape(1, 8, 8, 3)
    np.testing.assert_array_equal(tiled(images), np.rint(255 * images[0]).astype(np.uint8))
    assert labelled(images[0], "").max() == 255


@pytest.mark.parametrize("images", [np.full((2, 8, 8, 3), x) for x in (-0.5, 1.5, np.nan, 256, -1, "a", True)])
def test_other_numbers_are_refused(images):
    for ask in (lambda: tiled(images), lambda: labelled(images[0], ""), lambda: write_png("none.png", images[0])):
        with pytest.raises(ValueError, match=r"pictures .*0\.\.(255|1)"):
            ask()


def test_nothing_is_no_sheet():
    for images in ([], np.zeros((0, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"images must have shape \(n, height, width, 3\), got \("):
            tiled(images)
    with pytest.raises(ValueError, match="columns must be a positive integer, got 0"):
        tiled(np.stack(FRAMES), columns=0)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_what_is_no_video_is_refused(tmp_path, suffix):
    path = tmp_path / "new" / f"film{suffix}"
    for rate in (0, -5, np.nan, np.inf, "fast", None):
        with pytest.raises(ValueError, match="rate must be a finite number > 0, got"):
            write_video(path, FRAMES, rate)
    with pytest.raises(ValueError, match=r"frames of one shape, \(height, width, 3\), got no frame"):
        write_video(path, [], 20)
    with pytest.raises(ValueError, match=r"frames of one shape, .* got \[\(8, 8, 3\), \(4, 8, 3\)\]"):
        write_video(path, [FRAMES[0], FRAMES[0][:4]], 20)
    with pytest.raises(ValueError, match=r"frames must have shape \(height, width, 3\), got \(8, 8\)"):
        write_video(path, [FRAMES[0][..., 0]], 20)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("rate", "durations"),
    [(20, [50] * 4), (30, [30, 40, 30, 30]), (50, [20] * 4), (150, [20] * 4), (1e-4, [655350] * 4)],
)
def test_every_frame_of_a_gif_has_a_duration(tmp_path, rate, durations):
    path = tmp_path / "film.gif"
    write_video(str(path), FRAMES, rate)
    with Image.open(path) as film:
        held = []
        for i in range(film.n_frames):
            film.seek(i)
            held.append(film.info.get("duration"))
    assert held == durations


def test_paths_may_be_texts(tmp_path):
    write_png(str(tmp_path / "new" / "picture.png"), FRAMES[1])
    np.testing.assert_array_equal(Image.open(tmp_path / "new" / "picture.png"), FRAMES[1])
