"""Boxes against boxes: separating axes, then the overlap of the two nearest faces, as MuJoCo 3.3.0's routine.

MuJoCo clips the face of one box (the incident one) against the rectangle of a face of the other (the reference). When
a face normal separates best, the incident face is projected along it, and MuJoCo 3.3.0 reports **half** the depth of
each point (later versions do not). When a pair of edges separates best, the faces next to these edges are clipped
after a projection along the edges' common normal, and the depth is whole. Points come from edges of the incident face
that cross the rectangle, corners of the rectangle inside the incident face, and corners of the incident face.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points, least
from mjx_metaworld.physics.collision.shapes import Shape

Array = jax.Array

_FAR = 1e10
# An edge pair must beat the faces by more than float32's rounding, which for a door of 0.2 m that stands 0.3 m from its
# frame's axis is 1e-7 m: this times the larger box. (MuJoCo, in float64, asks for a relative 1e-12.)
_EDGE_ADVANTAGE = 1e-6
_PARALLEL = 1e-6
_REMOVE_RATIO = 1.01  # MuJoCo drops points further outside a box than this ratio of its size

# Signs of the four corners of a rectangle, in MuJoCo's order.
_CORNERS = ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0))


class _Separation(NamedTuple):
    """The axis along which the boxes overlap least (trailing axes (S, L))."""

    apart: Array  # bool: further apart than the margin along some axis
    is_edge: Array  # bool: a pair of edges, else a face
    face: Array  # int: 0..2 faces of box 1, 3..5 faces of box 2
    edge1: Array  # int: axis of the edge of box 1
    edge2: Array  # int: axis of the edge of box 2
    normal: Array  # (3, S, L) in the frame of box 1, from box 1 to box 2; for edge pairs


class _Clip(NamedTuple):
    """Incident face above a reference rectangle, in the frame of the reference face (z towards the other box)."""

    corner: Array  # (3, S, L) the corner that the two edges start from
    edge_a: Array  # (3, S, L)
    edge_b: Array  # (3, S, L)
    has_a: Array  # (S, L) False where the incident face degenerates to an edge or a point
    has_b: Array  # (S, L)
    half: Array  # (2, S, L) half-sizes of the rectangle
    direction: Array  # (3, S, L) of projection onto the rectangle's plane, z positive
    is_edge: Array  # (S, L) bool
    margin: Array  # (S, L)


def collide_boxes(box1: Shape, box2: Shape, margin: Array) -> Points:
    """Contact of world-frame boxes, up to 8 of 16 possible points a slot."""
    rot = spatial.matmul_tn(box1.mat, box2.mat)
    pos21 = spatial.rotate_back(box1.mat, box2.pos - box1.pos)
    pos12 = -spatial.rotate_back(rot, pos21)
    sep = barrier(_separate(rot, pos21, pos12, box1.size, box2.size, margin))

    ref_is_2 = ~sep.is_edge & (sep.face >= 3)
    # Columns of `inc` are the incident box's axes in the frame of the reference box.
    inc = jnp.where(ref_is_2, jnp.swapaxes(rot, 0, 1), rot)
    pos = jnp.where(ref_is_2, pos12, pos21)
    ref_size = jnp.where(ref_is_2, box2.size, box1.size)
    inc_size = jnp.where(ref_is_2, box1.size, box2.size)
    axis1, axis2 = _edge_faces(sep, rot)
    ref_axis = jnp.where(sep.is_edge, axis1, sep.face % 3)
    towards = jnp.where(sep.is_edge, _pick(sep.normal, ref_axis), _pick(pos, ref_axis))
    sign = jnp.where(towards < 0, -1.0, 1.0)

    inc = _face_frame(inc, ref_axis, sign)
    pos = _face_frame(pos, ref_axis, sign)
    normal = _face_frame(sep.normal, ref_axis, sign)
    ref_size = jnp.abs(_face_frame(ref_size, ref_axis, sign))
    inc, pos, normal, ref_size, inc_size = barrier(inc, pos, normal, ref_size, inc_size)
    center = pos.at[2].add(-ref_size[2])

    clip = barrier(_incident_face(sep, inc, inc_size, center, ref_size[:2], normal, axis2, margin))
    points, dist = barrier(*_clip_points(clip))
    keep = (dist < margin) & ~sep.apart & ~_outside(points, ref_size, inc, inc_size, center, margin)

    ref_mat = jnp.where(ref_is_2, box2.mat, box1.mat)
    ref_pos = jnp.where(ref_is_2, box2.pos, box1.pos)
    frame = _face_frame(jnp.swapaxes(ref_mat, 0, 1), ref_axis, sign)  # rows: the reference face's axes in the world
    points = points.at[2].add(ref_size[2])
    world = ref_pos[:, None] + spatial.rotate_back(frame[:, :, None], points)
    out = jnp.where(sep.is_edge, spatial.rotate(box1.mat, sep.normal), frame[2] * jnp.where(ref_is_2, -1.0, 1.0))
    return Points(jnp.where(keep, dist, NO_CONTACT), world, out[:, None])


def _pick(values: Array, axis: Array) -> Array:
    """`values[axis]` for (3, ..., S, L) values and an (S, L) axis."""
    return jnp.where(axis == 0, values[0], jnp.where(axis == 1, values[1], values[2]))


def _face_frame(values: Array, axis: Array, sign: Array) -> Array:
    """The leading three components in MuJoCo's frame for a face, with z along `sign` times `axis`."""
    x, y, z = values[0], values[1], values[2]
    first = jnp.where(axis == 0, -sign * z, jnp.where(axis == 1, x, sign * x))
    return jnp.stack([first, jnp.where(axis == 1, -sign * z, y), sign * _pick(values, axis)])


