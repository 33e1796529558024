"""Intersection of rays with the shapes of MuJoCo, in a shape's own frame.

Rays are given by an origin and a direction of any length; distances count in that length. As OpenGL culls back faces,
only surfaces that face the ray are hit, and none nearer than the clipping plane.
"""

import mujoco
import warp as wp  # pyright: ignore[reportMissingModuleSource]

PLANE = wp.constant(int(mujoco.mjtGeom.mjGEOM_PLANE))
SPHERE = wp.constant(int(mujoco.mjtGeom.mjGEOM_SPHERE))
CAPSULE = wp.constant(int(mujoco.mjtGeom.mjGEOM_CAPSULE))
ELLIPSOID = wp.constant(int(mujoco.mjtGeom.mjGEOM_ELLIPSOID))
CYLINDER = wp.constant(int(mujoco.mjtGeom.mjGEOM_CYLINDER))
BOX = wp.constant(int(mujoco.mjtGeom.mjGEOM_BOX))
MESH = wp.constant(int(mujoco.mjtGeom.mjGEOM_MESH))
_TINY = wp.constant(1.0e-12)
NONE = wp.constant(-1.0)


@wp.func
def away_from_zero(x: float):
    """The same number, but for zero."""
    result = x
    if wp.abs(x) < _TINY:
        result = _TINY
    return result


@wp.func
def plane_entry(o: wp.vec3, r: wp.vec3, size: wp.vec3):
    """Distance at which the ray meets a plane from above, -1 if it does not."""
    result = NONE
    if o[2] > 0.0 and r[2] < 0.0:
        t = -o[2] / r[2]
        x = wp.abs(o[0] + t * r[0])
        y = wp.abs(o[1] + t * r[1])
        if (size[0] <= 0.0 or x <= size[0]) and (size[1] <= 0.0 or y <= size[1]):
            result = t
    return result


@wp.func
def box_interval(o: wp.vec3, r: wp.vec3, size: wp.vec3):
    """Distances at which the ray enters and leaves a box."""
    ix = 1.0 / away_from_zero(r[0])
    iy = 1.0 / away_from_zero(r[1])
    iz = 1.0 / away_from_zero(r[2])
    hx = wp.abs(size[0] * ix)
    hy = wp.abs(size[1] * iy)
    hz = wp.abs(size[2] * iz)
    mx = -o[0] * ix
    my = -o[1] * iy
    mz = -o[2] * iz
    enter = wp.max(mx - hx, wp.max(my - hy, mz - hz))
    leave = wp.min(mx + hx, wp.min(my + hy, mz + hz))
    return enter, leave


@wp.func
def bounds_interval(o: wp.vec3, r: wp.vec3, low: wp.vec3, high: wp.vec3):
    """Distances at which the ray enters and leaves a bounding box."""
    ix = 1.0 / away_from_zero(r[0])
    iy = 1.0 / away_from_zero(r[1])
    iz = 1.0 / away_from_zero(r[2])
    x0 = (low[0] - o[0]) * ix
    x1 = (high[0] - o[0]) * ix
    y0 = (low[1] - o[1]) * iy
    y1 = (high[1] - o[1]) * iy
    z0 = (low[2] - o[2]) * iz
    z1 = (high[2] - o[2]) * iz
    enter = wp.max(wp.min(x0, x1), wp.max(wp.min(y0, y1), wp.min(z0, z1)))
    leave = wp.min(wp.max(x0, x1), wp.min(wp.max(y0, y1), wp.max(z0, z1)))
    return enter, leave


@wp.func
def ball_interval(o: wp.vec3, r: wp.vec3, radius: float):
    """Distances at which the ray enters and leaves a ball; nowhere if the first is behind the second."""
    a = wp.dot(r, r)
    b = wp.dot(o, r)
    # The nearest point first: its distance loses no digits where the ball is far and small.
    closest = o - (b / a) * r
    root = radius * radius - wp.dot(closest, closest)
    enter = float(1.0)
    leave = float(-1.0)
    if root > 0.0:
        half = wp.sqrt(root / a)
        enter = -b / a - half
        leave = -b / a + half
    return enter, leave


