"""General convex pairs by support functions: everything with a mesh, cylinders with cylinders and capsules.

The overlap of two bodies along a direction n is h(n), the support of their Minkowski difference; the depth is the
minimum over unit vectors (what MuJoCo's EPA finds), and minus the distance when the bodies are apart. The broad phase
evaluates h at a fixed set of directions and descends from the best one; the narrow phase descends on from there, and
at the next evaluation from where it ended. `minkowski.py` has the bodies and h, `descent.py` a step of the descent; the
balls that are left out of both are added to the depth here.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.backends.cuda.kernels import where_cuda
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.descent import (
    FAR,
    Descent,
    advance,
    advance_by_kernel,
    begin,
    choose,
    combine,
    query_of,
    resume,
    triangle_weights,
)
from mjx_metaworld.physics.collision.hull_support import HullTable, cube_directions
from mjx_metaworld.physics.collision.minkowski import (
    MESH,
    Body,
    Pair,
    body_support,
    copies,
    relate,
    single,
    smooth_reach,
    support,
)
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape, WarmStart

Array = jax.Array

# Directions that compete have at most this cosine; the two descents of a search do so for this many steps.
_MAX_COSINE = 0.8
_TRIAL_STEPS = 3
_SAME_COSINE = 0.98  # of directions from which a descent would end alike


class Deepest(NamedTuple):
    """The end of a descent, in the frame of the second body and of the cores, which are the bodies without balls."""

    normal: Array  # (3, S, L) from body 1 to body 2
    depth: Array  # (S, L)
    corners: Array  # (3, 6, S, L) the simplex, see `Descent`
    weights: Array  # (2, S, L) of its second and third corner in its point that is nearest to the query
    balls: Array  # (2 S, L) radii of the first bodies' balls, then the second ones'


def find_start(shape1: Shape, shape2: Shape, hulls: HullTable, iterations: int, kernels: bool = False) -> WarmStart:
    """Search the contact of world-frame shapes from scratch."""
    pair = relate(shape1, shape2, hulls)
    body1, body2 = single(pair.both, 0, 2), single(pair.both, 1, 2)
    face_normal, face_overlap = barrier(_best_face(pair, body1, body2, shape1))
    # Deep contacts have several local minima: two descents compete for a few steps, the better one goes on.
    best, other = barrier(_two_best_of_cube(pair, body1, body2, shape1, shape2))
    begun = barrier(begin(copies(pair, 3), jnp.concatenate([best, other, face_normal], axis=-2)))
    first, second, on_face = (single(begun, i, 3) for i in range(3))

    def by_kernel() -> Descent:
        trials = [advance_by_kernel(pair, s, _TRIAL_STEPS) for s in (first, second)]
        s = choose(trials[0].depth <= trials[1].depth, *trials)
        return advance_by_kernel(pair, s, iterations - _TRIAL_STEPS)

    def descend(turn: Array, trials: tuple[Descent, Descent]) -> tuple[Descent, Descent]:
        """Turns 0 and 1 are the trials, in turn 2 the better one goes on: the descent is compiled once."""
        s, waiting = trials
        waiting_wins = (turn == 1) | ((turn == 2) & (waiting.depth <= s.depth))
        s, waiting = barrier((choose(waiting_wins, waiting, s), choose(waiting_wins, s, waiting)))
        steps = jnp.where(turn == 2, iterations - _TRIAL_STEPS, _TRIAL_STEPS)
        return jax.lax.fori_loop(0, steps, lambda _, s: advance(pair, s), s), waiting

    def by_xla() -> Descent:
        return jax.lax.fori_loop(0, 3, descend, (first, second))[0]

    s = where_cuda(kernels, face_overlap, by_kernel, by_xla)
    # A box in a hull is often deepest along its own face, which a descent from elsewhere need not reach. Near the
    # direction found the simplex, which tells the position, is worth keeping.
    better = face_overlap < s.depth
    restart = better & (spatial.dot(face_normal, s.normal) < _MAX_COSINE)
    kept = s._replace(normal=jnp.where(better, face_normal, s.normal), depth=jnp.where(better, face_overlap, s.depth))
    s = choose(restart, on_face, kept)
    if hulls.faces is not None:
        other = begin(pair, _best_hull_face(pair, shape1, shape2, hulls, s.normal))
        other = jax.lax.fori_loop(0, iterations, lambda _, s: advance(pair, s), barrier(other))
        s = choose(other.depth < s.depth, other, s)
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
    on_first = combine(deepest.weights, deepest.corners[:, 3:])
    return contact_of(deepest, on_first, shape2, margin), following


def find_deepest(
    shape1: Shape, shape2: Shape, hulls: HullTable, start: WarmStart, iterations: int, kernels: bool = False
) -> tuple[Deepest, WarmStart]:
    """Minimize the overlap of the cores of world-frame shapes by descent from a start; also the next start."""
    pair = relate(shape1, shape2, hulls)
    begun = resume(pair, start)

    def step(i: Array, s: Descent) -> Descent:
        return advance(pair, s, again=i == 0)

    # The first step evaluates the start's direction at the poses of now.
    end = where_cuda(
        kernels,
        begun.depth,
        lambda: advance_by_kernel(pair, begun, iterations + 1, again=True),
        lambda: jax.lax.fori_loop(0, iterations + 1, step, begun),
    )
    weights = triangle_weights(end.corners[:, :3], query_of(end))
    deepest = Deepest(end.normal, end.depth, end.corners, weights, pair.both.ball)
    return deepest, _start_at(pair, end)


def _start_at(pair: Pair, s: Descent) -> WarmStart:
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


def _best_face(pair: Pair, body1: Body, body2: Body, shape1: Shape) -> tuple[Array, Array]:
    """The axis (3, S, L) of the first body with the least overlap (S, L), which is far where that body is a mesh."""
    slots = shape1.type.shape
    axes = jnp.concatenate([pair.mat, -pair.mat], axis=1)  # (3, 6, S, L)
    copies = jax.tree.map(lambda x: jnp.concatenate([x] * 6, axis=-2), body2)
    towards = barrier(-axes.reshape(3, 6 * slots[0], slots[1]))
    reach2 = spatial.dot(barrier(body_support(copies, towards)), towards).reshape(6, *slots)
    reach1 = body1.half + body1.disc * jnp.array([1.0, 1.0, 0.0], pair.pos.dtype)[:, None, None]
    overlaps = spatial.dot(axes, pair.pos[:, None]) + jnp.concatenate([reach1, reach1]) + reach2
    overlaps = barrier(jnp.where(shape1.type == MESH, FAR, overlaps))
    normal, overlap = axes[:, 0], overlaps[0]
    for k in range(1, 6):
        closer = overlaps[k] < overlap
        normal, overlap = jnp.where(closer, axes[:, k], normal), jnp.where(closer, overlaps[k], overlap)
    return normal, overlap


def _best_hull_face(pair: Pair, shape1: Shape, shape2: Shape, hulls: HullTable, known: Array) -> Array:
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
            overlap = spatial.dot(support(pair, direction)[:3], direction)
            # A direction of zeros is no face.
            is_new = (spatial.dot(direction, direction) > 0.5) & (spatial.dot(direction, known) < _SAME_COSINE)
            overlap = jnp.where(is_new, overlap, FAR)
            closer = overlap < best[1]
            best = jnp.where(closer, direction, best[0]), jnp.where(closer, overlap, best[1])
        return barrier(*best)

    start = known, jnp.full(pair.pos.shape[1:], FAR, pair.pos.dtype)
    return jax.lax.fori_loop(0, len(faces), try_face, start)[0]


def _two_best_of_cube(pair: Pair, body1: Body, body2: Body, shape1: Shape, shape2: Shape) -> tuple[Array, Array]:
    """The best (3, S, L) of the cube directions in the frame of the second body, and the best well away from it.

    For this ranking alone a mesh as first body counts as its bounding box.
    """
    mesh_box = jnp.where(shape1.type == MESH, shape1.size, 0.0)
    boxed = body1._replace(half=body1.half + mesh_box)
    dtype = pair.pos.dtype
    cube = jnp.asarray(cube_directions().T, dtype)[:, :, None, None]  # (3, 26, 1, 1)
    # The table holds reaches along the cube's directions; opposite ones stand at opposite ends of the list.
    table = pair.both.hulls.table
    reach = jnp.asarray(table.reach[:, ::-1], dtype)
    hull_reach = jnp.moveaxis(reach[table.index(shape2.type, shape2.hull)], -1, 0)
    local = spatial.rotate_back(pair.mat[:, :, None], cube)
    overlaps = spatial.dot(cube, pair.pos[:, None]) + hull_reach
    overlaps = barrier(overlaps + smooth_reach(boxed, local) + smooth_reach(body2, cube))
    number = jax.lax.broadcasted_iota(jnp.int32, overlaps.shape, 0)

    def lowest(overlaps: Array) -> Array:
        index = jnp.min(jnp.where(overlaps == jnp.min(overlaps, axis=0), number, overlaps.shape[0]), axis=0)
        # NaN equals nothing; the bound keeps the index a valid one.
        return jnp.moveaxis(cube[:, :, 0, 0].T[jnp.minimum(index, overlaps.shape[0] - 1)], -1, 0)

    best = barrier(lowest(overlaps))
    return best, lowest(jnp.where(spatial.dot(cube, best[:, None]) < _MAX_COSINE, overlaps, jnp.inf))
