"""Cylinders against boxes: the exact penetration depth, one point.

MuJoCo gives this pair to its general convex routine. Here the overlap along a direction has a closed form, with the
box's axes as coordinates, a cylinder of axis a, radius r and half-length H, a box of half-sizes b and c from the
box's centre to the cylinder's::

    h(n) = c.n + H |a.n| + r sqrt(1 - (a.n)^2) + b.|n|

The depth is its minimum over unit vectors n (from the cylinder to the box). Where the bodies overlap, the minimum lies
where the sum of both bodies has a flat or singly curved face, so one of

- a face of the box, n = +-e_i;
- a cap, n = +-a;
- an edge across the cylinder's side, n = +-(e_i x a);
- a corner of the box in the side, n from the axis to the corner;
- an edge across the rim, n perpendicular to e_i: a minimum along a great circle, found by Newton steps.

Every candidate's depth is h at a unit vector, so a candidate that was not found exactly can only make the depth too
large. Of apart bodies (within a margin) the distance of a rim to a corner of the box is underestimated.
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
_NEWTON_STEPS = 5
_MAX_STEP = 0.35  # rad
_CORNERS = np.array([[(1 if i >> k & 1 else -1) for k in range(3)] for i in range(8)], float)
# Below this angle MuJoCo's choice among points of nearly equal depth is arbitrary: its tolerance of 1e-6 m over 2 cm.
_PARALLEL = 5e-5
# A later candidate must beat an earlier one by more than rounding.
_ADVANTAGE = 1e-7


class _Problem(NamedTuple):
    axis: Array  # (3, S, L) the cylinder's axis in the box's frame
    center: Array  # (3, S, L) the cylinder's centre in it
    radius: Array  # (S, L)
    half: Array  # (S, L)
    box: Array  # (3, S, L)


def collide_cylinder_boxes(cylinder: Shape, box: Shape, margin: Array) -> Points:
    """Contact of world-frame cylinders with boxes, one point a slot."""
    p = _Problem(
        axis=spatial.rotate_back(box.mat, cylinder.mat[:, 2]),
        center=spatial.rotate_back(box.mat, cylinder.pos - box.pos),
        radius=cylinder.size[0],
        half=cylinder.size[1],
        box=box.size,
    )
    p = barrier(p)
    faces, sides = _face_normals(p), _side_normals(p)
    cap = jnp.where(spatial.dot(p.axis, p.center) > 0, -1.0, 1.0) * p.axis
    corner = _corner_normal(p)
    rims = _rim_normals(p, sides)
    normals = barrier(jnp.concatenate([faces, cap[:, None], sides, corner[:, None], rims], axis=1))
    # A side that is parallel to the axis is zero.
    overlaps = barrier(jnp.where(spatial.norm(normals) > 0.5, _overlap(p, normals), _FAR))
    best, which, normal = least(overlaps[:3], normals[:, :3])
    for rank, group in enumerate((slice(3, 4), slice(4, 7), slice(7, 8), slice(8, 11)), 1):
        low, number, candidate = least(overlaps[group], normals[:, group])
        closer = low < best - _ADVANTAGE
        best = jnp.where(closer, low, best)
        normal = jnp.where(closer, candidate, normal)
        which = jnp.where(closer, 3 * rank + number, which)
    best, normal = barrier(best, normal)
    pos = _position(p, normal, best, which)
    world = box.pos + spatial.rotate(box.mat, pos)
    dist = jnp.where(-best < margin, -best, NO_CONTACT)
    return Points(dist[None], world[:, None], spatial.rotate(box.mat, normal)[:, None])


def _overlap(p: _Problem, normal: Array) -> Array:
    """h for directions (3, ..., S, L)."""
    axis, center, box = (spatial.with_axes(v, normal.ndim) for v in (p.axis, p.center, p.box))
    along = spatial.dot(axis, normal)
    across = spatial.sqrt(jnp.maximum(1.0 - along * along, 0.0))
    # The radius times the rounding of `across` near a cap stays below 1e-5 m only through this longer form.
    perpendicular = spatial.norm(normal - axis * along)
    across = jnp.where(across < 0.1, perpendicular, across)
    return spatial.dot(center, normal) + p.half * jnp.abs(along) + p.radius * across + spatial.dot(box, jnp.abs(normal))


def _face_normals(p: _Problem) -> Array:
    """(3, 3, S, L) the box's axes, each in its better sense."""
    eye = jnp.eye(3, dtype=p.axis.dtype)[:, :, None, None]
    return jnp.where(p.center > 0, -eye, eye)


