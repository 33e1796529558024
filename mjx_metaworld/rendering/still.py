"""Cameras that stand still, and the pictures of what never moves that they share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mjx_metaworld.rendering.tables import DrawTables


class StillCameras(NamedTuple):
    """World poses of cameras, (scenes, views) and what each has."""

    still: np.ndarray  # bool: whether it never moves; else the rest means nothing
    pos: np.ndarray  # (3,)
    mat: np.ndarray  # (3, 3)
    focal: np.ndarray  # pixels

    def layers(self, tables: DrawTables) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Number the distinct pictures of what never moves: (scenes, views) int32, -1 for none, and a source of each.

        Scenes that have the same there share a picture; most differ in what moves alone. A layer tells slots, so the
        same slots have to hold the same.
        """
        index = np.full(self.still.shape, -1, np.int32)
        numbers: dict[bytes, int] = {}
        sources = []
        parts = [*tables.slots, *tables.lights, *tables.view]
        fixed = tables.fixed
        for scene, view in zip(*np.nonzero(self.still), strict=True):
            shown = [np.where(_wide(fixed[scene], x[scene]), x[scene], 0).tobytes() for x in tables.slots]
            around = [x[scene].tobytes() for x in parts[len(tables.slots) :]]
            camera = [x[scene, view].tobytes() for x in (self.pos, self.mat, self.focal)]
            key = b"".join([fixed[scene].tobytes(), *shown, *around, *camera])
            if key not in numbers:
                numbers[key] = len(sources)
                sources.append((int(scene), int(view)))
            index[scene, view] = numbers[key]
        return index, sources


def _wide(flags: np.ndarray, values: np.ndarray) -> np.ndarray:
    return flags.reshape(-1, *[1] * (values.ndim - 1))
