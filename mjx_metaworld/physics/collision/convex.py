"""General convex pairs by support functions: everything with a mesh, cylinders with cylinders and capsules.

The overlap of two bodies along a direction n is h(n), the support of their Minkowski difference; the depth is the
minimum over unit vectors (what MuJoCo's EPA finds), and minus the distance when the bodies are apart. The broad phase
evaluates h at a fixed set of directions and descends from the best one; the narrow phase descends on from there. A
step of the descent asks GJK's question, which point of the difference is nearest to a query point, where the query
stands a little outside along the best direction so far: the direction to that point is never worse, and equal only at
a local minimum. GJK's simplex (a triangle suffices, since the query is outside) is kept while the query moves, so one
support evaluation is one step.

All bodies have one form: a hull of vertices, plus a box, plus a disc about z, plus a ball, each possibly zero. Balls
are left out of the descent and added to the depth.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.hull_support import Hulls, furthest_vertex, hull_index, hulls_of
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape, Start
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
# Directions that compete have at most this cosine; the two descents of a search do so for this many steps.
_APART = 0.8
_TRIAL_STEPS = 3
_TINY = 1e-12
_FAR = 1e10


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
    """State of the descent; the simplex is three points, of which some may be equal."""

    normal: Array  # (3, S, L) best direction so far
    depth: Array  # (S, L) its overlap
    points: tuple[Array, Array, Array]  # (3, S, L) each, in the Minkowski difference
    first: tuple[Array, Array, Array]  # the points of body 1 that they come from
    nearest: Array  # (3, S, L) the simplex's point nearest to the query


def find_start(shape1: Shape, shape2: Shape, iterations: int) -> Start:
    """Search the contact of world-frame shapes from scratch."""
    pair = _relate(shape1, shape2)
    normals = spatial.fence(_two_best_of_cube(pair, shape1, shape2))
    # Deep contacts have several local minima: two descents compete for a few steps, the better one goes on.
    double = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=-2), pair)
    s = _begin(double, jnp.concatenate(normals, axis=-2))
    s = jax.lax.fori_loop(0, _TRIAL_STEPS, lambda _, s: _descend(double, s), s)
    count = shape1.type.shape[0]
    second_wins = s.depth[count:] < s.depth[:count]
    s = jax.tree.map(lambda x: jnp.where(second_wins, x[..., count:, :], x[..., :count, :]), s)
    s = jax.lax.fori_loop(_TRIAL_STEPS, iterations, lambda _, s: _descend(pair, s), spatial.fence(s))
    # A box in a hull is often deepest along its own face, which a descent from elsewhere need not reach. Near the
    # direction found the simplex, which tells the position, is worth keeping.
    face = spatial.fence(_best_face(pair, shape1))
    better = face.overlap < s.depth
    restart = better & (spatial.dot(face.normal, s.normal) < _APART)
    on_face = _begin(pair, face.normal)
    near_face = s._replace(
        normal=jnp.where(better, face.normal, s.normal), depth=jnp.where(better, face.overlap, s.depth)
    )
    s = jax.tree.map(lambda x, y: jnp.where(restart, x, y), on_face, near_face)
    return Start(
        normal=s.normal,
        first=tuple(spatial.rotate_back(pair.mat, point - pair.pos) for point in s.first),
        second=tuple(first - point for first, point in zip(s.first, s.points, strict=True)),
    )


def collide_convex(shape1: Shape, shape2: Shape, margin: Array, start: Start, iterations: int) -> Points:
    """Contact of world-frame convex shapes, one point a slot, by descent from what `find_start` gave."""
    pair = _relate(shape1, shape2)
    resumed = _resume(pair, start)
    end = jax.lax.fori_loop(0, iterations, lambda _, s: _descend(pair, s), resumed)
    on_first = _combine(_triangle_weights(end.points, _query(end)), end.first)
    balls1, balls2 = pair.body1.ball, pair.body2.ball
    depth = end.depth + balls1 + balls2
    # `on_first` lies on the core of body 1; midway between the surfaces.
    pos = on_first + end.normal * (balls1 - 0.5 * depth)
    world = shape2.pos + spatial.rotate(shape2.mat, pos)
    dist = jnp.where(-depth < margin, -depth, NO_CONTACT)
    return Points(dist[None], world[:, None], spatial.rotate(shape2.mat, end.normal)[:, None])


def _relate(shape1: Shape, shape2: Shape) -> _Pair:
    return spatial.fence(
        _Pair(
            body1=_body(shape1),
            body2=_body(shape2),
            pos=spatial.rotate_back(shape2.mat, shape1.pos - shape2.pos),
            mat=spatial.matmul_tn(shape2.mat, shape1.mat),
        )
    )


def _begin(pair: _Pair, normal: Array) -> _Descent:
    first, point = _support(pair, normal)
    return _Descent(normal, spatial.dot(point, normal), (point,) * 3, (first,) * 3, point)


def _resume(pair: _Pair, start: Start) -> _Descent:
    """The descent at the start's direction, with the start's simplex carried along by the bodies."""
    firsts = tuple(pair.pos + spatial.rotate(pair.mat, point) for point in start.first)
    points = tuple(first - second for first, second in zip(firsts, start.second, strict=True))
    first, point = _support(pair, start.normal)
    s = _Descent(start.normal, spatial.dot(point, start.normal), points, firsts, point)
    s = spatial.fence(s)
    return _grow(s._replace(nearest=_combine(_triangle_weights(points, _query(s)), points)), first, point)


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
    """Support of a body without its ball and hull along a direction (3, S, L) in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    return sum(jnp.abs(d[k]) * body.half[k] for k in range(3)) + body.disc * across


