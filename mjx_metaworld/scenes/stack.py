"""Scenes as one pytree: built from the catalogue, stacked along a scene axis, gathered by index per environment."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np

from mjx_metaworld.physics.model import Scene
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.colliders import own_meshes, project_colliders, stack_colliders
from mjx_metaworld.scenes.hulls import NAMES as HULL_NAMES
from mjx_metaworld.scenes.hulls import hull_vertices
from mjx_metaworld.scenes.project import GRAVITY, project


def own_hulls(spec: SceneSpec) -> tuple[np.ndarray, ...]:
    """Vertices (n, 3) of the hulls of a scene's meshes that can touch something and are not metaworld's."""
    if spec.own is None:
        return ()
    model = load_scene(spec)
    return tuple(hull_vertices(model, mesh) for mesh in own_meshes(model, map_bodies(model, spec.prop)))


@functools.lru_cache(maxsize=64)  # which pairs can touch takes a tenth of a second a scene to find out
def build_scene(spec: SceneSpec, main_geom: str | None, first_hull: int = len(HULL_NAMES)) -> Scene:
    """Load a scene and project it onto the skeleton (numpy leaves, which callers share and must not write to).

    Args:
        spec: the scene.
        main_geom: the geom of the task's main object, whose contact with the pads counts as touching; None when the
            task does not ask.
        first_hull: row of the hull table of the first of `own_hulls`.
    """
    model = load_scene(spec)
    body_map = map_bodies(model, spec.prop)
    meshes = () if spec.own is None else own_meshes(model, body_map)
    hull_rows = {mesh: first_hull + i for i, mesh in enumerate(meshes)}
    return project(model, body_map, *project_colliders(model, body_map, main_geom, hull_rows))


def stack_scenes(scenes: Sequence[Scene]) -> Scene:
    """One `Scene` with a leading scene axis; tables are padded to the longest with rows that have no effect."""
    colliders, pairs = stack_colliders([(scene.colliders, scene.pairs) for scene in scenes])
    bare = [scene.replace(colliders=None, pairs=None) for scene in scenes]
    if all(
        np.array_equal(np.asarray(scene.gravity), GRAVITY) for scene in scenes
    ):  # then it is a constant of the program
        bare = [scene.replace(gravity=None) for scene in bare]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *bare).replace(colliders=colliders, pairs=pairs)
