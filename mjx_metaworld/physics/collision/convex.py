"""General convex pairs by support functions: everything with a mesh, cylinders with cylinders and capsules.

The overlap of two bodies along a direction n is h(n), the support of their Minkowski difference; the depth is the
minimum over unit vectors (what MuJoCo's EPA finds), and minus the distance when the bodies are apart. The broad phase
evaluates h at a fixed set of directions and descends from the best one; the narrow phase descends on from there, and
at the next evaluation from where it ended. A step of the descent asks GJK's question, which point of the difference is
nearest to a query point, where the query stands a little outside along the best direction so far: the direction to
that point is never worse, and equal only at a local minimum. GJK's simplex (a triangle suffices, since the query is
outside) is kept while the query moves, so one support evaluation is one step.

All bodies have one form: a hull of vertices, plus a box, plus a disc about z, plus a ball, each possibly zero. Balls
are left out of the descent and added to the depth.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.backends.cuda.descent import descend_in_kernel, kernel_of
from mjx_metaworld.physics.backends.cuda.kernels import where_cuda
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.hull_support import Hulls, HullTable, cube_directions, furthest_vertex
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape, WarmStart
from mjx_metaworld.physics.slices import take

Array = jax.Array
Tree = TypeVar("Tree")

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
_MAX_COSINE = 0.8
_TRIAL_STEPS = 3
_SAME_COSINE = 0.98  # of directions from which a descent would end alike
_TINY = 1e-12
_FAR = 1e10


class _Body(NamedTuple):
    half: Array  # (3, S, L) of the box summand
    disc: Array  # (S, L) radius of the disc about z
    ball: Array  # (S, L) radius of the ball
    hulls: Hulls  # the hull summand, the origin where it is no mesh


class _Pair(NamedTuple):
    """Both bodies in the frame of the second."""

    both: _Body  # the first bodies, then the second ones (2S slots), so that one call supports all
    pos: Array  # (3, S, L) of the first
    mat: Array  # (3, 3, S, L) of the first


class _Descent(NamedTuple):
    """State of the descent; the simplex is three points, of which some may be equal."""

    normal: Array  # (3, S, L) best direction so far
    depth: Array  # (S, L) its overlap
    corners: Array  # (3, 6, S, L): of each the point in the Minkowski difference, then the point of body 1 it is from
    weights: Array  # (2, S, L) of the second and third corner in the simplex's point nearest to the query
    nearest: Array  # (3, S, L) that point


class Deepest(NamedTuple):
    """The end of a descent, in the frame of the second body and of the cores, which are the bodies without balls."""

    normal: Array  # (3, S, L) from body 1 to body 2
    depth: Array  # (S, L)
    corners: Array  # (3, 6, S, L) the simplex, see `_Descent`
    weights: Array  # (2, S, L) of its second and third corner in its point that is nearest to the query
    balls: Array  # (2 S, L) radii of the first bodies' balls, then the second ones'


def find_start(shape1: Shape, shape2: Shape, hulls: HullTable, iterations: int, kernels: bool = False) -> WarmStart:
    """Search the contact of world-frame shapes from scratch."""
    pair = _relate(shape1, shape2, hulls)
    body1, body2 = _single(pair.both, 0, 2), _single(pair.both, 1, 2)
    face_normal, face_overlap = barrier(_best_face(pair, body1, body2, shape1))
    # Deep contacts have several local minima: two descents compete for a few steps, the better one goes on.
    best, other = barrier(_two_best_of_cube(pair, body1, body2, shape1, shape2))
    begun = barrier(_begin(_copies(pair, 3), jnp.concatenate([best, other, face_normal], axis=-2)))
    first, second, on_face = (_single(begun, i, 3) for i in range(3))

    def by_kernel() -> _Descent:
        trials = [_descend_by_kernel(pair, s, _TRIAL_STEPS) for s in (first, second)]
        s = _choose(trials[0].depth <= trials[1].depth, *trials)
        return _descend_by_kernel(pair, s, iterations - _TRIAL_STEPS)

    def descend(turn: Array, trials: tuple[_Descent, _Descent]) -> tuple[_Descent, _Descent]:
        """Turns 0 and 1 are the trials, in turn 2 the better one goes on: the descent is compiled once."""
        s, waiting = trials
        waiting_wins = (turn == 1) | ((turn == 2) & (waiting.depth <= s.depth))
        s, waiting = barrier((_choose(waiting_wins, waiting, s), _choose(waiting_wins, s, waiting)))
        steps = jnp.where(turn == 2, iterations - _TRIAL_STEPS, _TRIAL_STEPS)
        return jax.lax.fori_loop(0, steps, lambda _, s: _descend(pair, s), s), waiting

    def by_xla() -> _Descent:
        return jax.lax.fori_loop(0, 3, descend, (first, second))[0]

    s = where_cuda(kernels, face_overlap, by_kernel, by_xla)
    # A box in a hull is often deepest along its own face, which a descent from elsewhere need not reach. Near the
    # direction found the simplex, which tells the position, is worth keeping.
    better = face_overlap < s.depth
    restart = better & (spatial.dot(face_normal, s.normal) < _MAX_COSINE)
    kept = s._replace(normal=jnp.where(better, face_normal, s.normal), depth=jnp.where(better, face_overlap, s.depth))
    s = _choose(restart, on_face, kept)
    if hulls.faces is not None:
        other = _begin(pair, _best_hull_face(pair, shape1, shape2, hulls, s.normal))
        other = jax.lax.fori_loop(0, iterations, lambda _, s: _descend(pair, s), barrier(other))
        s = _choose(other.depth < s.depth, other, s)
    return _start_at(pair, s)


def collide_convex(
    shape1: Shape,
    shape2: Shape,
    hulls: HullTable,
    margin: Array,
    start: WarmStart,
    iterations: int,
    kernels: bool = False,
) -> tuple[Points, WarmStart]:
    """Contact of world-frame convex shapes, one point a slot; also the start for when they have moved a little."""
    deepest, following = find_deepest(shape1, shape2, hulls, start, iterations, kernels)
    on_first = _combine(deepest.weights, deepest.corners[:, 3:])
    return contact_of(deepest, on_first, shape2, margin), following


def find_deepest(
    shape1: Shape, shape2: Shape, hulls: HullTable, start: WarmStart, iterations: int, kernels: bool = False
) -> tuple[Deepest, WarmStart]:
    """Minimize the overlap of the cores of world-frame shapes by descent from a start; also the next start."""
    pair = _relate(shape1, shape2, hulls)
    begun = _resume(pair, start)

    def step(i: Array, s: _Descent) -> _Descent:
        return _descend(pair, s, again=i == 0)

    # The first step evaluates the start's direction at the poses of now.
    end = where_cuda(
        kernels,
        begun.depth,
        lambda: _descend_by_kernel(pair, begun, iterations + 1, again=True),
        lambda: jax.lax.fori_loop(0, iterations + 1, step, begun),
    )
    weights = _triangle_weights(end.corners[:, :3], _query(end))
    deepest = Deepest(end.normal, end.depth, end.corners, weights, pair.both.ball)
    return deepest, _start_at(pair, end)


def _start_at(pair: _Pair, s: _Descent) -> WarmStart:
    """Start that a descent leaves for when the bodies have moved: its direction and its simplex in their frames.

    The direction turns with the first body, which is the one with faces where the other is a mesh: a table's face stays
    what it is. In the frame of a lid on that table it would be off by the angle that the lid has turned by, and the
    descent's few steps do not make up for that, as a table's corner is 0.7 m away.
    """
    first = jnp.moveaxis(s.corners[:, 3:], 1, 0)
    second = first - jnp.moveaxis(s.corners[:, :3], 1, 0)
    local = spatial.rotate_back(pair.mat[:, :, None], first - pair.pos[:, None])
    normal = spatial.rotate_back(pair.mat, s.normal)
    return WarmStart(normal=normal, first=local, second=second, weights=s.weights)


def contact_of(deepest: Deepest, on_first: Array, shape2: Shape, margin: Array) -> Points:
    """The contact in the world of bodies whose first one's core is deepest at `on_first`."""
    count, normal = on_first.shape[-2], deepest.normal
    balls1, balls2 = deepest.balls[:count], deepest.balls[count:]
    depth = deepest.depth + balls1 + balls2
    # `on_first` lies on the core of body 1; midway between the surfaces.
    pos = on_first + normal * (balls1 - 0.5 * depth)
    world = shape2.pos + spatial.rotate(shape2.mat, pos)
    dist = jnp.where(-depth < margin, -depth, NO_CONTACT)
    return Points(dist[None], world[:, None], spatial.rotate(shape2.mat, normal)[:, None])


