"""The contact of general convex shapes as a differentiable function of their poses, at the features that touch.

The descent of `descent.py` ends at the direction n that minimizes the overlap of the cores

    h(n) = max_i V_i.n + r1 |n across axis 1| + r2 |n across axis 2|,

where V_i are differences of a vertex of each body (a mesh, a box, the ends of an axis) and r the radii of the discs of
cylinders. The corners of the last simplex are the V_i that count. With weights w_i of sum one the minimum satisfies

    sum_i w_i grad h_i(n) = h n  (the deepest points lie across from each other),  h_i(n) = h for every i,

so that n and w follow from the poses by the implicit function theorem: with three corners n is the normal of a face,
with one it follows the curvature of the discs and of the sphere of directions, with two each in its direction. The
derivative of the overlap itself is that of h at n held fixed.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.convex import Deepest, contact_of, find_deepest
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape, WarmStart

Array = jax.Array

_CYLINDER = int(mujoco.mjtGeom.mjGEOM_CYLINDER)
# Closer to a cylinder's axis than this, in rad, the direction is that of its cap, a face like another.
_CAP = 1e-3
# Corners count with more weight than this, or where they reach as far as the others to within this many metres.
_WEIGHT, _LEVEL = 1e-6, 1e-7
# Corners and sides of the simplex that are closer in m, or more nearly parallel in rad, count as one.
_SAME, _PARALLEL = 1e-6, 1e-4
# A direction in which h curves less than this, in m, has no minimum to follow.
_FLAT = 1e-6


class _Side(NamedTuple):
    """One body's share of the cores' difference, in the frame of the second body."""

    vertices: Array  # (3, 3 corners, S, L) the body's own, in its frame, without the disc
    radius: Array  # (S, L) of the disc, zero where the direction is that of its cap
    axis: Array  # (3, S, L) of the disc


def touch(
    shape1: Shape,
    shape2: Shape,
    hulls: HullTable,
    margin: Array,
    start: WarmStart,
    iterations: int,
    kernels: bool = False,
) -> tuple[Points, WarmStart]:
    """`collide_convex`, differentiable with respect to the poses of the shapes."""
    held1, held2, start = jax.lax.stop_gradient((shape1, shape2, start))
    deepest, following = jax.lax.stop_gradient(find_deepest(held1, held2, hulls, start, iterations, kernels))
    pos = spatial.rotate_back(shape2.mat, shape1.pos - shape2.pos)
    mat = spatial.matmul_tn(shape2.mat, shape1.mat)
    deepest, on_first = _follow(deepest, pos, mat, held1, held2)
    return contact_of(deepest, on_first, shape2, margin), following


def _follow(deepest: Deepest, pos: Array, mat: Array, shape1: Shape, shape2: Shape) -> tuple[Deepest, Array]:
    """Make the deepest direction a function of the first body's pose (pos, mat); also the point on that body's core."""
    held_pos, held_mat = jax.lax.stop_gradient((pos, mat))
    n = deepest.normal
    corners, weights = _heaviest_first(deepest)
    first = jnp.moveaxis(corners[:, 3:], 1, 0)
    local1 = spatial.rotate_back(held_mat[:, :, None], first - held_pos[:, None])
    local2 = first - jnp.moveaxis(corners[:, :3], 1, 0)
    side1 = _side(shape1, local1, spatial.rotate_back(held_mat, n), mat[:, 2])
    side2 = _side(shape2, local2, n, jnp.zeros_like(n).at[2].set(1.0))

    on_first = pos[:, None] + spatial.rotate(mat[:, :, None], side1.vertices)
    difference = on_first - side2.vertices
    turn, shift = _respond(n, weights, difference, (side1, side2))
    # What the responses are at the pose that was found is no more than what the descent left over.
    normal = n + turn - jax.lax.stop_gradient(turn)
    shifted = weights + shift - jax.lax.stop_gradient(shift)
    reach = spatial.dot(n, _combine(weights, difference) + _disc(side1, n) + _disc(side2, n))
    depth = deepest.depth + reach - jax.lax.stop_gradient(reach)
    return deepest._replace(normal=normal, depth=depth), _combine(shifted, on_first) + _disc(side1, normal)


def _heaviest_first(deepest: Deepest) -> tuple[Array, Array]:
    """The simplex, turned so that its first corner has the largest weight, and all three weights (3, S, L)."""
    second, third = deepest.weights
    weights = jnp.stack([1.0 - second - third, second, third])
    heaviest = jnp.max(weights, axis=0)
    corners = deepest.corners
    by_second = (weights[1] == heaviest) & (weights[0] < heaviest)
    by_third = ~by_second & (weights[0] < heaviest)

    def turned(x: Array) -> Array:
        return jnp.where(by_second, jnp.roll(x, -1, axis=0), jnp.where(by_third, jnp.roll(x, -2, axis=0), x))

    return turned(corners), turned(weights)


def _side(shape: Shape, points: Array, direction: Array, axis: Array) -> _Side:
    """A body of which `points` (3, 3, S, L) were furthest along a direction (3, S, L), both in its own frame."""
    across = jnp.sqrt(direction[0] ** 2 + direction[1] ** 2)
    curved = (shape.type == _CYLINDER) & (across > _CAP)
    vertices = jnp.where(curved, points.at[:2].set(0.0), points)
    return _Side(vertices, jnp.where(curved, shape.size[0], 0.0), axis)


def _disc(side: _Side, n: Array) -> Array:
    """(3, S, L) the point of the disc furthest along n."""
    across = n - side.axis * spatial.dot(side.axis, n)
    return side.radius * spatial.normalize(across)


def _combine(weights: Array, corners: Array) -> Array:
    """(3, S, L) from weights (3, S, L) and corners (3, 3 corners, S, L)."""
    return jnp.sum(weights * corners, axis=1)


def _respond(n: Array, weights: Array, difference: Array, sides: tuple[_Side, _Side]) -> tuple[Array, Array]:
    """One Newton step of the conditions for the minimum: changes of n (3, S, L) and of the weights (3, S, L).

    The step's matrix is held constant, so its derivative is that of the implicit function.
    """
    tangent1, tangent2 = _tangents(n)

    def flat(v: Array) -> Array:
        """Components (2, ...) of vectors across n."""
        middle = (slice(None), *[None] * (v.ndim - n.ndim))
        return jnp.stack([spatial.dot(tangent1[middle], v), spatial.dot(tangent2[middle], v)])

    held = jax.lax.stop_gradient(difference)
    edges = held[:, 1:] - held[:, :1]
    e = flat(edges)  # (2, 2 edges, S, L)
    length = spatial.norm(e)
    level = jnp.abs(spatial.dot(n[:, None], edges)) < _LEVEL
    counts = (length > _SAME) & (level | (weights[1:] > _WEIGHT))
    e = e / jnp.maximum(length, _SAME)
    area = e[0, 0] * e[1, 1] - e[1, 0] * e[0, 1]
    face = counts[0] & counts[1] & (jnp.abs(area) > _PARALLEL)
    edge = (counts[0] | counts[1]) & ~face
    # A lone edge stands in the first place.
    e1, e2 = jnp.where(counts[0], e[:, 0], e[:, 1]), e[:, 1]
    along1 = jnp.stack([e1[0], e1[1]])

    # What is left of the two conditions.
    stationary = flat(_combine(weights, difference) + _disc(sides[0], n) + _disc(sides[1], n))
    uneven = spatial.dot(n[:, None], difference[:, 1:] - difference[:, :1]) / jnp.maximum(length, _SAME)
    uneven1 = jnp.where(counts[0], uneven[0], uneven[1])

    overlap = spatial.dot(n, _combine(weights, held) + _disc(sides[0], n) + _disc(sides[1], n))
    hessian = jax.lax.stop_gradient(_curvature(n, sides, flat) - _identity(overlap) * overlap)

    # Three corners: both components of n follow from them.
    on_face = -_solve(along1, e2, uneven1, uneven[1], face)
    # Two: one does, the other is where the gradient along it vanishes. None but one: both are.
    side = jnp.stack([-along1[1], along1[0]])
    bend = _bilinear(hessian, side, side)
    pull = spatial.dot(side, stationary) - _bilinear(hessian, side, along1) * uneven1
    on_edge = -along1 * uneven1 - side * jnp.where(bend > _FLAT, pull / jnp.where(bend > _FLAT, bend, 1.0), 0.0)
    determinant = hessian[0, 0] * hessian[1, 1] - hessian[0, 1] * hessian[1, 0]
    convex = (hessian[0, 0] + hessian[1, 1] > _FLAT) & (determinant > _FLAT**2)
    on_vertex = -_solve(hessian[0], hessian[1], stationary[0], stationary[1], convex & ~face & ~edge)
    y = jnp.where(face, on_face, jnp.where(edge, on_edge, on_vertex))

    # The weights restore the first condition along the edges.
    rest = -stationary - hessian[:, 0] * y[0] - hessian[:, 1] * y[1]
    both = _solve(jnp.stack([along1[0], e2[0]]), jnp.stack([along1[1], e2[1]]), rest[0], rest[1], face)
    single = jnp.where(edge, spatial.dot(along1, rest), 0.0)
    change1 = jnp.where(face, both[0], jnp.where(counts[0], single, 0.0)) / jnp.maximum(length[0], _SAME)
    change2 = jnp.where(face, both[1], jnp.where(counts[0], 0.0, single)) / jnp.maximum(length[1], _SAME)
    return tangent1 * y[0] + tangent2 * y[1], jnp.stack([-change1 - change2, change1, change2])


def _tangents(n: Array) -> tuple[Array, Array]:
    """Two unit vectors across a unit vector and each other."""
    small = jnp.abs(n[0]) < 0.5
    axis = jnp.stack([small.astype(n.dtype), (~small).astype(n.dtype), jnp.zeros_like(n[0])])
    first = spatial.normalize(axis - n * spatial.dot(axis, n))
    return first, spatial.cross(n, first)


def _curvature(n: Array, sides: tuple[_Side, _Side], flat) -> Array:
    """(2, 2, S, L) second derivative of the discs' reach across n: only around the disc does its point move."""
    total = jnp.zeros((2, 2, *n.shape[1:]), n.dtype)
    for side in sides:
        around = spatial.cross(side.axis, n)
        across = jnp.maximum(spatial.norm(around), _CAP)
        around = flat(around / across)
        total = total + side.radius / across * around[:, None] * around[None]
    return total


def _identity(like: Array) -> Array:
    return jnp.eye(2, dtype=like.dtype)[:, :, None, None]


def _bilinear(matrix: Array, a: Array, b: Array) -> Array:
    """`a @ matrix @ b` of (2, 2, S, L) and (2, S, L)."""
    return spatial.dot(a, matrix[:, 0] * b[0] + matrix[:, 1] * b[1])


def _solve(row1: Array, row2: Array, rhs1: Array, rhs2: Array, exists: Array) -> Array:
    """(2, S, L) the solution of two equations with rows (2, S, L), zero where it does not exist."""
    determinant = jnp.where(exists, row1[0] * row2[1] - row1[1] * row2[0], 1.0)
    x = jnp.stack([rhs1 * row2[1] - rhs2 * row1[1], row1[0] * rhs2 - row2[0] * rhs1]) / determinant
    return jnp.where(exists, x, 0.0)
