"""Capsules against boxes (up to two points) and capsules (one), as MuJoCo's routines.

MuJoCo finds the point of the capsule's segment that is nearest to the box, then, if the segment runs along a face or
an edge at a low angle, a second point on it, and treats both as spheres.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points, least
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.physics.collision.sphere import sphere_box
from mjx_metaworld.physics.slices import take

Array = jax.Array

_BOX = int(mujoco.mjtGeom.mjGEOM_BOX)
_FAR = 1e10
_TINY = 1e-15  # mjMINVAL

# The box's twelve edges in MuJoCo's order: axis, then the corner (bits: positive side of x, y, z) it starts from.
_EDGE_AXIS = np.repeat(np.arange(3), 4)
_EDGE_CORNER = np.array([i for axis in range(3) for i in range(8) if not i & (1 << axis)])
_EDGE_SIGN = np.array([[(1 if c >> k & 1 else -1) for k in range(3)] for c in _EDGE_CORNER], float)
_EDGE_SIGN[np.arange(12), _EDGE_AXIS] = 0.0


class _Nearest(NamedTuple):
    """The feature of the box nearest to the segment (trailing axes (S, L))."""

    at: Array  # position on the segment, -1 to 1
    on_edge: Array  # bool: an edge or corner is nearest, else a face
    end_face: Array  # int: the face's axis, -1 when the segment's end is inside
    edge_axis: Array  # int
    edge_at: Array  # position on the edge, -1 to 1
    edge_end: Array  # int: 0 lower end, 1 between, 2 upper end
    corner: Array  # int bits of the corner nearest


def collide_capsules(capsule: Shape, other: Shape) -> Points:
    """Contact of world-frame capsules with boxes and capsules, up to two points a slot."""
    radius, half = capsule.size[0], capsule.size[1]
    pos = spatial.rotate_back(other.mat, capsule.pos - other.pos)
    axis = spatial.rotate_back(other.mat, capsule.mat[:, 2])
    is_box = other.type == _BOX
    at, second, has_second = barrier(*_box_points(pos, axis, half, other.size))

    is_first = (np.arange(2) == 0)[:, None, None]
    centers = pos[:, None] + (axis * half)[:, None] * jnp.where(is_first, at, second)
    dist, normal = sphere_box(centers, radius, other.size[:, None])
    dist = jnp.where(is_first | has_second, dist, NO_CONTACT)
    capsule_dist, capsule_normal, capsule_center = _to_capsule(pos, axis, half, other.size)
    dist = jnp.where(is_box, dist, jnp.where(is_first, capsule_dist - radius, NO_CONTACT))
    normal = jnp.where(is_box, normal, capsule_normal[:, None])
    centers = jnp.where(is_box, centers, capsule_center[:, None])

    mid = centers + normal * (radius + 0.5 * dist)
    mat = other.mat[:, :, None]
    return Points(dist, other.pos[:, None] + spatial.rotate(mat, mid), spatial.rotate(mat, normal))


def _to_capsule(pos: Array, axis: Array, half: Array, size: Array) -> tuple[Array, Array, Array]:
    """Distance from a segment to a capsule along z, the direction to it, and the segment's nearest point."""
    radius, other_half = size[0], size[1]
    # Nearest points of two segments; parallel ones give one of the many (MuJoCo gives two points there).
    b = axis[2]
    along = spatial.dot(axis, pos)
    det = jnp.maximum(1.0 - b * b, 1e-6)
    s = jnp.clip((b * pos[2] - along) / det, -half, half)
    t = jnp.clip(pos[2] + s * b, -other_half, other_half)
    s = jnp.clip(t * b - along, -half, half)
    point = pos + axis * s
    offset = jnp.stack([-point[0], -point[1], t - point[2]])
    return spatial.norm(offset) - radius, spatial.normalize(offset), point