def _relate(shape1: Shape, shape2: Shape, hulls: HullTable) -> _Pair:
    kind, size, hull = (
        jnp.concatenate(each, axis=-2)
        for each in ((shape1.type, shape2.type), (shape1.size, shape2.size), (shape1.hull, shape2.hull))
    )
    return barrier(
        _Pair(
            both=_body(kind, size, hull, hulls),
            pos=spatial.rotate_back(shape2.mat, shape1.pos - shape2.pos),
            mat=spatial.matmul_tn(shape2.mat, shape1.mat),
        )
    )


def _single(tree: Tree, index: int, count: int) -> Tree:
    """The slots of one of `count` stacked copies."""

    def of(x: Array) -> Array:
        size = x.shape[-2] // count
        return jax.lax.slice_in_dim(x, index * size, (index + 1) * size, axis=-2 % x.ndim)

    return jax.tree.map(of, tree)


def _copies(pair: _Pair, count: int) -> _Pair:
    """The pair's slots `count` times, one copy after the other."""
    both = [_single(pair.both, i, 2) for i in range(2) for _ in range(count)]
    return _Pair(
        both=jax.tree.map(lambda *x: jnp.concatenate(x, axis=-2), *both),
        pos=jnp.concatenate([pair.pos] * count, axis=-2),
        mat=jnp.concatenate([pair.mat] * count, axis=-2),
    )


