"""General convex pairs by support functions: everything with a mesh, cylinders with cylinders and capsules.

The overlap of two bodies along a direction n is h(n), the support of their Minkowski difference; the depth is the
minimum over unit vectors (what MuJoCo's EPA finds), and minus the distance when the bodies are apart. The routine
evaluates h at a fixed set of directions and descends from the best one. A step of the descent asks GJK's question,
which point of the difference is nearest to a query point, where the query stands a little outside along the best
direction so far: the direction to that point is never worse, and equal only at a local minimum. GJK's simplex (a
triangle suffices, since the query is outside) is kept while the query moves, so one support evaluation is one step.

All bodies have one form: a hull of vertices, plus a box, plus a disc about z, plus a ball, each possibly zero. Balls
are left out of the descent and added to the depth.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.candidates import Shape
from mjx_metaworld.physics.collision.hull_support import Hulls, furthest_vertex, hull_index, hulls_of
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points, first_where
from mjx_metaworld.scenes.hulls import cube_directions, load_hulls

Array = jax.Array

_SPHERE, _CAPSULE, _CYLINDER, _BOX, _MESH = (
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_MESH),
)
# How far in m the query stands outside: small against the bodies, large against float32's rounding of positions.
_STAND_OFF = 1e-3
_TINY = 1e-12


class _Body(NamedTuple):
    half: Array  # (3, S, L) of the box summand
    disc: Array  # (S, L) radius of the disc about z
    ball: Array  # (S, L) radius of the ball
    hulls: Hulls  # the hull summand, the origin where it is no mesh


class _Pair(NamedTuple):
    """Both bodies in the frame of the second."""

    body1: _Body
    body2: _Body
    pos: Array  # (3, S, L) of the first
    mat: Array  # (3, 3, S, L) of the first


class _Descent(NamedTuple):
    normal: Array  # (3, S, L) best direction so far
    depth: Array  # (S, L) its overlap
    points: Array  # (3, 3, S, L) corners of the simplex, leading axis, in the Minkowski difference
    first: Array  # (3, 3, S, L) the points of body 1 that they come from


def collide_convex(shape1: Shape, shape2: Shape, margin: Array, iterations: int) -> Points:
    """Contact of world-frame convex shapes, one point a slot."""
    pair = _Pair(
        body1=_body(shape1),
        body2=_body(shape2),
        pos=spatial.rotate_back(shape2.mat, shape1.pos - shape2.pos),
        mat=spatial.matmul_tn(shape2.mat, shape1.mat),
    )
    pair = spatial.fence(pair)
    normal = spatial.fence(_best_start(pair, shape1, shape2))
    first, point = _support(pair, normal)
    start = _Descent(
        normal=normal,
        depth=spatial.dot(point, normal),
        points=jnp.broadcast_to(point, (3, *point.shape)),
        first=jnp.broadcast_to(first, (3, *first.shape)),
    )
    end = jax.lax.fori_loop(0, iterations, lambda _, s: spatial.fence(_descend(pair, s)), start)

    weights, _ = _nearest_on_triangle(end.points, _query(end))
    on_first = jnp.sum(weights[:, None] * end.first, axis=0)
    balls1, balls2 = pair.body1.ball, pair.body2.ball
    depth = end.depth + balls1 + balls2
    # `on_first` lies on the core of body 1; midway between the surfaces.
    pos = on_first + end.normal * (balls1 - 0.5 * depth)
    world = shape2.pos + spatial.rotate(shape2.mat, pos)
    dist = jnp.where(-depth < margin, -depth, NO_CONTACT)
    return Points(dist[None], world[:, None], spatial.rotate(shape2.mat, end.normal)[:, None])


def _body(shape: Shape) -> _Body:
    kind, size = shape.type, shape.size
    zero = jnp.zeros_like(size[0])
    length = jnp.where((kind == _CAPSULE) | (kind == _CYLINDER), size[1], zero)
    return _Body(
        half=jnp.where(kind == _BOX, size, jnp.stack([zero, zero, length])),
        disc=jnp.where(kind == _CYLINDER, size[0], zero),
        ball=jnp.where((kind == _SPHERE) | (kind == _CAPSULE), size[0], zero),
        hulls=hulls_of(shape),
    )


def _body_support(body: _Body, d: Array) -> Array:
    """Furthest point (3, S, L) of a body, without its ball, along a direction in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    scale = body.disc / jnp.maximum(across, _TINY)
    smooth = jnp.stack([d[0] * scale, d[1] * scale, jnp.zeros_like(scale)]) + jnp.where(d < 0, -body.half, body.half)
    return smooth + furthest_vertex(body.hulls, d)


def _support(pair: _Pair, normal: Array) -> tuple[Array, Array]:
    """Furthest point of body 1 along a direction, and of the Minkowski difference."""
    local = spatial.rotate_back(pair.mat, normal)
    first = pair.pos + spatial.rotate(pair.mat, _body_support(pair.body1, local))
    return first, first - _body_support(pair.body2, -normal)


