"""Descent to the direction of least overlap of two convex bodies, a support evaluation a step.

A step asks GJK's question, which point of the Minkowski difference is nearest to a query point, where the query stands
a little outside along the best direction so far: the direction to that point is never worse, and equal only at a local
minimum. GJK's simplex (a triangle suffices, since the query is outside) is kept while the query moves, so one support
evaluation is one step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.backends.cuda.descent import descend_in_kernel, kernel_of
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.minkowski import TINY, Pair, support
from mjx_metaworld.physics.collision.shapes import WarmStart
from mjx_metaworld.physics.slices import take

Array = jax.Array

# How far in m the query stands outside: small against the bodies, large against float32's rounding of positions.
STAND_OFF = 1e-3
FAR = 1e10  # an overlap in m that no direction has, and the square of a distance


class Descent(NamedTuple):
    """State of the descent; the simplex is three points, of which some may be equal."""

    normal: Array  # (3, S, L) best direction so far
    depth: Array  # (S, L) its overlap
    corners: Array  # (3, 6, S, L): of each the point in the Minkowski difference, then the point of body 1 it is from
    weights: Array  # (2, S, L) of the second and third corner in the simplex's point nearest to the query
    nearest: Array  # (3, S, L) that point


def choose(condition: Array, new: Descent, old: Descent) -> Descent:
    """The new descent where the condition (S, L) holds, else the old one."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def begin(pair: Pair, normal: Array) -> Descent:
    """Descent from a direction (3, S, L), with a simplex of one point."""
    corner = support(pair, normal)
    weights = jnp.zeros((2, *normal.shape[1:]), normal.dtype)
    corners = jnp.broadcast_to(corner, (3, *corner.shape))
    return Descent(normal, spatial.dot(corner[:3], normal), corners, weights, corner[:3])


def resume(pair: Pair, start: WarmStart) -> Descent:
    """The start's direction, with the start's simplex carried along by the bodies."""
    first = pair.pos[:, None] + spatial.rotate(pair.mat[:, :, None], start.first)
    normal = spatial.rotate(pair.mat, start.normal)
    corners = jnp.moveaxis(jnp.concatenate([first - start.second, first]), 1, 0)
    far = jnp.full(normal.shape[1:], FAR, normal.dtype)
    nearest = combine(start.weights, corners[:, :3])
    return barrier(Descent(normal, far, corners, start.weights, nearest))


def query_of(s: Descent) -> Array:
    """The query point: the origin when the bodies are apart, else outside along the best direction."""
    return s.normal * (s.depth + jnp.maximum(STAND_OFF, -s.depth))


def advance_by_kernel(pair: Pair, s: Descent, steps: int, again: bool = False) -> Descent:
    """Run `steps` steps of `advance` in a kernel, the first one perhaps `again`."""
    body, hulls = pair.both, pair.both.hulls
    bodies = body.half, body.disc, hulls.row, hulls.resolution, pair.pos, pair.mat
    kernel = kernel_of(hulls.table, len(s.depth), steps, again, STAND_OFF, TINY)
    return Descent(*descend_in_kernel(kernel, bodies, s, hulls.table))


def advance(pair: Pair, s: Descent, again: Array | bool = False) -> Descent:
    """One support evaluation, towards the query: perhaps a better direction, and the next simplex.

    With `again` it is the best direction so far that is evaluated.
    """
    offset = query_of(s) - s.nearest
    length = spatial.norm(offset)
    usable = (length > 1e-7) & ~jnp.asarray(again)
    direction = barrier(jnp.where(usable, offset / jnp.maximum(length, 1e-7), s.normal))
    corner = barrier(support(pair, direction))
    overlap = spatial.dot(corner[:3], direction)
    better = overlap < s.depth
    s = s._replace(normal=jnp.where(better, direction, s.normal), depth=jnp.where(better, overlap, s.depth))
    return _grow(barrier(s), corner)


def _grow(s: Descent, corner: Array) -> Descent:
    """GJK's next simplex: the one of the old points and the new that is nearest to the query."""
    # The nearest point of the grown simplex lies on an edge or triangle at the new point, unless it stayed where it is.
    query, point = query_of(s), corner[:3]
    offset = query - point
    edges = barrier(jnp.moveaxis(s.corners[:, :3], 1, 0) - point[:, None])  # (3, 3 edges, S, L)
    along = _share(edges, offset[:, None])
    edge_gap = offset[:, None] - along * edges
    following = jnp.concatenate([edges[:, 1:], edges[:, :1]], axis=1)  # the third side of each triangle
    v, w, inside = _barycentric(edges, following, offset[:, None])
    face_gap = offset[:, None] - v * edges - w * following
    edge_square, face_square, along, v, w = barrier(
        spatial.dot(edge_gap, edge_gap), jnp.where(inside, spatial.dot(face_gap, face_gap), FAR), along, v, w
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
    nearest = jnp.where(choice < 0, s.nearest, combine(weights, corners[:, :3]))
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


def triangle_weights(corners: Array, query: Array) -> Array:
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
    best = jnp.where(inside, -1.0, FAR)
    for side, (at_b, at_c) in enumerate(((t[0], 0.0), (1 - t[1], t[1]), (0.0, 1 - t[2]))):
        closer = square[side] < best
        best, v, w = jnp.where(closer, square[side], best), jnp.where(closer, at_b, v), jnp.where(closer, at_c, w)
    return jnp.stack([v, w])


def combine(weights: Array, corners: Array) -> Array:
    """The point of a triangle with these weights of its second and third corner."""
    return corners[0] + weights[0] * (corners[1] - corners[0]) + weights[1] * (corners[2] - corners[0])