def _choose(condition: Array, new: _Descent, old: _Descent) -> _Descent:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def _begin(pair: _Pair, normal: Array) -> _Descent:
    corner = _support(pair, normal)
    weights = jnp.zeros((2, *normal.shape[1:]), normal.dtype)
    corners = jnp.broadcast_to(corner, (3, *corner.shape))
    return _Descent(normal, spatial.dot(corner[:3], normal), corners, weights, corner[:3])


def _resume(pair: _Pair, start: WarmStart) -> _Descent:
    """The start's direction, with the start's simplex carried along by the bodies."""
    first = pair.pos[:, None] + spatial.rotate(pair.mat[:, :, None], start.first)
    normal = spatial.rotate(pair.mat, start.normal)
    corners = jnp.moveaxis(jnp.concatenate([first - start.second, first]), 1, 0)
    far = jnp.full(normal.shape[1:], _FAR, normal.dtype)
    nearest = _combine(start.weights, corners[:, :3])
    return barrier(_Descent(normal, far, corners, start.weights, nearest))


def _body(kind: Array, size: Array, hull: Array, table: HullTable) -> _Body:
    zero = jnp.zeros_like(size[0])
    length = jnp.where((kind == _CAPSULE) | (kind == _CYLINDER), size[1], zero)
    return _Body(
        half=jnp.where(kind == _BOX, size, jnp.stack([zero, zero, length])),
        disc=jnp.where(kind == _CYLINDER, size[0], zero),
        ball=jnp.where((kind == _SPHERE) | (kind == _CAPSULE), size[0], zero),
        hulls=Hulls.of(table, kind, hull),
    )


