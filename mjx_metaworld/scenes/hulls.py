"""The convex hulls of the meshes that collide, reduced to a common number of vertices.

Sixteen meshes collide in the 36 scenes. Only the robot's `eGripperBase` (883 hull vertices), the parts of the
thermos (193, 192) and the handle of the box (122) have more vertices than a row of the table; they are reduced by
greedily adding the vertex that sticks out most. `reduction_error` says what that costs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.scenes.catalog import find_scene, load_scene

NUM_VERTICES = 64

# One scene for every colliding mesh; meshes of the same name are equal in all scenes.
_SOURCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sawyer_box", ("eGripperBase", "boxtop", "boxhandle")),
    ("sawyer_handle_press", ("handle_press_col1", "handle_press_col2", "handle_press_col3")),
    ("sawyer_plate_slide", ("net1_col", "net2_col", "net3_col", "net4_col")),
    ("sawyer_soccer", ("goal_col1", "goal_col2", "goal_col3", "goal_col4")),
    ("sawyer_stick_obj", ("therm_trim", "therm_cap")),
)
NAMES: tuple[str, ...] = tuple(name for _, names in _SOURCES for name in names)


class HullTable(NamedTuple):
    """Hulls of the meshes in the order of `NAMES`, in the frame of a geom that shows the mesh."""

    vertices: np.ndarray  # (H, V, 3); short rows repeat their first vertex
    error: np.ndarray  # (H,) largest distance in m from the full hull to the reduced one


@lru_cache(maxsize=1)
def load_hulls() -> HullTable:
    """Read the hulls from the installed scenes and reduce them to `NUM_VERTICES` vertices."""
    vertices, errors = [], []
    for file, names in _SOURCES:
        model = load_scene(find_scene(file))
        for name in names:
            full = hull_vertices(model, model.mesh(name).id)
            kept = reduce_hull(full, NUM_VERTICES)
            errors.append(reduction_error(full, kept))
            vertices.append(np.concatenate([kept, np.repeat(kept[:1], NUM_VERTICES - len(kept), axis=0)]))
    return HullTable(np.array(vertices), np.array(errors))


def hull_vertices(model: mujoco.MjModel, mesh: int) -> np.ndarray:
    """Vertices (n, 3) of the convex hull that MuJoCo computed for a mesh."""
    start = model.mesh_graphadr[mesh]
    count = model.mesh_graph[start]
    # The graph holds: vertex count, face count, edge addresses (count), ids of the hull's vertices (count), edges.
    local = model.mesh_graph[start + 2 + count : start + 2 + 2 * count]
    return model.mesh_vert[model.mesh_vertadr[mesh] + local].astype(np.float64)


def reduce_hull(vertices: np.ndarray, count: int) -> np.ndarray:
    """Choose `count` of the vertices (n, 3) so that the hull of the choice reaches nearly as far in all directions."""
    if len(vertices) <= count:
        return vertices
    support = _directions() @ vertices.T
    full, furthest = support.max(1), support.argmax(1)
    chosen = [int(furthest[0])]
    reached = support[:, chosen[0]]
    while len(chosen) < count:
        worst = int((full - reached).argmax())
        chosen.append(int(furthest[worst]))
        reached = np.maximum(reached, support[:, chosen[-1]])
    return vertices[chosen]


def reduction_error(full: np.ndarray, reduced: np.ndarray) -> float:
    """Largest shortfall in m of the reduced hull's support over all directions."""
    directions = _directions()
    return float(((directions @ full.T).max(1) - (directions @ reduced.T).max(1)).max())


@lru_cache(maxsize=1)
def _directions() -> np.ndarray:
    """(8000, 3) unit vectors spread evenly over the sphere (a Fibonacci lattice)."""
    count = 8000
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