def _side_normals(p: _Problem) -> Array:
    """(3, 3, S, L) e_i x a, each in its better sense; zero where the two are parallel."""
    cross = spatial.axes_cross(p.axis)
    length = spatial.norm(cross)
    cross = jnp.where(length > 1e-4, cross / jnp.where(length > 1e-4, length, 1.0), 0.0)
    return jnp.where(spatial.dot(p.center[:, None], cross) > 0, -cross, cross)


def _corner_normal(p: _Problem) -> Array:
    """(3, S, L) direction from the cylinder's axis to the nearest corner of the box."""
    corners = jnp.asarray(_CORNERS.T, p.box.dtype)[:, :, None, None] * p.box[:, None] - p.center[:, None]
    across = corners - p.axis[:, None] * spatial.dot(p.axis[:, None], corners)
    _, _, offset = least(*barrier(spatial.dot(across, across), across))
    length = spatial.norm(offset)
    fallback = _face_normals(p)[:, 0]
    return jnp.where(length > 1e-9, offset / jnp.maximum(length, 1e-9), fallback)


def _rim_normals(p: _Problem, sides: Array) -> Array:
    """(3, 3, S, L) for each box axis i the minimum of h over the great circle perpendicular to e_i.

    Descends from the best kink of h on the circle into the smooth arc beside it, by Newton steps on the angle. A
    direction on circle i is written (u, v) along the box axes i + 1 and i + 2; the circles are the leading axis.
    """
    axis, center, box = (spatial.plane_components(x) for x in (p.axis, p.center, p.box))

    def overlap(u: Array, v: Array) -> Array:
        along = axis[0] * u + axis[1] * v
        across = spatial.sqrt(jnp.maximum(1.0 - along * along, 0.0))
        linear = center[0] * u + center[1] * v + box[0] * jnp.abs(u) + box[1] * jnp.abs(v)
        return linear + p.half * jnp.abs(along) + p.radius * across

    one = jnp.ones_like(axis[0])
    toward_u, toward_v = jnp.where(center[0] > 0, -one, one), jnp.where(center[1] > 0, -one, one)
    side_u, side_v = spatial.to_plane_components(sides)  # side i is perpendicular to e_i
    has_side = side_u * side_u + side_v * side_v > 0.5
    u, v, best = toward_u, jnp.zeros_like(one), overlap(toward_u, 0.0 * one)
    # Not a kink, but nearly one where the circle passes close to a cap's normal: the direction on it nearest to that.
    length = spatial.sqrt(axis[0] * axis[0] + axis[1] * axis[1])
    has_cap = length > 1e-3
    scale = jnp.where(axis[0] * center[0] + axis[1] * center[1] > 0, -1.0, 1.0) / jnp.where(has_cap, length, 1.0)
    cap_u, cap_v = axis[0] * scale, axis[1] * scale
    trials = ((0.0 * one, toward_v, True), (side_u, side_v, has_side), (cap_u, cap_v, has_cap))
    for trial_u, trial_v, exists in trials:
        value = overlap(trial_u, trial_v)
        closer = exists & (value < best)
        u, v, best = (jnp.where(closer, new, old) for new, old in ((trial_u, u), (trial_v, v), (value, best)))

    # On which side of the kink h falls, judged a milliradian away.
    c, s = np.cos(1e-3), np.sin(1e-3)
    ahead, behind = (c * u - s * v, s * u + c * v), (c * u + s * v, c * v - s * u)
    falls_ahead = overlap(*ahead) < overlap(*behind)
    u, v = (jnp.where(falls_ahead, a, b) for a, b in zip(ahead, behind, strict=True))
    u, v = barrier(u, v)
    # The signs of the arc; with them fixed h is smooth: q.n + r sqrt(1 - (a.n)^2).
    tau = jnp.where(axis[0] * u + axis[1] * v < 0, -p.half, p.half)
    q0 = center[0] + jnp.where(u < 0, -box[0], box[0]) + tau * axis[0]
    q1 = center[1] + jnp.where(v < 0, -box[1], box[1]) + tau * axis[1]

    def newton(_, direction):
        u, v = direction
        along = axis[0] * u + axis[1] * v
        turn = axis[1] * u - axis[0] * v  # derivative of `along` by the angle
        inverse = jax.lax.rsqrt(jnp.maximum(1.0 - along * along, 1e-8))  # of sqrt(1 - (a.n)^2)
        slope = q1 * u - q0 * v - p.radius * along * turn * inverse
        # The derivative of along * turn * inverse by the angle:
        bend = (turn * turn - along * along) * inverse + (along * turn) ** 2 * inverse**3
        curvature = -(q0 * u + q1 * v) - p.radius * bend
        step = jnp.where(curvature > 1e-6, -slope / jnp.maximum(curvature, 1e-6), -jnp.sign(slope) * _MAX_STEP)
        step = jnp.clip(step, -_MAX_STEP, _MAX_STEP)
        u, v = u - step * v, v + step * u
        scale = jax.lax.rsqrt(u * u + v * v)
        return barrier(u * scale, v * scale)

    # Written out, the steps are fused with what stands around them on a GPU: no kernel of their own.
    u, v = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, (u, v), unroll=True)
    return spatial.from_plane_components(u, v)


