"""The convex hulls of the meshes that collide.

Sixteen meshes collide in the 36 scenes; their hulls have 8 to 883 vertices.
"""

from __future__ import annotations

from functools import cache

import mujoco
import numpy as np

from mjx_metaworld.scenes.catalog import find_scene, load_scene

# One scene for every colliding mesh; meshes of the same name are equal in all scenes.
_SOURCES: dict[str, tuple[str, ...]] = {
    "sawyer_box": ("eGripperBase", "boxtop", "boxhandle"),
    "sawyer_handle_press": ("handle_press_col1", "handle_press_col2", "handle_press_col3"),
    "sawyer_plate_slide": ("net1_col", "net2_col", "net3_col", "net4_col"),
    "sawyer_soccer": ("goal_col1", "goal_col2", "goal_col3", "goal_col4"),
    "sawyer_stick_obj": ("therm_trim", "therm_cap"),
}
NAMES: tuple[str, ...] = tuple(name for names in _SOURCES.values() for name in names)


@cache
def keep_hulls(file: str) -> tuple[np.ndarray, ...]:
    """The hulls that are taken from a scene, if any; they are kept, so ask while the scene itself still is."""
    if file not in _SOURCES:
        return ()
    model = load_scene(find_scene(file))
    return tuple(hull_vertices(model, model.mesh(name).id) for name in _SOURCES[file])


def load_hulls() -> tuple[np.ndarray, ...]:
    """Read the hulls' vertices (n, 3) from the installed scenes, in the order of `NAMES`."""
    return tuple(vertices for file in _SOURCES for vertices in keep_hulls(file))


def is_metaworlds(model: mujoco.MjModel, mesh: int) -> bool:
    """True if a mesh is the one of its name that collides in metaworld's scenes."""
    name = model.mesh(mesh).name
    if name not in NAMES:
        return False
    own, needed = hull_vertices(model, mesh), load_hulls()[NAMES.index(name)]
    return own.shape == needed.shape and np.allclose(own, needed, rtol=0.0, atol=1e-9)  # rounding of one compilation


def hull_vertices(model: mujoco.MjModel, mesh: int) -> np.ndarray:
    """Vertices (n, 3) of the convex hull that MuJoCo computed for a mesh."""
    start = model.mesh_graphadr[mesh]
    count = model.mesh_graph[start]
    # The graph holds: vertex count, face count, edge addresses (count), ids of the hull's vertices (count), edges.
    local = model.mesh_graph[start + 2 + count : start + 2 + 2 * count]
    return model.mesh_vert[model.mesh_vertadr[mesh] + local].astype(np.float64)
