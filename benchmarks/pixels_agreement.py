"""Agreement of the device's pictures with MuJoCo's OpenGL pictures; prints a Markdown table.

Every task is drawn after its reset and after 40 steps of its expert, from every camera, by `mw.camera` and by
`mw.render` through OpenGL. PSNR and SSIM are of colours; depth and geoms are of the pixels' centres.

Usage: python -m benchmarks.pixels_agreement [--tasks MT50] [--sizes 128 480] [--cameras corner2 ...] [--kinematic]
    [--document docs/guides/pixels.md] [--sheet docs/guides/pixels.png]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import mujoco
import numpy as np

import mjx_metaworld as mw
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.parity.pixels import Shot, compare_pixels, markdown
from mjx_metaworld.rendering.images import labelled, tiled, write_png
from mjx_metaworld.rendering.render import CAMERAS
from mjx_metaworld.testing import KinematicEngine

_SHEET_TASKS = ("pick-place-v3", "window-open-v3", "coffee-button-v3", "hammer-v3")
_GAIN = 4  # of the differences in the sheet


def write_sheet(path: Path, shots: list[Shot]) -> None:
    """Three columns a task: the device's picture, OpenGL's, and four times their difference; a row a camera."""
    cells = []
    for shot in sorted(shots, key=lambda shot: CAMERAS.index(shot.agreement.camera)):
        difference = np.abs(shot.device.astype(int) - shot.opengl) * _GAIN
        cells += [
            labelled(shot.device, shot.agreement.camera),
            labelled(shot.opengl, "OpenGL"),
            labelled(np.minimum(difference, 255).astype(np.uint8), f"{_GAIN} x difference"),
        ]
    columns = 3 * len({shot.agreement.task for shot in shots})
    write_png(path, tiled(np.stack(cells), columns=columns))


def main() -> None:
    """Draw, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["MT50"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 480])
    parser.add_argument("--cameras", nargs="+", default=list(CAMERAS))
    parser.add_argument("--num-steps", type=int, default=40)
    parser.add_argument("--kinematic", action="store_true", help="without dynamics: the arm stays as it was reset")
    parser.add_argument("--document", type=Path, default=None)
    parser.add_argument("--sheet", type=Path, default=None)
    args = parser.parse_args()

    shots: list[Shot] = []

    def keep(shot: Shot) -> None:
        told = shot.agreement
        if told.size == min(args.sizes) and told.moment != "reset" and told.task in _SHEET_TASKS:
            shots.append(shot)

    begin = time.monotonic()
    env = mw.make(args.tasks, engine=KinematicEngine if args.kinematic else None)
    agreements = compare_pixels(
        args.tasks, sizes=args.sizes, cameras=args.cameras, num_steps=args.num_steps, env=env, on_shot=keep
    )
    table = markdown(agreements)
    after = "the arm moved as one piece" if args.kinematic else f"{args.num_steps} steps of its expert"
    table += (
        f"\n\n{len(env.tasks)} tasks, each after its reset and after {after}; MuJoCo {mujoco.__version__}, "
        f"{time.monotonic() - begin:.0f} s. `python -m benchmarks.pixels_agreement` wrote this."
    )
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "pixels", table)
    if args.sheet is not None and shots:
        write_sheet(args.sheet, shots)


if __name__ == "__main__":
    main()
