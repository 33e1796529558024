"""Support tables of convex hulls, from the hulls' vertices; see `physics.collision.hull_support` for the look-up.

For every cell of directions a table lists the vertices that can be furthest there, at most `CANDIDATES`. Where a cell
has more (around the normal of a round flat face) those that matter most are kept; `HullTable.error` says what that
costs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from mjx_metaworld.physics.collision.hull_support import CANDIDATES, HullTable, cube_directions
from mjx_metaworld.scenes.hulls import load_hulls

# Directions tested along each side of a cell when its candidates are collected.
_SAMPLES = 6
# Faces of a hull that are tried as directions of contact.
_FACES = 32
# A hull that is not metaworld's gets finer cells until its support is right to so many m, as metaworld's are.
_ERROR, _FINEST = 4e-5, 64


@cache
def metaworld_hulls() -> HullTable:
    """Build the table of all meshes that collide in Meta-World's scenes, in the order of `scenes.hulls.NAMES`."""
    return build_hulls(load_hulls())


def hulls_with(own: Sequence[np.ndarray]) -> HullTable:
    """Build the table of metaworld's meshes and of others behind them, from the vertices (n, 3) of these.

    Only where there are others are faces tried: metaworld's contacts are found without, and the 50 tasks stay as fast.
    """
    if not own:
        return metaworld_hulls()
    hulls = [*load_hulls(), *own]
    faces = np.zeros((len(hulls) + 1, _FACES, 3))
    for row, vertices in zip(faces, hulls, strict=False):
        normals = _faces_to_try(vertices)
        row[: len(normals)] = normals
    return dataclasses.replace(build_hulls(hulls, finer=len(load_hulls())), faces=faces)


def _faces_to_try(vertices: np.ndarray) -> np.ndarray:
    """Outward normals (at most `_FACES`, 3) of a hull's faces, spread out if it has more; none of flat hulls."""
    try:
        hull = ConvexHull(vertices)
    except QhullError:
        return np.zeros((0, 3))
    corners = vertices[hull.simplices]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    normals, face = np.unique(np.round(hull.equations[:, :3], 6), axis=0, return_inverse=True)  # triangles of one face
    total = np.bincount(face.reshape(-1), areas)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    chosen = [int(total.argmax())]
    while len(chosen) < min(_FACES, len(normals)):  # the one furthest from those that are chosen
        chosen.append(int((normals @ normals[chosen].T).max(1).argmin()))
    return normals[chosen]


def build_hulls(hulls: Sequence[np.ndarray], finer: int | None = None) -> HullTable:
    """Build the table of hulls from their vertices (n, 3), m, in the frame of a geom that shows the mesh.

    Those from number `finer` on get as fine cells as they need, and lose no vertex where a row has room for all.
    """
    hulls = [*hulls, np.zeros((1, 3))]
    resolution = np.array([_resolution(len(vertices)) for vertices in hulls])
    built = [_build_cells(vertices, int(res)) for vertices, res in zip(hulls, resolution, strict=True)]
    for i in range(len(hulls) if finer is None else finer, len(hulls)):
        if len(hulls[i]) <= CANDIDATES:  # no vertex is left out, however few directions it is furthest along
            built[i] = _all_in_every_cell(hulls[i]), 0.0
        while built[i][1] > _ERROR and resolution[i] < _FINEST:
            resolution[i] *= 2
            built[i] = _build_cells(hulls[i], int(resolution[i]))
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


def _all_in_every_cell(vertices: np.ndarray) -> np.ndarray:
    """Candidates of the 6 cells of resolution 1: all vertices (at most `CANDIDATES`, 3), repeated to that many."""
    return np.tile(np.resize(vertices, (CANDIDATES, 3)).T, (6, 1, 1))


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