def _body_support(body: _Body, d: Array) -> Array:
    """Furthest point (3, S, L) of a body, without its ball, along a direction in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    scale = body.disc / jnp.maximum(across, _TINY)
    is_across = (np.arange(3) < 2)[:, None, None]
    smooth = jnp.where(is_across, d * scale, 0.0) + jnp.where(d < 0, -body.half, body.half)
    return smooth + furthest_vertex(body.hulls, d)


def _support(pair: _Pair, normal: Array) -> Array:
    """(6, S, L) furthest point along a direction of the Minkowski difference, and the point of body 1 it is from."""
    towards = jnp.concatenate([spatial.rotate_back(pair.mat, normal), -normal], axis=-2)
    local = barrier(_body_support(pair.both, towards))
    count = normal.shape[-2]
    first = pair.pos + spatial.rotate(pair.mat, local[:, :count])
    return jnp.concatenate([first - local[:, count:], first])


def _smooth_reach(body: _Body, d: Array) -> Array:
    """Support (..., S, L) of a body without its ball and hull along directions (3, ..., S, L) in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    return spatial.dot(jnp.abs(d), jnp.expand_dims(body.half, range(1, d.ndim - 2))) + body.disc * across


def _best_face(pair: _Pair, body1: _Body, body2: _Body, shape1: Shape) -> tuple[Array, Array]:
    """The axis (3, S, L) of the first body with the least overlap (S, L), which is far where that body is a mesh."""
    slots = shape1.type.shape
    axes = jnp.concatenate([pair.mat, -pair.mat], axis=1)  # (3, 6, S, L)
    copies = jax.tree.map(lambda x: jnp.concatenate([x] * 6, axis=-2), body2)
    towards = barrier(-axes.reshape(3, 6 * slots[0], slots[1]))
    reach2 = spatial.dot(barrier(_body_support(copies, towards)), towards).reshape(6, *slots)
    reach1 = body1.half + body1.disc * jnp.array([1.0, 1.0, 0.0], pair.pos.dtype)[:, None, None]
    overlaps = spatial.dot(axes, pair.pos[:, None]) + jnp.concatenate([reach1, reach1]) + reach2
    overlaps = barrier(jnp.where(shape1.type == _MESH, _FAR, overlaps))
    normal, overlap = axes[:, 0], overlaps[0]
    for k in range(1, 6):
        closer = overlaps[k] < overlap
        normal, overlap = jnp.where(closer, axes[:, k], normal), jnp.where(closer, overlaps[k], overlap)
    return normal, overlap