class _Direction(NamedTuple):
    normal: Array  # (3, S, L) in the frame of the second body
    overlap: Array  # (S, L) along it


def _best_face(pair: _Pair, shape1: Shape) -> _Direction:
    """The axis of the first body with the least overlap, which is far where that body is a mesh."""
    axes = [(k, sign * pair.mat[:, k]) for k in range(3) for sign in (1.0, -1.0)]
    # All six at once: the support function is compiled a single time.
    towards = -jnp.concatenate([axis for _, axis in axes], axis=-2)
    copies = jax.tree.map(lambda x: jnp.concatenate([x] * len(axes), axis=-2), pair.body2)
    reach = spatial.fence(spatial.dot(_body_support(copies, towards), towards)).reshape(len(axes), *shape1.type.shape)
    best = _Direction(pair.mat[:, 0], jnp.full(shape1.type.shape, _FAR, pair.pos.dtype))
    for (k, axis), reach2 in zip(axes, reach, strict=True):
        reach1 = pair.body1.half[k] + (pair.body1.disc if k < 2 else 0.0)
        overlap = spatial.dot(pair.pos, axis) + reach1 + reach2
        closer = (overlap < best.overlap) & (shape1.type != _MESH)
        best = _Direction(jnp.where(closer, axis, best.normal), jnp.where(closer, overlap, best.overlap))
    return best


def _two_best_of_cube(pair: _Pair, shape1: Shape, shape2: Shape) -> tuple[Array, Array]:
    """The best (3, S, L) of the cube directions in the frame of the second body, and the best well away from it.

    For this ranking alone a mesh as first body counts as its bounding box.
    """
    mesh_box = jnp.where(shape1.type == _MESH, shape1.size, 0.0)
    first = pair.body1._replace(half=pair.body1.half + mesh_box)
    dtype = pair.pos.dtype
    cube = cube_directions()
    # The table holds reaches along the cube's directions; opposite ones stand at opposite ends of the list.
    hull_reach = jnp.moveaxis(jnp.asarray(load_hulls().reach[:, ::-1], dtype)[hull_index(shape2)], -1, 0)
    hull_reach = spatial.fence(hull_reach)
    overlaps = []
    for k, direction in enumerate(cube):
        x, y, z = (float(c) for c in direction)
        local = pair.mat[0] * x + pair.mat[1] * y + pair.mat[2] * z
        constant = jnp.asarray(direction, dtype)[:, None, None]
        overlap = pair.pos[0] * x + pair.pos[1] * y + pair.pos[2] * z
        overlaps.append(overlap + hull_reach[k] + _smooth_reach(first, local) + _smooth_reach(pair.body2, constant))
    overlaps = spatial.fence(jnp.stack(overlaps))

    def lowest(excluded: Array | None) -> Array:
        # A running minimum fuses into one loop.
        best, index = jnp.full(overlaps.shape[1:], jnp.inf, dtype), jnp.zeros(overlaps.shape[1:], jnp.int32)
        for k, (x, y, z) in enumerate(cube.tolist()):
            closer = overlaps[k] < best
            if excluded is not None:
                closer = closer & (excluded[0] * x + excluded[1] * y + excluded[2] * z < _APART)
            index, best = jnp.where(closer, k, index), jnp.where(closer, overlaps[k], best)
        return jnp.moveaxis(jnp.asarray(cube, dtype)[index], -1, 0)

    best = spatial.fence(lowest(None))
    return best, lowest(best)


def _query(s: _Descent) -> Array:
    """The query point: the origin when the bodies are apart, else outside along the best direction."""
    return s.normal * (s.depth + jnp.maximum(_STAND_OFF, -s.depth))


