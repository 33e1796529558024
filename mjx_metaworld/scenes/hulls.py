"""The convex hulls of the meshes that collide, as tables for fast support functions.

Sixteen meshes collide in the 36 scenes; their hulls have 8 to 883 vertices. The support function of a hull asks for
the vertex furthest along a direction. Directions are sorted into the cells of a grid on the faces of a cube, and for
every cell the table lists the few vertices that can be furthest there, so that one evaluation looks at `CANDIDATES`
vertices, whatever the size of the hull. Where a cell has more (around the normal of a round flat face) those that
matter most are kept; `HullTable.error` says what that costs.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.scenes.catalog import find_scene, load_scene

CANDIDATES = 12

# One scene for every colliding mesh; meshes of the same name are equal in all scenes.
_SOURCES: dict[str, tuple[str, ...]] = {
    "sawyer_box": ("eGripperBase", "boxtop", "boxhandle"),
    "sawyer_handle_press": ("handle_press_col1", "handle_press_col2", "handle_press_col3"),
    "sawyer_plate_slide": ("net1_col", "net2_col", "net3_col", "net4_col"),
    "sawyer_soccer": ("goal_col1", "goal_col2", "goal_col3", "goal_col4"),
    "sawyer_stick_obj": ("therm_trim", "therm_cap"),
}
NAMES: tuple[str, ...] = tuple(name for names in _SOURCES.values() for name in names)

# Directions tested along each side of a cell when its candidates are collected.
_SAMPLES = 6


class HullTable(NamedTuple):
    """Support tables of the hulls in the order of `NAMES`, then a hull that is the single point at the origin.

    The cell of a direction d: the axis k of its largest component, the sign, and the components k + 1 and k + 2
    divided by the largest one, on a grid of `resolution` squares.
    """

    candidates: np.ndarray  # (rows, 3, CANDIDATES) vertices in the frame of a geom that shows the mesh
    first_row: np.ndarray  # (H + 1,) row of a hull's first cell
    resolution: np.ndarray  # (H + 1,) cells along a side of a cube face
    reach: np.ndarray  # (H + 1, 26) support along `CUBE_DIRECTIONS`
    error: np.ndarray  # (H + 1,) largest shortfall of the support in m over the tested directions


def cube_directions() -> np.ndarray:
    """(26, 3) unit vectors to the faces, edges and corners of a cube."""
    grid = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.abs(grid).sum(1) > 0]
    return grid / np.linalg.norm(grid, axis=1, keepdims=True)


@cache
def keep_hulls(file: str) -> tuple[np.ndarray, ...]:
    """The hulls that are taken from a scene, if any; they are kept, so ask while the scene itself still is."""
    if file not in _SOURCES:
        return ()
    model = load_scene(find_scene(file))
    return tuple(hull_vertices(model, model.mesh(name).id) for name in _SOURCES[file])


@lru_cache(maxsize=1)
def load_hulls() -> HullTable:
    """Read the hulls from the installed scenes and build their tables."""
    hulls = [vertices for file in _SOURCES for vertices in keep_hulls(file)]
    hulls.append(np.zeros((1, 3)))
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


def hull_vertices(model: mujoco.MjModel, mesh: int) -> np.ndarray:
    """Vertices (n, 3) of the convex hull that MuJoCo computed for a mesh."""
    start = model.mesh_graphadr[mesh]
    count = model.mesh_graph[start]
    # The graph holds: vertex count, face count, edge addresses (count), ids of the hull's vertices (count), edges.
    local = model.mesh_graph[start + 2 + count : start + 2 + 2 * count]
    return model.mesh_vert[model.mesh_vertadr[mesh] + local].astype(np.float64)


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