def _best_hull_face(pair: _Pair, shape1: Shape, shape2: Shape, hulls: HullTable, known: Array) -> Array:
    """The face normal (3, S, L) of either hull with the least overlap among those that are not the `known` direction.

    A hull of few faces has a local minimum at nearly each of them, where a descent from elsewhere may end.
    """
    assert hulls.faces is not None
    faces = jnp.asarray(np.moveaxis(hulls.faces, 1, 0), pair.pos.dtype)  # (F, H + 1, 3)
    index1, index2 = (hulls.index(shape.type, shape.hull) for shape in (shape1, shape2))

    def try_face(number: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        normals = faces[number]
        of_first = spatial.rotate(pair.mat, jnp.moveaxis(normals[index1], -1, 0))
        for direction in barrier(of_first, -jnp.moveaxis(normals[index2], -1, 0)):
            overlap = spatial.dot(_support(pair, direction)[:3], direction)
            # A direction of zeros is no face.
            is_new = (spatial.dot(direction, direction) > 0.5) & (spatial.dot(direction, known) < _SAME_COSINE)
            overlap = jnp.where(is_new, overlap, _FAR)
            closer = overlap < best[1]
            best = jnp.where(closer, direction, best[0]), jnp.where(closer, overlap, best[1])
        return barrier(*best)

    start = known, jnp.full(pair.pos.shape[1:], _FAR, pair.pos.dtype)
    return jax.lax.fori_loop(0, len(faces), try_face, start)[0]


def _two_best_of_cube(pair: _Pair, body1: _Body, body2: _Body, shape1: Shape, shape2: Shape) -> tuple[Array, Array]:
    """The best (3, S, L) of the cube directions in the frame of the second body, and the best well away from it.

    For this ranking alone a mesh as first body counts as its bounding box.
    """
    mesh_box = jnp.where(shape1.type == _MESH, shape1.size, 0.0)
    boxed = body1._replace(half=body1.half + mesh_box)
    dtype = pair.pos.dtype
    cube = jnp.asarray(cube_directions().T, dtype)[:, :, None, None]  # (3, 26, 1, 1)
    # The table holds reaches along the cube's directions; opposite ones stand at opposite ends of the list.
    table = pair.both.hulls.table
    reach = jnp.asarray(table.reach[:, ::-1], dtype)
    hull_reach = jnp.moveaxis(reach[table.index(shape2.type, shape2.hull)], -1, 0)
    local = spatial.rotate_back(pair.mat[:, :, None], cube)
    overlaps = spatial.dot(cube, pair.pos[:, None]) + hull_reach
    overlaps = barrier(overlaps + _smooth_reach(boxed, local) + _smooth_reach(body2, cube))
    number = jax.lax.broadcasted_iota(jnp.int32, overlaps.shape, 0)

    def lowest(overlaps: Array) -> Array:
        index = jnp.min(jnp.where(overlaps == jnp.min(overlaps, axis=0), number, overlaps.shape[0]), axis=0)
        # NaN equals nothing; the bound keeps the index a valid one.
        return jnp.moveaxis(cube[:, :, 0, 0].T[jnp.minimum(index, overlaps.shape[0] - 1)], -1, 0)

    best = barrier(lowest(overlaps))
    return best, lowest(jnp.where(spatial.dot(cube, best[:, None]) < _MAX_COSINE, overlaps, jnp.inf))


def _query(s: _Descent) -> Array:
    """The query point: the origin when the bodies are apart, else outside along the best direction."""
    return s.normal * (s.depth + jnp.maximum(_STAND_OFF, -s.depth))


def _descend_by_kernel(pair: _Pair, s: _Descent, steps: int, again: bool = False) -> _Descent:
    """Run `steps` steps of `_descend` in a kernel, the first one perhaps `again`."""
    body, hulls = pair.both, pair.both.hulls
    bodies = body.half, body.disc, hulls.row, hulls.resolution, pair.pos, pair.mat
    kernel = kernel_of(hulls.table, len(s.depth), steps, again, _STAND_OFF, _TINY)
    return _Descent(*descend_in_kernel(kernel, bodies, s, hulls.table))


def _descend(pair: _Pair, s: _Descent, again: Array | bool = False) -> _Descent:
    """One support evaluation, towards the query: perhaps a better direction, and the next simplex.

    With `again` it is the best direction so far that is evaluated.
    """
    offset = _query(s) - s.nearest
    length = spatial.norm(offset)
    usable = (length > 1e-7) & ~jnp.asarray(again)
    direction = barrier(jnp.where(usable, offset / jnp.maximum(length, 1e-7), s.normal))
    corner = barrier(_support(pair, direction))
    overlap = spatial.dot(corner[:3], direction)
    better = overlap < s.depth
    s = s._replace(normal=jnp.where(better, direction, s.normal), depth=jnp.where(better, overlap, s.depth))
    return _grow(barrier(s), corner)


def _grow(s: _Descent, corner: Array) -> _Descent:
    """GJK's next simplex: the one of the old points and the new that is nearest to the query."""
    # The nearest point of the grown simplex lies on an edge or triangle at the new point, unless it stayed where it is.
    query, point = _query(s), corner[:3]
    offset = query - point
    edges = barrier(jnp.moveaxis(s.corners[:, :3], 1, 0) - point[:, None])  # (3, 3 edges, S, L)
    along = _share(edges, offset[:, None])
    edge_gap = offset[:, None] - along * edges
    following = jnp.concatenate([edges[:, 1:], edges[:, :1]], axis=1)  # the third side of each triangle
    v, w, inside = _barycentric(edges, following, offset[:, None])
    face_gap = offset[:, None] - v * edges - w * following
    edge_square, face_square, along, v, w = barrier(
        spatial.dot(edge_gap, edge_gap), jnp.where(inside, spatial.dot(face_gap, face_gap), _FAR), along, v, w
    )

    kept = query - s.nearest
    best, choice, weights = spatial.dot(kept, kept), jnp.full(s.depth.shape, -1), s.weights
    zero = jnp.zeros_like(s.depth)
    options = [(edge_square[i], along[i], zero) for i in range(3)]
    options += [(face_square[i], v[i], w[i]) for i in range(3)]
    first, second = weights[0], weights[1]
    for number, (square, v1, w1) in enumerate(options):
        closer = square < best
        best, choice = jnp.where(closer, square, best), jnp.where(closer, number, choice)
        first, second = jnp.where(closer, v1, first), jnp.where(closer, w1, second)

    is_face, side = choice >= 3, jnp.where(choice >= 3, choice - 3, choice)
    old = s.corners
    here = jnp.where(side == 0, old[0], jnp.where(side == 1, old[1], old[2]))
    there = jnp.where(side == 0, old[1], jnp.where(side == 1, old[2], old[0]))
    place = np.arange(3)[:, None, None, None]
    grown = jnp.where((place == 0) | ((place == 2) & ~is_face), corner, jnp.where(place == 1, here, there))
    corners, weights = barrier(jnp.where(choice < 0, old, grown), jnp.stack([first, second]))
    nearest = jnp.where(choice < 0, s.nearest, _combine(weights, corners[:, :3]))
    return s._replace(corners=corners, weights=weights, nearest=nearest)


def _share(edge: Array, offset: Array) -> Array:
    """Share (0 to 1) of an edge at the point nearest to a place; both relative to the edge's begin."""
    return jnp.clip(spatial.dot(edge, offset) / jnp.maximum(spatial.dot(edge, edge), 1e-18), 0.0, 1.0)


def _barycentric(ab: Array, ac: Array, offset: Array) -> tuple[Array, Array, Array]:
    """Weights of the second and third corner at the foot of a point on a triangle, and whether it lies inside."""
    normal = spatial.cross(ab, ac)
    square = spatial.dot(normal, normal)
    usable = square > 1e-22
    inverse = 1.0 / jnp.where(usable, square, 1.0)
    v = spatial.dot(spatial.cross(offset, ac), normal) * inverse
    w = spatial.dot(spatial.cross(ab, offset), normal) * inverse
    return v, w, usable & (v >= 0) & (w >= 0) & (v + w <= 1)


def _triangle_weights(corners: Array, query: Array) -> Array:
    """(2, S, L) weights of the second and third of the corners (3, 3, S, L) in the triangle's point nearest to a place.

    The sides are those from the first corner to the second, from the second to the third and from there to the first.
    """
    a, b, c = corners[0], corners[1], corners[2]
    v, w, inside = _barycentric(b - a, c - a, query - a)
    begins = jnp.moveaxis(corners, 1, 0)
    sides = take(begins, np.array([1, 2, 0]), 1) - begins
    offsets = query[:, None] - begins
    t = _share(sides, offsets)
    gap = offsets - t * sides
    square, t = barrier(spatial.dot(gap, gap), t)
    best = jnp.where(inside, -1.0, _FAR)
    for side, (at_b, at_c) in enumerate(((t[0], 0.0), (1 - t[1], t[1]), (0.0, 1 - t[2]))):
        closer = square[side] < best
        best, v, w = jnp.where(closer, square[side], best), jnp.where(closer, at_b, v), jnp.where(closer, at_c, w)
    return jnp.stack([v, w])


def _combine(weights: Array, corners: Array) -> Array:
    """The point of a triangle with these weights of its second and third corner."""
    return corners[0] + weights[0] * (corners[1] - corners[0]) + weights[1] * (corners[2] - corners[0])