def _smooth_reach(body: _Body, d: Array) -> Array:
    """Support of a body without its ball and hull along directions (3, D, S, L) in its frame: (D, S, L)."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    return sum(jnp.abs(d[k]) * body.half[k] for k in range(3)) + body.disc * across


def _best_start(pair: _Pair, shape1: Shape, shape2: Shape) -> Array:
    """The best (3, S, L) of the cube directions of the second frame, the axes of the first and the line of centres.

    For this ranking alone a mesh as first body counts as its bounding box.
    """
    mesh_box = jnp.where(shape1.type == _MESH, shape1.size, 0.0)
    first = pair.body1._replace(half=pair.body1.half + mesh_box)
    lanes = pair.pos.shape[1:]
    cube = cube_directions()
    cube = jnp.broadcast_to(jnp.asarray(cube.T, pair.pos.dtype)[:, :, None, None], (3, len(cube), *lanes))
    # The table holds reaches along the cube's directions; opposite ones stand at opposite ends of the list.
    reach = jnp.asarray(load_hulls().reach[:, ::-1], pair.pos.dtype)[hull_index(shape2)]
    cube_reach = jnp.moveaxis(reach, -1, 0) + _smooth_reach(pair.body2, cube)

    center = -spatial.normalize(pair.pos)
    others = jnp.concatenate([pair.mat, -pair.mat, center[:, None]], axis=1)
    vertices = [spatial.dot(furthest_vertex(pair.body2.hulls, -others[:, k]), -others[:, k]) for k in range(7)]
    other_reach = jnp.stack(vertices) + _smooth_reach(pair.body2, others)

    directions = jnp.concatenate([cube, others], axis=1)
    local = spatial.rotate_back(pair.mat[:, :, None], directions)
    overlap = spatial.dot(pair.pos[:, None], directions) + _smooth_reach(first, local)
    overlap = spatial.fence(overlap + jnp.concatenate([cube_reach, other_reach]))
    chosen = first_where(overlap, jnp.min(overlap, axis=0))
    return jnp.sum(jnp.where(chosen, directions, 0.0), axis=1)


def _query(s: _Descent) -> Array:
    """The query point: the origin when the bodies are apart, else outside along the best direction."""
    return s.normal * (s.depth + jnp.maximum(_STAND_OFF, -s.depth))


def _descend(pair: _Pair, s: _Descent) -> _Descent:
    _, nearest = _nearest_on_triangle(s.points, _query(s))
    offset = _query(s) - nearest
    length = spatial.norm(offset)
    direction = jnp.where(length > 1e-7, offset / jnp.maximum(length, 1e-7), s.normal)
    first, point = _support(pair, direction)
    overlap = spatial.dot(point, direction)
    better = overlap < s.depth
    s = s._replace(normal=jnp.where(better, direction, s.normal), depth=jnp.where(better, overlap, s.depth))

    # Of the triangles that the new point forms with two old ones keep the one nearest to the query.
    query = _query(s)
    best, points, firsts = None, s.points, s.first
    for drop in range(3):
        trial = s.points.at[drop].set(point)
        _, on_trial = _nearest_on_triangle(trial, query)
        square = spatial.dot(query - on_trial, query - on_trial)
        if best is None:
            best, points, firsts = square, trial, s.first.at[drop].set(first)
        else:
            closer = square < best
            best = jnp.where(closer, square, best)
            points = jnp.where(closer, trial, points)
            firsts = jnp.where(closer, s.first.at[drop].set(first), firsts)
    return s._replace(points=points, first=firsts)


def _nearest_on_triangle(corners: Array, query: Array) -> tuple[Array, Array]:
    """Barycentric weights (3, S, L) and position of a triangle's point nearest to the query.

    The best of the interior point and the three edges' nearest points; degenerate triangles fall to their edges.
    """
    a, b, c = corners[0], corners[1], corners[2]
    ab, ac, bc, aq, bq = b - a, c - a, c - b, query - a, query - b
    normal = spatial.cross(ab, ac)
    square = spatial.dot(normal, normal)
    usable = square > 1e-22
    inverse = 1.0 / jnp.where(usable, square, 1.0)
    v = spatial.dot(spatial.cross(aq, ac), normal) * inverse
    w = spatial.dot(spatial.cross(ab, aq), normal) * inverse
    inside = usable & (v >= 0) & (w >= 0) & (v + w <= 1)

    def on_edge(edge: Array, offset: Array) -> Array:
        return jnp.clip(spatial.dot(edge, offset) / jnp.maximum(spatial.dot(edge, edge), 1e-18), 0.0, 1.0)

    t_ab, t_ac, t_bc = on_edge(ab, aq), on_edge(ac, aq), on_edge(bc, bq)
    zero = jnp.zeros_like(v)
    options = (
        jnp.stack([1 - t_ab, t_ab, zero]),
        jnp.stack([1 - t_ac, zero, t_ac]),
        jnp.stack([zero, 1 - t_bc, t_bc]),
    )
    best, weights = None, None
    for option in options:
        gap = query - _combine(option, corners)
        distance = spatial.dot(gap, gap)
        if best is None:
            best, weights = distance, option
        else:
            weights = jnp.where(distance < best, option, weights)
            best = jnp.minimum(best, distance)
    weights = jnp.where(inside, jnp.stack([1 - v - w, v, w]), weights)
    return weights, _combine(weights, corners)


def _combine(weights: Array, corners: Array) -> Array:
    return weights[0] * corners[0] + weights[1] * corners[1] + weights[2] * corners[2]