def _separate(rot: Array, pos21: Array, pos12: Array, size1: Array, size2: Array, margin: Array) -> _Separation:
    """Overlap along the 15 candidate axes; the first of the smallest wins, faces before edges."""
    abs_rot = jnp.abs(rot)
    overlap1 = size1 + spatial.rotate(abs_rot, size2) - jnp.abs(pos21)
    overlap2 = size2 + spatial.rotate_back(abs_rot, size1) - jnp.abs(pos12)
    apart = jnp.any((overlap1 < -margin) | (overlap2 < -margin), axis=0)
    best, face = overlap1[0], jnp.zeros(margin.shape, jnp.int32)
    for k in range(3):  # MuJoCo's order of ties: x of box 1, x of box 2, y of box 1, ...
        for overlap, index in ((overlap1[k], k), (overlap2[k], k + 3)):
            closer = overlap < best
            best = jnp.where(closer, overlap, best)
            face = jnp.where(closer, index, face)

    # Cross products e_i x a_j, i edges of box 1 along the leading axis, j edges of box 2 along the second.
    cross = spatial.axes_cross(rot)  # (3, i, j, S, L)
    length = spatial.norm(cross)
    axis = cross / jnp.maximum(length, _PARALLEL)
    offset = spatial.dot(axis, pos21[:, None, None])
    # In the direction itself, so that it stays a valid bound however rounding turned a nearly parallel pair.
    reach2 = sum(jnp.abs(spatial.dot(axis, rot[:, k, None, None])) * size2[k] for k in range(3))
    overlap = spatial.dot(jnp.abs(axis), size1[:, None, None]) + reach2 - jnp.abs(offset)
    overlap = jnp.where(length > _PARALLEL, overlap, _FAR).reshape(9, *margin.shape)
    signed = (axis * jnp.where(offset < 0, -1.0, 1.0)).reshape(3, 9, *margin.shape)
    overlap, edge, normal = least(*barrier(overlap, signed))
    apart = apart | (overlap < -margin)
    is_edge = overlap < best - _EDGE_ADVANTAGE * jnp.max(jnp.maximum(size1, size2), axis=0)
    return _Separation(apart, is_edge, face, edge // 3, edge % 3, normal)


def _edge_faces(sep: _Separation, rot: Array) -> tuple[Array, Array]:
    """For edge pairs, the axes whose faces of box 1 and box 2 are clipped: the less aligned with the other's edge."""
    abs_rot = jnp.abs(rot)
    along1 = jnp.where(sep.edge2 == 0, abs_rot[:, 0], jnp.where(sep.edge2 == 1, abs_rot[:, 1], abs_rot[:, 2]))
    along2 = _pick(abs_rot, sep.edge1)
    return _less_aligned(sep.edge1, along1), _less_aligned(sep.edge2, along2)


def _less_aligned(edge: Array, along: Array) -> Array:
    first, second = (edge + 1) % 3, (edge + 2) % 3
    return jnp.where(_pick(along, first) < _pick(along, second), first, second)


def _incident_face(
    sep: _Separation,
    inc: Array,
    inc_size: Array,
    center: Array,
    half: Array,
    normal: Array,
    edge_face: Array,
    margin: Array,
) -> _Clip:
    """The incident face: its corner and edges; for a face contact the lowest one, else the one next to the edge."""
    axes = jnp.arange(3)[:, None, None]
    lowest = jnp.where(inc[2] < 0, 1.0, -1.0)
    away = jnp.where(spatial.rotate_back(inc, normal) < 0, 1.0, -1.0)
    side = jnp.where(sep.is_edge, jnp.where(axes == sep.edge2, 1.0, away), lowest)
    steep = jnp.abs(inc[2])
    steepest = jnp.where((steep[0] >= steep[1]) & (steep[0] >= steep[2]), 0, jnp.where(steep[1] >= steep[2], 1, 2))
    face = jnp.where(sep.is_edge, edge_face, steepest)
    # MuJoCo's rule for which edges belong to the incident face of a face contact.
    flat = sep.is_edge | (steep < 0.5)
    step = jnp.where(flat, -2.0 * side * inc_size, 0.0) * inc  # columns: vectors along the edges
    corner = center + spatial.rotate(inc, side * inc_size)
    first, second = (face + 1) % 3, (face + 2) % 3
    up = jnp.zeros_like(normal).at[2].set(1.0)
    return _Clip(
        corner=corner,
        edge_a=_pick(jnp.swapaxes(step, 0, 1), first),
        edge_b=_pick(jnp.swapaxes(step, 0, 1), second),
        has_a=_pick(flat, first),
        has_b=_pick(flat, second),
        half=half,
        direction=jnp.where(sep.is_edge, normal, up),
        is_edge=sep.is_edge,
        margin=margin,
    )


def _clip_points(c: _Clip) -> tuple[Array, Array]:
    """Sixteen points (3, 16, S, L) midway between the faces, and their distances (16, S, L) or `NO_CONTACT`."""
    slope = c.direction[:2] / jnp.maximum(c.direction[2], 1e-10)

    def project(v: Array) -> Array:
        return v[:2] - slope.reshape(2, *([1] * (v.ndim - 3)), *slope.shape[1:]) * v[2]

    crossings = barrier(_crossings(c, project))
    none_cross = jnp.all(crossings[1] >= NO_CONTACT, axis=0)
    corners = barrier(_rectangle_corners(c, project, none_cross))
    only_vertices = none_cross & jnp.all(corners[1] >= NO_CONTACT, axis=0)
    vertices = barrier(_vertices(c, project, none_cross, only_vertices))
    points = jnp.concatenate([crossings[0], corners[0], vertices[0]], axis=1)
    return points, jnp.concatenate([crossings[1], corners[1], vertices[1]])


def _from_corner(c: _Clip, with_a: tuple[bool, ...], with_b: tuple[bool, ...]) -> Array:
    """(3, n, S, L) points at the corner of the incident face, or at the ends of its edges from there."""
    a, b = (np.array(x)[:, None, None] for x in (with_a, with_b))
    return c.corner[:, None] + jnp.where(a, c.edge_a[:, None], 0.0) + jnp.where(b, c.edge_b[:, None], 0.0)


def _crossings(c: _Clip, project) -> tuple[Array, Array]:
    """Points at which edges of the incident face enter and leave the rectangle (8 points)."""
    start = _from_corner(c, (False, False, True, False), (False, False, False, True))
    along_a = np.array([True, False, False, True])[:, None, None]
    step = jnp.where(along_a, c.edge_a[:, None], c.edge_b[:, None])
    both = c.has_a & c.has_b
    exists = jnp.stack([c.has_a, c.has_b, both, both])
    flat_start, flat_step = project(start), project(step)
    enter, leave = jnp.full_like(flat_start[0], -_FAR), jnp.full_like(flat_start[0], _FAR)
    for k in range(2):
        parallel = jnp.abs(flat_step[k]) < 1e-12
        inverse = 1.0 / jnp.where(parallel, 1.0, flat_step[k])
        near, far = (-c.half[k] - flat_start[k]) * inverse, (c.half[k] - flat_start[k]) * inverse
        within = jnp.abs(flat_start[k]) <= c.half[k]
        near, far = jnp.minimum(near, far), jnp.maximum(near, far)
        enter = jnp.maximum(enter, jnp.where(parallel, jnp.where(within, -_FAR, _FAR), near))
        leave = jnp.minimum(leave, jnp.where(parallel, jnp.where(within, _FAR, -_FAR), far))
    at = jnp.stack([enter, leave])
    valid = exists & (enter <= leave) & (at >= 0) & (at <= 1)
    point = start[:, None] + step[:, None] * jnp.where(valid, at, 0.0)
    valid, point = valid.reshape(8, *valid.shape[2:]), point.reshape(3, 8, *point.shape[3:])
    # Half-way between the point and its projection; a face contact reports half the depth.
    flat = jnp.concatenate([project(point), jnp.zeros_like(point[:1])])
    depth = point[2] / jnp.maximum(c.direction[2], 1e-10)
    dist = jnp.where(c.is_edge, depth, 0.5 * depth)
    return 0.5 * (point + flat), jnp.where(valid & (depth <= c.margin), dist, NO_CONTACT)


def _rectangle_corners(c: _Clip, project, none_cross: Array) -> tuple[Array, Array]:
    """Corners of the rectangle inside the projected incident face (4 points)."""
    origin, a, b = project(c.corner), project(c.edge_a), project(c.edge_b)
    det = a[0] * b[1] - b[0] * a[1]
    usable = c.has_a & c.has_b & (jnp.abs(det) > 1e-14)
    det = jnp.where(usable, det, 1.0)
    corners = jnp.asarray(_CORNERS, origin.dtype).T[:, :, None, None] * c.half[:, None]

    def over(corner: Array, det: Array) -> tuple[Array, Array, Array]:
        """Project corners (2, ..., S, L): inside or not, the points (3, ..., S, L) above them, squared distances."""
        x, y = corner[0] - origin[0], corner[1] - origin[1]
        u, v = (x * b[1] - y * b[0]) / det, (y * a[0] - x * a[1]) / det
        u_in, v_in = (u > 0) & (u < 1), (v > 0) & (v < 1)
        inside = jnp.where(c.is_edge & none_cross, u_in | v_in, u_in & v_in)
        u, v = jnp.clip(u, 0.0, 1.0), jnp.clip(v, 0.0, 1.0)
        corner_of, edge_a, edge_b = (spatial.with_axes(x, u.ndim + 1) for x in (c.corner, c.edge_a, c.edge_b))
        above = corner_of + edge_a * u + edge_b * v
        return inside, above, (corner[0] - above[0]) ** 2 + (corner[1] - above[1]) ** 2 + above[2] ** 2

    # MuJoCo 3.3.0 reuses the determinant's variable for an edge contact's distance, so that the corners after the first
    # are placed wrongly and nearly always dropped; its contacts are these.
    divisors = [det]
    for i in range(len(_CORNERS) - 1):
        inside, _, square = over(corners[:, i], divisors[-1])
        divisors.append(barrier(jnp.where(c.is_edge & inside, jnp.maximum(square, 1e-12), divisors[-1])))
    inside, above, square = over(corners, jnp.stack(divisors))
    corners = jnp.concatenate([corners, jnp.zeros_like(corners[:1])])
    length = jnp.where(c.is_edge, spatial.sqrt(square), jnp.abs(above[2]))
    depth = jnp.where(above[2] < 0, -length, length)
    valid = usable & inside & (depth <= c.margin)
    dist = jnp.where(valid, jnp.where(c.is_edge, depth, 0.5 * depth), NO_CONTACT)
    return 0.5 * (corners + above), dist


def _vertices(c: _Clip, project, none_cross: Array, only_vertices: Array) -> tuple[Array, Array]:
    """Corners of the incident face over the rectangle (4 points)."""
    point = _from_corner(c, (False, True, False, True), (False, False, True, True))
    exists = jnp.stack([jnp.ones_like(c.has_a), c.has_a, c.has_b, c.has_a & c.has_b])
    flat = project(point)
    x_in, y_in = jnp.abs(flat[0]) < c.half[0], jnp.abs(flat[1]) < c.half[1]
    is_corner = (jnp.arange(4) == 0)[:, None, None]
    edge_rule = jnp.where(none_cross, only_vertices | x_in | y_in, x_in & y_in)
    inside = jnp.where(c.is_edge, edge_rule, (x_in & y_in) | is_corner)  # MuJoCo always takes a face's lowest corner
    clamped = jnp.where(c.is_edge, jnp.clip(flat, -c.half[:, None], c.half[:, None]), flat)
    over = flat - clamped
    height = point[2] / jnp.maximum(c.direction[2], 1e-10)
    length = spatial.sqrt(over[0] ** 2 + over[1] ** 2 + height**2)
    depth = jnp.where(point[2] < 0, -length, length)
    dist = jnp.where(c.is_edge, depth, 0.5 * depth)
    mid = 0.5 * (point + jnp.concatenate([clamped, jnp.zeros_like(height)[None]]))
    return mid, jnp.where(exists & inside & (depth <= c.margin), dist, NO_CONTACT)


def _outside(points: Array, ref_size: Array, inc: Array, inc_size: Array, center: Array, margin: Array) -> Array:
    """MuJoCo's removal of points outside one box and not well inside the other."""
    in_ref = points.at[2].add(ref_size[2])
    in_inc = spatial.rotate_back(inc[:, :, None], points - center[:, None])
    out_ref, deep_ref = _relative_to(in_ref, ref_size + margin)
    out_inc, deep_inc = _relative_to(in_inc, inc_size + margin)
    return (out_ref & ~deep_inc) | (out_inc & ~deep_ref)


def _relative_to(point: Array, size: Array) -> tuple[Array, Array]:
    """Test points: outside the inflated box, and inside the deflated one."""
    far = jnp.abs(point)
    size = size[:, None]
    return jnp.any(far > _REMOVE_RATIO * size, axis=0), jnp.all(far * _REMOVE_RATIO < size, axis=0)
