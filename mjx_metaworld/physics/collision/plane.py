"""Planes against everything: the floor, which only a free body that falls off the table reaches.

As MuJoCo's routines, with two simplifications: of a box's corners the lower one of each opposite two is taken (MuJoCo
tests all eight and keeps those below the centre, the same four), of a mesh only the lowest vertex (MuJoCo adds up to
two of its neighbours).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.hull_support import Hulls, HullTable, furthest_vertex
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape

Array = jax.Array

_SPHERE, _CAPSULE, _CYLINDER, _BOX = (
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_BOX),
)
# One corner of each pair of opposite corners of a box.
_CORNERS = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]], float)


def collide_planes(plane: Shape, other: Shape, hulls: HullTable) -> Points:
    """Contact of world-frame planes with any shape, up to four points a slot."""
    normal = plane.mat[:, 2]
    down = -spatial.rotate_back(other.mat, normal)  # the plane's normal, reversed, in the shape's frame
    height = spatial.dot(normal, other.pos - plane.pos)

    lowest = _box_points(down, other.size)
    exists = jnp.ones(lowest.shape[1:], bool)
    for kind, routine in ((_SPHERE, _sphere_points), (_CAPSULE, _capsule_points), (_CYLINDER, _cylinder_points)):
        points, count = routine(down, other.size)
        lowest = jnp.where(other.type == kind, points, lowest)
        exists = jnp.where(other.type == kind, count, exists)
    vertex = furthest_vertex(Hulls.of(hulls, other.type, other.hull), down)
    is_mesh = other.type > _BOX
    lowest = jnp.where(is_mesh, vertex[:, None], lowest)
    exists = jnp.where(is_mesh, _first(exists), exists)

    dist = height - jnp.sum(down[:, None] * lowest, axis=0)
    pos = other.pos[:, None] + spatial.rotate(other.mat[:, :, None], lowest) - 0.5 * dist * normal[:, None]
    return Points(jnp.where(exists, dist, NO_CONTACT), pos, normal[:, None])


def _first(like: Array) -> Array:
    """True for the first point only."""
    return jnp.broadcast_to((jnp.arange(like.shape[0]) == 0)[:, None, None], like.shape)


def _box_points(down: Array, size: Array) -> Array:
    corners = jnp.asarray(_CORNERS.T, size.dtype)[:, :, None, None] * size[:, None]
    lower = jnp.sum(corners * down[:, None], axis=0) >= 0
    return jnp.where(lower, corners, -corners)


def _sphere_points(down: Array, size: Array) -> tuple[Array, Array]:
    points = jnp.broadcast_to((down * size[0])[:, None], (3, 4, *size.shape[1:]))
    return points, _first(points[0])


def _capsule_points(down: Array, size: Array) -> tuple[Array, Array]:
    signs = jnp.array([1.0, -1.0, 0.0, 0.0], size.dtype)[:, None, None]
    points = jnp.broadcast_to((down * size[0])[:, None], (3, 4, *size.shape[1:]))
    return points.at[2].add(signs * size[1]), jnp.broadcast_to(signs != 0, points.shape[1:])


def _cylinder_points(down: Array, size: Array) -> tuple[Array, Array]:
    """The rim's lowest point, the one opposite along the axis, and two that complete a triangle on the lower cap."""
    radius, half = size[0], size[1]
    sign = jnp.where(down[2] >= 0, 1.0, -1.0)
    across = spatial.sqrt(down[0] ** 2 + down[1] ** 2)
    tilted = across > 1e-6  # below float32's resolution of a direction MuJoCo's own choice, the x axis, serves as well
    x = jnp.where(tilted, down[0] / jnp.where(tilted, across, 1.0), 1.0) * radius
    y = jnp.where(tilted, down[1] / jnp.where(tilted, across, 1.0), 0.0) * radius
    low = sign * half
    side = np.sqrt(3.0) / 2
    points = jnp.stack(
        [
            jnp.stack([x, x, -0.5 * x - side * y, -0.5 * x + side * y]),
            jnp.stack([y, y, -0.5 * y + side * x, -0.5 * y - side * x]),
            jnp.stack([low, -low, low, low]),
        ]
    )
    return points, jnp.ones(points.shape[1:], bool)