def _box_points(pos: Array, axis: Array, half: Array, size: Array) -> tuple[Array, Array, Array]:
    """Positions on the segment (-1 to 1) of the first and the second point, and whether there is a second."""
    half_axis = axis * half
    near = barrier(_nearest_feature(pos, half_axis, half, size))
    reach = 2.0 * size / jnp.maximum(jnp.abs(half_axis), _TINY)  # segment parameter per crossing of the box
    points_up = half_axis > 0
    crossing = jnp.stack([points_up[k] != ((near.corner >> k) & 1).astype(bool) for k in range(3)])

    at_corner, at_corner_exists = _second_at_corner(near, axis, reach, crossing)
    at_edge, at_edge_exists = _second_at_edge(near, axis, half_axis, size, reach, crossing, points_up)
    at_face, at_face_exists = _second_at_face(near, pos, half_axis, size)
    is_corner = near.on_edge & (near.edge_end != 1)
    is_edge = near.on_edge & (near.edge_end == 1)
    step = jnp.where(is_corner, at_corner, jnp.where(is_edge, at_edge, at_face))
    exists = jnp.where(is_corner, at_corner_exists, jnp.where(is_edge, at_edge_exists, at_face_exists))
    return near.at, near.at + step, exists


def _nearest_feature(pos: Array, half_axis: Array, half: Array, size: Array) -> _Nearest:
    best = jnp.full_like(half, _FAR)
    at = jnp.zeros_like(half)
    face = jnp.full(half.shape, -1)
    for end in (-1.0, 1.0):
        point = pos + end * half_axis
        clamped = jnp.clip(point, -size, size)
        out = point != clamped
        which = jnp.where(out[2], 2, jnp.where(out[1], 1, jnp.where(out[0], 0, -1)))
        square = spatial.dot(clamped - point, clamped - point)
        closer = (jnp.sum(out, axis=0) <= 1) & (square < best)
        best = jnp.where(closer, square, best)
        at = jnp.where(closer, end, at)
        face = jnp.where(closer, which, face)

    x1, x2, end, square = barrier(*_edge_distances(pos, half_axis, half, size))
    # An edge must be nearer by more than rounding: over a face's boundary both are the same point.
    edge_best, edge, edge_at, x2, edge_end = least(square, x1, x2, end)
    edge_axis, rank = edge >> 2, edge & 3
    below = rank & ((1 << edge_axis) - 1)
    start = below + ((rank - below) << 1)  # `_EDGE_CORNER`: the rank's bits with a zero between them, at the axis
    on_edge = edge_best < best - 1e-6 * jnp.maximum(best, 1e-8)
    return _Nearest(
        at=jnp.where(on_edge, x2, at),
        on_edge=on_edge,
        end_face=face,
        edge_axis=edge_axis,
        edge_at=edge_at,
        edge_end=edge_end,
        corner=start + jnp.where(edge_end == 2, 1 << edge_axis, 0),
    )


def _edge_distances(pos: Array, half_axis: Array, half: Array, size: Array) -> tuple[Array, Array, Array, Array]:
    """For the twelve edges (12, S, L): nearest positions on edge and segment, which end, and the squared distance."""
    sign = jnp.asarray(_EDGE_SIGN.T, pos.dtype)[:, :, None, None]
    dif = sign * size[:, None] - pos[:, None]
    axes = _EDGE_AXIS
    size_j, half_j = take(size, axes, 0), take(half_axis, axes, 0)
    dif_j = take(dif.reshape(-1, *dif.shape[2:]), axes * len(axes) + np.arange(len(axes)), 0)
    ma = size_j * size_j
    mb = -size_j * half_j
    mc = half * half
    u = -size_j * dif_j
    v = spatial.dot(half_axis[:, None], dif)
    det = ma * mc - mb * mb
    usable = jnp.abs(det) >= _TINY
    inverse = 1.0 / jnp.where(usable, det, 1.0)
    free = (mc * u - mb * v) * inverse
    x1 = jnp.clip(free, -1.0, 1.0)
    end = jnp.where(free > 1.0, 2, jnp.where(free < -1.0, 0, 1))
    x2 = (v - mb * x1) / mc
    clipped = jnp.clip(x2, -1.0, 1.0)
    again = (u - mb * clipped) / ma
    moved = x2 != clipped
    x1 = jnp.where(moved, jnp.clip(again, -1.0, 1.0), x1)
    # As in MuJoCo, an end found first stays noted when the second clip moves the point off it.
    end = jnp.where(moved & (again > 1.0), 2, jnp.where(moved & (again < -1.0), 0, end))
    along = jnp.asarray(np.eye(3)[axes].T, pos.dtype)
    offset = dif - half_axis[:, None] * clipped + along[:, :, None, None] * size_j * x1
    square = spatial.dot(offset, offset)
    return x1, clipped, end, jnp.where(usable, square, _FAR)


