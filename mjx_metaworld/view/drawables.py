"""The visible geoms of a scene as triangles by body, which a page draws once and then only moves.

What is drawn, and how it looks, is read from the tables that the cameras in compiled programs draw from.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics.model import WORLD
from mjx_metaworld.rendering.render import CAMERAS
from mjx_metaworld.rendering.tables import SITE, DrawTables, build_draw_tables
from mjx_metaworld.rendering.textures import TextureTable
from mjx_metaworld.scenes.catalog import SceneSpec
from mjx_metaworld.view.solids import Triangles, solid

_LARGEST_TEXTURE = 512  # pixels a side that a page is given; the tables have half-size copies of what is larger


class Part(NamedTuple):
    """Triangles of one look on one body, in the body's frame."""

    triangles: Triangles
    uv: np.ndarray | None  # (n, 3, 2) texture coordinates of the corners, v downwards; None without a texture
    rgba: np.ndarray  # (4,) as displayed, multiplied with the texture
    image: np.ndarray | None  # (height, width, 3) uint8


class Drawable(NamedTuple):
    """All that moves together."""

    body: int  # of the skeleton
    parts: tuple[Part, ...]


class SceneDrawables(NamedTuple):
    """A scene to be drawn."""

    bodies: tuple[Drawable, ...]  # without the floor, which scenes side by side share
    floor: Drawable | None
    goal: Drawable | None  # what marks it, about the mark's own place


def scene_drawables(spec: SceneSpec, goal_site: int) -> SceneDrawables:
    """Read a scene.

    Args:
        spec: the scene.
        goal_site: id of the site that marks the goal, which moves by itself; -1 for none.

    Raises:
        ValueError: if a scene holds what cannot be drawn, see `build_draw_tables`.
    """
    tables = build_draw_tables((spec,), CAMERAS)
    slots = tables.slots
    bodies: dict[int, list[Part]] = {}
    floor: list[Part] = []
    goal = None
    for slot in np.flatnonzero(slots.kind[0] >= 0):
        parts = _parts(tables, int(slot))
        kind, body, geom = int(slots.kind[0, slot]), int(slots.body[0, slot]), int(slots.geom[0, slot])
        if goal_site >= 0 and geom == SITE - goal_site:
            turned = _placed(tables, int(slot), parts, about_itself=True)
            goal = Drawable(body, tuple(turned))
        elif kind == mujoco.mjtGeom.mjGEOM_PLANE and body == WORLD:
            floor += _placed(tables, int(slot), parts)
        else:
            bodies.setdefault(body, []).extend(_placed(tables, int(slot), parts))
    drawn = tuple(Drawable(body, tuple(parts)) for body, parts in sorted(bodies.items()))
    return SceneDrawables(drawn, Drawable(WORLD, tuple(floor)) if floor else None, goal)


def _placed(tables: DrawTables, slot: int, parts: list[Part], *, about_itself: bool = False) -> list[Part]:
    pos, mat = tables.slots.pos[0, slot], tables.slots.mat[0, slot]
    pos = np.zeros(3) if about_itself else pos
    return [part._replace(triangles=part.triangles.moved(pos, mat)) for part in parts]


def _parts(tables: DrawTables, slot: int) -> list[Part]:
    """A slot in its own frame: one part, or one a side of its texture where the sides differ."""
    slots = tables.slots
    triangles = _triangles(tables, slot)
    rgba, texture = slots.rgba[0, slot], int(slots.texture[0, slot])
    if texture < 0:
        return [Part(triangles, None, rgba, None)]
    images = _images(tables.textures, texture)
    if tables.textures.cube[texture] == 0:
        u, v = (triangles.corners[..., :2] * 0.5 * slots.scale[0, slot, :2] * (1.0, -1.0)).swapaxes(0, -1)
        return [Part(triangles, np.stack([u.T, v.T], axis=-1), rgba, images[0])]
    side, uv = _onto_cube(triangles)
    if len(images) == 1:
        return [Part(triangles, uv, rgba, images[0])]
    return [
        Part(Triangles(*(x[side == i] for x in triangles)), uv[side == i], rgba, image)
        for i, image in enumerate(images)
        if np.any(side == i)
    ]


def _triangles(tables: DrawTables, slot: int) -> Triangles:
    mesh = int(tables.slots.mesh[0, slot])
    if mesh < 0:
        return solid(int(tables.slots.kind[0, slot]), tables.slots.size[0, slot])
    faces, first = tables.meshes.faces[mesh], int(tables.meshes.first[mesh])
    return Triangles(tables.meshes.vertices[mesh][faces], tables.meshes.normals[first : first + len(faces)])


def _onto_cube(triangles: Triangles) -> tuple[np.ndarray, np.ndarray]:
    """Sides of the cube (right, left, up, down, front, back of OpenGL) that triangles face, and their coordinates.

    OpenGL looks a cube up by direction from the centre, which bends within a triangle; this is straight, and the same
    for boxes.
    """
    corners = triangles.corners
    low, high = corners.min((0, 1)), corners.max((0, 1))
    unit = (corners - (low + high) / 2) / np.maximum((high - low) / 2, 1e-9)
    facing = triangles.normals.mean(1)
    axis = np.argmax(np.abs(facing), axis=-1)
    positive = np.take_along_axis(facing, axis[:, None], -1)[:, 0] > 0
    side = 2 * axis + ~positive
    # By side: the axes that run to the right and down the image, and their signs.
    right = np.array([[2, -1], [2, 1], [0, 1], [0, 1], [0, 1], [0, -1]])[side]
    down = np.array([[1, -1], [1, -1], [2, 1], [2, -1], [1, -1], [1, -1]])[side]
    u, v = (np.take_along_axis(unit, to[:, None, :1], -1)[..., 0] * to[:, 1:] for to in (right, down))
    return side, np.stack([u, v], axis=-1) * 0.5 + 0.5


def _images(textures: TextureTable, texture: int) -> list[np.ndarray]:
    """The sides of a texture, or its only image, at the largest size that a page is given."""
    level = 0
    while max(textures.width[texture], textures.height[texture]) >> level > _LARGEST_TEXTURE:
        level += 1
    width, height = (-(-int(size[texture]) // 2**level) for size in (textures.width, textures.height))
    count = max(int(textures.cube[texture]), 1)
    first = int(textures.level[texture, level])
    return list(textures.pixels[first : first + count * height * width].reshape(count, height, width, 3))
