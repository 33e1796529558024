"""Spheres against spheres, capsules, cylinders and boxes (MuJoCo's analytic routines, one point)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape

Array = jax.Array

_CYLINDER, _BOX = int(mujoco.mjtGeom.mjGEOM_CYLINDER), int(mujoco.mjtGeom.mjGEOM_BOX)
_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)


def collide_spheres(sphere: Shape, other: Shape) -> Points:
    """Contact of world-frame spheres with shapes of any of the four types, one point a slot."""
    radius = sphere.size[0]
    local = spatial.rotate_back(other.mat, sphere.pos - other.pos)
    segment = jnp.where(other.type == _CAPSULE, other.size[1], 0.0)
    dist, normal = _to_segment(local, segment, other.size[0])
    for kind, routine in ((_CYLINDER, _to_cylinder), (_BOX, _to_box)):
        kind_dist, kind_normal = routine(local, other.size)
        dist = jnp.where(other.type == kind, kind_dist, dist)
        normal = jnp.where(other.type == kind, kind_normal, normal)
    dist = dist - radius
    normal = spatial.rotate(other.mat, normal)
    pos = sphere.pos + normal * (radius + 0.5 * dist)
    return Points(dist[None], pos[:, None], normal[:, None])


def sphere_box(center: Array, radius: Array, size: Array) -> tuple[Array, Array]:
    """Distance and normal (towards the box) of spheres at `center` (3, ...) in the frame of a box, as in MuJoCo."""
    dist, normal = _to_box(center, size)
    return dist - radius, normal


def _to_segment(point: Array, half: Array, radius: Array) -> tuple[Array, Array]:
    """Signed distance of a point to a capsule along z, and the direction to it."""
    nearest_z = jnp.clip(point[2], -half, half)
    offset = jnp.stack([-point[0], -point[1], nearest_z - point[2]])
    length = spatial.norm(offset)
    fallback = jnp.zeros_like(offset).at[0].set(1.0)
    return length - radius, jnp.where(length > 0, offset / jnp.where(length > 0, length, 1.0), fallback)


def _to_cylinder(point: Array, size: Array) -> tuple[Array, Array]:
    """Signed distance of a point to a cylinder along z, and the direction to it."""
    radius, half = size[0], size[1]
    r = spatial.sqrt(point[0] ** 2 + point[1] ** 2)
    safe_r = jnp.where(r > 0, r, 1.0)
    inward = jnp.stack([-point[0] / safe_r, -point[1] / safe_r, jnp.zeros_like(r)])
    sign = jnp.where(point[2] > 0, 1.0, -1.0)
    down = jnp.stack([jnp.zeros_like(r), jnp.zeros_like(r), -sign])
    to_side, to_cap = r - radius, jnp.abs(point[2]) - half
    # Inside, the nearer surface; outside, the only one that the point lies over, or the rim.
    side = (to_cap < 0) & ((to_side >= 0) | (to_cap <= to_side))
    cap = (to_side < 0) & ~side
    rim = spatial.sqrt(jnp.maximum(to_side, 0.0) ** 2 + jnp.maximum(to_cap, 0.0) ** 2)
    safe_rim = jnp.where(rim > 0, rim, 1.0)
    corner = (inward * jnp.maximum(to_side, 0.0) + down * jnp.maximum(to_cap, 0.0)) / safe_rim
    dist = jnp.where(side, to_side, jnp.where(cap, to_cap, rim))
    return dist, jnp.where(side, inward, jnp.where(cap, down, corner))


def _to_box(point: Array, size: Array) -> tuple[Array, Array]:
    """Signed distance of a point to a box, and the direction to it (inside: towards the nearest face's inside)."""
    offset = jnp.clip(point, -size, size) - point
    length = spatial.norm(offset)
    inside = length <= 0
    depth = size - jnp.abs(point)
    first = (depth[0] <= depth[1]) & (depth[0] <= depth[2])
    second = ~first & (depth[1] <= depth[2])
    nearest = jnp.stack([first, second, ~first & ~second])
    inward = jnp.where(nearest, jnp.where(point >= 0, -1.0, 1.0), 0.0)
    closest = jnp.min(depth, axis=0)
    dist = jnp.where(inside, -closest, length)
    return dist, jnp.where(inside, inward, offset / jnp.where(inside, 1.0, length))
