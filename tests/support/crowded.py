"""Scenes of one's own where more pairs touch than the engine has slots for by default."""

from __future__ import annotations

from pathlib import Path

from mjx_metaworld.scenes.catalog import SceneSpec
from support.scene_files import scene_text

_BRUSH = """
    <body name="brush" pos="0 0.6 0.03">
      <freejoint/>
      <inertial pos="0 0 0" mass="0.05" diaginertia="2e-5 2e-5 2e-5"/>{}
    </body>"""


def brush(folder: Path, rows: int, columns: int = 4) -> SceneSpec:
    """A free body that stands on so many small boxes, 12 mm apart."""
    places = [(x - (rows - 1) / 2, y - (columns - 1) / 2) for x in range(rows) for y in range(columns)]
    boxes = "".join(
        f'<geom type="box" size="0.004 0.004 0.01" pos="{0.012 * x:.3f} {0.012 * y:.3f} -0.01"/>' for x, y in places
    )
    path = folder / f"brush{rows}x{columns}.xml"
    path.write_text(scene_text(_BRUSH.format(boxes)))
    return SceneSpec(path)
