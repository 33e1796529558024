"""Contact positions that MuJoCo C chooses for a cylinder that stands on a box, by tilt and by tolerance.

A cylinder that leans by a small angle touches at the lowest point of its rim. MuJoCo's convex routine ends at the first
point of its polytope that is within `opt.ccd_tolerance` of the deepest, which may lie elsewhere on the rim, or on a
chord of it.

Usage: python -m benchmarks.standing_cylinder [--document docs/known_differences.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.cli.markdown import rewrite_section

_RADIUS, _HALF, _DEPTH = 0.02, 0.02, 6e-4  # m: a puck on the table, as deep as it stands
_XML = f"""
<mujoco>
  <worldbody>
    <geom type="box" size="0.7 0.4 0.02" pos="0 0.6 -0.02"/>
    <body><freejoint/><geom type="cylinder" size="{_RADIUS} {_HALF}" mass="0.1"/></body>
  </worldbody>
</mujoco>
"""
_TILTS = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2)
TOLERANCES = (1e-6, 1e-8, 1e-10)
_PLACES = 400
_NUDGE = 1e-8  # m and of the quaternion, about what rounding to float32 does


class Choice(NamedTuple):
    """Contacts of one tilt at one tolerance, one entry a place of the cylinder."""

    angle: np.ndarray  # (n,) degrees around the axis from the lowest point of the rim
    missing: np.ndarray  # (n,) m by which the reported depth falls short of that point's
    moved: np.ndarray  # (n,) m by which the position moves when the state is nudged


def measure(tilt: float, tolerance: float, places: int = _PLACES) -> Choice:
    """Lean the cylinder by an angle (radians) at random places and headings, and read MuJoCo's contact."""
    model = mujoco.MjModel.from_xml_string(_XML)
    model.opt.ccd_tolerance, model.opt.ccd_iterations = tolerance, 200
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    choices = []
    for _ in range(places):
        heading = rng.uniform(0.0, 2.0 * np.pi)
        axis = np.array([np.cos(heading), np.sin(heading), 0.0])
        place = [rng.uniform(-0.1, 0.1), rng.uniform(0.5, 0.7), _HALF - _DEPTH]
        pose = np.concatenate([place, [np.cos(tilt / 2)], np.sin(tilt / 2) * axis])
        first, second = (_contact(model, data, p) for p in (pose, pose + _NUDGE * rng.uniform(-1.0, 1.0, 7)))
        choices.append([*first[:2], np.linalg.norm(first[2] - second[2])])
    return Choice(*np.transpose(choices))


def _contact(model: mujoco.MjModel, data: mujoco.MjData, pose: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Angle and missing depth of the contact, and its position in the cylinder's frame."""
    data.qpos[:] = pose
    mujoco.mj_fwdPosition(model, data)
    (contact,) = data.contact
    mat, pos = data.geom_xmat[1].reshape(3, 3), data.geom_xpos[1]
    found = mat.T @ (contact.pos - pos)
    lowest = -mat[2, :2] / np.linalg.norm(mat[2, :2]) * _RADIUS
    angle = np.arctan2(found[0] * lowest[1] - found[1] * lowest[0], found[:2] @ lowest)
    depth = -(pos[2] + mat[2] @ np.append(lowest, -_HALF))
    return float(np.degrees(abs(angle))), float(depth + contact.dist), found


def markdown() -> str:
    """Table of all tilts and tolerances."""
    lines = [
        "| tilt, rad | tolerance, m | from the lowest point: median | 99 % | depth missing, m | moved by a nudge, m |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for tilt in _TILTS:
        for tolerance in TOLERANCES:
            c = measure(tilt, tolerance)
            angles = f"{np.median(c.angle):.1f}° | {np.quantile(c.angle, 0.99):.1f}°"
            lines.append(
                f"| {tilt:.0e} | {tolerance:.0e} | {angles} | {c.missing.max():.0e} | {np.median(c.moved):.0e} |"
            )
    lines += [
        "",
        f"A cylinder of {100 * _RADIUS:.0f} cm on a box, {_PLACES} places and headings; the angle is around its axis, "
        f"the depth missing the largest, the nudge {_NUDGE:.0e} of each number of the pose. "
        f"MuJoCo {mujoco.__version__}; `python -m benchmarks.standing_cylinder` wrote this.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=None)
    args = parser.parse_args()
    table = markdown()
    print(table)
    if args.document is not None:
        rewrite_section(args.document, "standing", table)


if __name__ == "__main__":
    main()
