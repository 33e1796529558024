"""Support tables of convex hulls, from the hulls' vertices; see `physics.collision.hull_support` for the look-up.

For every cell of directions a table lists the vertices that can be furthest there, at most `CANDIDATES`. Where a cell
has more (around the normal of a round flat face) those that matter most are kept; `HullTable.error` says what that
costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from mjx_metaworld.physics.collision.hull_support import CANDIDATES, HullTable, cube_directions
from mjx_metaworld.scenes.hulls import load_hulls

# Directions tested along each side of a cell when its candidates are collected.
_SAMPLES = 6


@cache
def metaworld_hulls() -> HullTable:
    """Build the table of all meshes that collide in Meta-World's scenes, in the order of `scenes.hulls.NAMES`."""
    return build_hulls(load_hulls())


def hulls_with(own: Sequence[np.ndarray]) -> HullTable:
    """Build the table of metaworld's meshes and of others behind them, from the vertices (n, 3) of these."""
    return build_hulls([*load_hulls(), *own]) if own else metaworld_hulls()


def build_hulls(hulls: Sequence[np.ndarray]) -> HullTable:
    """Build the table of hulls from their vertices (n, 3), m, in the frame of a geom that shows the mesh."""
    hulls = [*hulls, np.zeros((1, 3))]
    resolution = np.array([_resolution(len(vertices)) for vertices in hulls])
    built = [_build_cells(vertices, int(res)) for vertices, res in zip(hulls, resolution, strict=True)]
    rows = np.array([len(cells) for cells, _ in built])
    return HullTable(
        candidates=np.concatenate([cells for cells, _ in built]),
        first_row=np.cumsum(rows) - rows,
        resolution=resolution,
        reach=np.array([(cube_directions() @ vertices.T).max(1) for vertices in hulls]),
        error=np.array([error for _, error in built]),
    )


def _resolution(vertices: int) -> int:
    """Cells along a side, so that nearly no cell has more candidates than a row holds."""
    if vertices <= CANDIDATES:
        return 1
    return 4 if vertices <= 32 else 16


def _build_cells(vertices: np.ndarray, resolution: int) -> tuple[np.ndarray, float]:
    """Candidate vertices of every cell (6 resolution^2, 3, CANDIDATES), and the largest error of the support."""
    lines = np.linspace(-1.0, 1.0, resolution * _SAMPLES + 1)
    u, v = np.meshgrid(lines, lines, indexing="ij")
    cells, worst = [], 0.0
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        directions = np.zeros((*u.shape, 3))
        directions[..., axis] = sign
        directions[..., (axis + 1) % 3], directions[..., (axis + 2) % 3] = u, v
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        for i in range(resolution):
            for j in range(resolution):
                block = np.s_[i * _SAMPLES : (i + 1) * _SAMPLES + 1, j * _SAMPLES : (j + 1) * _SAMPLES + 1]
                chosen, error = _choose(vertices, directions[block].reshape(-1, 3))
                cells.append(vertices[chosen].T)
                worst = max(worst, error)
    return np.array(cells), worst


def _choose(vertices: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, float]:
    """Up to `CANDIDATES` vertices, repeated to that many, that reach furthest along the directions."""
    support = directions @ vertices.T
    full, furthest = support.max(1), support.argmax(1)
    chosen = [int(furthest[0])]
    reached = support[:, chosen[0]]
    while len(chosen) < CANDIDATES and (full > reached).any():
        chosen.append(int(furthest[(full - reached).argmax()]))
        reached = np.maximum(reached, support[:, chosen[-1]])
    return np.resize(chosen, CANDIDATES), float((full - reached).max())