def _position(p: _Problem, normal: Array, depth: Array, which: Array) -> Array:
    """(3, S, L) the contact point in the box's frame, midway between the deepest points of both bodies.

    Which point is deepest depends on angles between the bodies; where such an angle nears zero the point moves
    smoothly to the middle of the face, edge or side that becomes parallel.
    """
    along = spatial.dot(p.axis, normal)
    radial = normal - p.axis * along
    length = spatial.norm(radial)
    radial = radial / jnp.maximum(length, 1e-9)
    side = p.center + p.radius * radial
    low, high = _overlap_interval(p, side, normal)
    end = p.half * jnp.clip(along / _PARALLEL, -1.0, 1.0)
    # Of a side along a face of the box, the part over the face; on a cap or the rim the end is exact.
    on_face = which < 3
    over = on_face & (jnp.abs(along) < 0.5) & (low <= high)
    end = jnp.where(over, jnp.clip(end, low, high), end)
    on_cylinder = p.center + p.axis * end + radial * (p.radius * jnp.minimum(length / _PARALLEL, 1.0))
    tangential = jnp.clip(on_cylinder, -p.box, p.box)
    on_cylinder = jnp.where(on_face & (jnp.abs(normal) < 0.5), tangential, on_cylinder) - 0.5 * depth * normal

    corner = -p.box * jnp.clip(normal / _PARALLEL, -1.0, 1.0)
    on_box = corner + 0.5 * depth * normal

    # An edge across the side: the point of the edge nearest to the line along the side.
    edge = jnp.arange(3)[:, None, None] == which - 6
    base = jnp.where(edge, 0.0, jnp.where(normal > 0, -p.box, p.box))
    offset = side - base
    a_i = jnp.sum(jnp.where(edge, p.axis, 0.0), axis=0)
    w_i = jnp.sum(jnp.where(edge, offset, 0.0), axis=0)
    s = (w_i * a_i - spatial.dot(offset, p.axis)) / jnp.maximum(1.0 - a_i * a_i, 1e-8)
    s = jnp.clip(s, -p.half, p.half)
    half = jnp.sum(jnp.where(edge, p.box, 0.0), axis=0)
    on_edge = jnp.where(edge, jnp.clip(w_i + s * a_i, -half, half), base) + 0.5 * depth * normal

    is_side = (which >= 6) & (which < 9)
    from_box = (which == 3) | (which == 9)
    return jnp.where(is_side, on_edge, jnp.where(from_box, on_box, on_cylinder))


def _overlap_interval(p: _Problem, base: Array, normal: Array) -> tuple[Array, Array]:
    """The part of the line base + s axis, |s| <= H, that lies over the face of the box with that normal."""
    low, high = -p.half, p.half
    for k in range(3):
        steep = (jnp.abs(p.axis[k]) > 1e-6) & (jnp.abs(normal[k]) < 0.5)
        inverse = 1.0 / jnp.where(steep, p.axis[k], 1.0)
        s1, s2 = (-p.box[k] - base[k]) * inverse, (p.box[k] - base[k]) * inverse
        low = jnp.where(steep, jnp.maximum(low, jnp.minimum(s1, s2)), low)
        high = jnp.where(steep, jnp.minimum(high, jnp.maximum(s1, s2)), high)
    return low, high