def _pick(values: Array, axis: Array) -> Array:
    """`values[axis]` for (3, S, L) values and an (S, L) axis."""
    return jnp.where(axis == 0, values[0], jnp.where(axis == 1, values[1], values[2]))


def _second_at_corner(near: _Nearest, axis: Array, reach: Array, crossing: Array) -> tuple[Array, Array]:
    """Step to the second point where a corner of the box is nearest."""
    count = jnp.sum(crossing, axis=0)
    exists = (count == 1) | (count == 2)
    odd = jnp.where(count == 1, crossing, ~crossing)  # the one axis in which the segment differs from the others
    which = jnp.where(odd[0], 0, jnp.where(odd[1], 1, 2))
    sign = jnp.where(count == 1, 1.0, -1.0)
    along_edge = _pick(axis, which) ** 2 > 0.5
    others = jnp.where(
        which == 0,
        jnp.minimum(reach[1], reach[2]),
        jnp.where(which == 1, jnp.minimum(reach[2], reach[0]), jnp.minimum(reach[0], reach[1])),
    )
    forward = jnp.minimum(1.0 - sign * near.at, _pick(reach, which))
    backward = jnp.minimum(1.0 + sign * near.at, others)
    return jnp.where(along_edge, forward * sign, -backward * sign), exists


def _second_at_edge(
    near: _Nearest, axis: Array, half_axis: Array, size: Array, reach: Array, crossing: Array, points_up: Array
) -> tuple[Array, Array]:
    """Step to the second point where the inside of an edge is nearest."""
    ax = near.edge_axis
    first, second = (ax + 1) % 3, (ax + 2) % 3
    exists = _pick(crossing, first) ^ _pick(crossing, second)
    flatter = jnp.where(jnp.abs(_pick(axis, first)) > jnp.abs(_pick(axis, second)), first, second)
    up = _pick(crossing, flatter)
    sign = jnp.where(up, 1.0, -1.0)
    step = jnp.minimum(1.0 - sign * near.at, _pick(reach, flatter))
    rest = jnp.where(_pick(points_up, ax) == up, 1.0 - near.edge_at, 1.0 + near.edge_at)
    along = _pick(size, ax) * rest / jnp.maximum(jnp.abs(_pick(half_axis, ax)), _TINY)
    return jnp.minimum(step, along) * sign, exists


def _second_at_face(near: _Nearest, pos: Array, half_axis: Array, size: Array) -> tuple[Array, Array]:
    """Step to the second point where an end of the segment is nearest to a face."""
    sign = jnp.where(near.at < 0, 1.0, -1.0)
    end = pos - sign * half_axis
    step = jnp.full_like(sign, 2.0)
    for k in range(3):
        slope = jnp.where(half_axis[k] == 0, _TINY, half_axis[k])
        for face in (size[k], -size[k]):
            cross = (face - end[k]) / slope * sign
            step = jnp.where((near.end_face != k) & (cross > 0) & (cross < step), cross, step)
    return step * sign, near.end_face >= 0