def _descend(pair: _Pair, s: _Descent) -> _Descent:
    """One support evaluation, towards the query: perhaps a better direction, and the next simplex."""
    offset = _query(s) - s.nearest
    length = spatial.norm(offset)
    direction = spatial.fence(jnp.where(length > 1e-7, offset / jnp.maximum(length, 1e-7), s.normal))
    first, point = spatial.fence(_support(pair, direction))
    overlap = spatial.dot(point, direction)
    better = overlap < s.depth
    s = s._replace(normal=jnp.where(better, direction, s.normal), depth=jnp.where(better, overlap, s.depth))
    return _grow(spatial.fence(s), first, point)


def _grow(s: _Descent, first: Array, point: Array) -> _Descent:
    """GJK's next simplex: the one of the old points and the new that is nearest to the query."""
    # The nearest point of the grown simplex lies on an edge or triangle at the new point, unless it stayed where it is.
    query = _query(s)
    edges = [spatial.fence(_nearest_on_edge(point, old, query)) for old in s.points]
    pairs = ((0, 1), (0, 2), (1, 2))
    faces = [spatial.fence(_nearest_in_triangle(point, s.points[i], s.points[j], query)) for i, j in pairs]
    options = [(near, square, i, None) for i, (near, square) in enumerate(edges)]
    options += [(near, square, i, j) for (near, square), (i, j) in zip(faces, pairs, strict=True)]

    kept = query - s.nearest
    best, nearest, points, firsts = spatial.dot(kept, kept), s.nearest, s.points, s.first
    for near, square, i, j in options:
        closer = square < best
        new_points = (point, s.points[i], point if j is None else s.points[j])
        new_firsts = (first, s.first[i], first if j is None else s.first[j])
        best = jnp.where(closer, square, best)
        nearest = jnp.where(closer, near, nearest)
        points = tuple(jnp.where(closer, new, old) for new, old in zip(new_points, points, strict=True))
        firsts = tuple(jnp.where(closer, new, old) for new, old in zip(new_firsts, firsts, strict=True))
    return spatial.fence(s._replace(points=points, first=firsts, nearest=nearest))


def _nearest_on_edge(a: Array, b: Array, query: Array) -> tuple[Array, Array]:
    """The point of an edge nearest to the query, and its squared distance."""
    edge, offset = b - a, query - a
    t = jnp.clip(spatial.dot(edge, offset) / jnp.maximum(spatial.dot(edge, edge), 1e-18), 0.0, 1.0)
    gap = offset - t * edge
    return a + t * edge, spatial.dot(gap, gap)


def _nearest_in_triangle(a: Array, b: Array, c: Array, query: Array) -> tuple[Array, Array]:
    """The foot of the query on a triangle, and its squared distance; far where it lies outside."""
    ab, ac, offset = b - a, c - a, query - a
    v, w, inside = _barycentric(ab, ac, offset)
    foot = v * ab + w * ac
    gap = offset - foot
    return a + foot, jnp.where(inside, spatial.dot(gap, gap), _FAR)


def _barycentric(ab: Array, ac: Array, offset: Array) -> tuple[Array, Array, Array]:
    """Weights of the second and third corner at the foot of a point on a triangle, and whether it lies inside."""
    normal = spatial.cross(ab, ac)
    square = spatial.dot(normal, normal)
    usable = square > 1e-22
    inverse = 1.0 / jnp.where(usable, square, 1.0)
    v = spatial.dot(spatial.cross(offset, ac), normal) * inverse
    w = spatial.dot(spatial.cross(ab, offset), normal) * inverse
    return v, w, usable & (v >= 0) & (w >= 0) & (v + w <= 1)


def _triangle_weights(corners: tuple[Array, Array, Array], query: Array) -> tuple[Array, Array, Array]:
    """Barycentric weights of the triangle's point nearest to the query."""
    a, b, c = corners
    v, w, inside = _barycentric(b - a, c - a, query - a)
    weights = (1 - v - w, v, w)
    best = jnp.where(inside, -1.0, _FAR)
    zero = jnp.zeros_like(v)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        edge, offset = corners[j] - corners[i], query - corners[i]
        t = jnp.clip(spatial.dot(edge, offset) / jnp.maximum(spatial.dot(edge, edge), 1e-18), 0.0, 1.0)
        gap = offset - t * edge
        square = spatial.dot(gap, gap)
        closer = square < best
        option = [zero, zero, zero]
        option[i], option[j] = 1 - t, t
        best = jnp.where(closer, square, best)
        first, second, third = (jnp.where(closer, new, old) for new, old in zip(option, weights, strict=True))
        weights = (first, second, third)
    return weights


def _combine(weights: tuple[Array, Array, Array], corners: tuple[Array, Array, Array]) -> Array:
    return weights[0] * corners[0] + weights[1] * corners[1] + weights[2] * corners[2]