@wp.func
def cylinder_interval(o: wp.vec3, r: wp.vec3, radius: float, half: float):
    """Distances at which the ray enters and leaves a cylinder."""
    a = away_from_zero(r[0] * r[0] + r[1] * r[1])
    b = o[0] * r[0] + o[1] * r[1]
    x = o[0] - b / a * r[0]
    y = o[1] - b / a * r[1]
    root = radius * radius - x * x - y * y
    enter = float(1.0)
    leave = float(-1.0)
    if root > 0.0:
        width = wp.sqrt(root / a)
        iz = 1.0 / away_from_zero(r[2])
        middle = -o[2] * iz
        height = wp.abs(half * iz)
        enter = wp.max(-b / a - width, middle - height)
        leave = wp.min(-b / a + width, middle + height)
    return enter, leave


@wp.func
def capsule_interval(o: wp.vec3, r: wp.vec3, radius: float, half: float):
    """Distances at which the ray enters and leaves a capsule: the hull of its three parts."""
    enter, leave = cylinder_interval(o, r, radius, half)
    top_enter, top_leave = ball_interval(o - wp.vec3(0.0, 0.0, half), r, radius)
    low_enter, low_leave = ball_interval(o + wp.vec3(0.0, 0.0, half), r, radius)
    if top_enter < top_leave:
        if enter < leave:
            enter = wp.min(enter, top_enter)
            leave = wp.max(leave, top_leave)
        else:
            enter = top_enter
            leave = top_leave
    if low_enter < low_leave:
        if enter < leave:
            enter = wp.min(enter, low_enter)
            leave = wp.max(leave, low_leave)
        else:
            enter = low_enter
            leave = low_leave
    return enter, leave


@wp.func
def solid_interval(kind: int, o: wp.vec3, r: wp.vec3, size: wp.vec3):
    """Distances at which the ray enters and leaves a convex shape."""
    enter = float(1.0)
    leave = float(-1.0)
    if kind == BOX:
        enter, leave = box_interval(o, r, size)
    elif kind == CYLINDER:
        enter, leave = cylinder_interval(o, r, size[0], size[1])
    elif kind == SPHERE:
        enter, leave = ball_interval(o, r, size[0])
    elif kind == CAPSULE:
        enter, leave = capsule_interval(o, r, size[0], size[1])
    elif kind == ELLIPSOID:
        enter, leave = ball_interval(wp.cw_div(o, size), wp.cw_div(r, size), 1.0)
    return enter, leave


@wp.func
def solid_normal(kind: int, p: wp.vec3, size: wp.vec3):
    """Outward normal of a convex shape at a point of its surface."""
    n = wp.vec3(0.0, 0.0, 1.0)
    if kind == BOX:
        x = wp.abs(p[0]) - size[0]
        y = wp.abs(p[1]) - size[1]
        z = wp.abs(p[2]) - size[2]
        if x >= y and x >= z:
            n = wp.vec3(wp.sign(p[0]), 0.0, 0.0)
        elif y >= z:
            n = wp.vec3(0.0, wp.sign(p[1]), 0.0)
        else:
            n = wp.vec3(0.0, 0.0, wp.sign(p[2]))
    elif kind == CYLINDER:
        if wp.abs(p[2]) - size[1] > wp.sqrt(p[0] * p[0] + p[1] * p[1]) - size[0]:
            n = wp.vec3(0.0, 0.0, wp.sign(p[2]))
        else:
            n = wp.normalize(wp.vec3(p[0], p[1], 0.0))
    elif kind == SPHERE:
        n = wp.normalize(p)
    elif kind == CAPSULE:
        n = wp.normalize(p - wp.vec3(0.0, 0.0, wp.clamp(p[2], -size[1], size[1])))
    elif kind == ELLIPSOID:
        n = wp.normalize(wp.cw_div(wp.cw_div(p, size), size))
    return n
