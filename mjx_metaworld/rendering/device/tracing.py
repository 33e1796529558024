"""Rays through the slots of a scene: the nearest surface, its mirror image, and shadows."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device import shapes
from mjx_metaworld.rendering.device.culling import CELLS, light_axes, sun_cell
from mjx_metaworld.rendering.device.structs import Hit, Pixel, SceneArrays, Scratch

_BACK_FACES = wp.constant(4)  # of a mesh that a ray passes before it gives up
_SLOPE = wp.constant(1.5)  # MuJoCo's polygon offset of shadow maps, in pixels of the map


@wp.func
def hit_slot(scenes: SceneArrays, s: int, slot: int, o: wp.vec3, r: wp.vec3, near: float, best: Hit):
    """The slot's surface if it is nearer than the best, else the best."""
    kind = scenes.slots[s, slot].kind
    hit = best
    if kind == shapes.MESH:
        # Most rays that come here miss the box already, which is cheaper to tell than to ask the mesh.
        enter, leave = shapes.bounds_interval(o, r, scenes.slots[s, slot].low, scenes.slots[s, slot].high)
        start = wp.max(near, enter - 1.0e-4)
        if enter <= leave and leave >= near and start < best.t:
            for _i in range(_BACK_FACES):
                found = wp.mesh_query_ray(scenes.slots[s, slot].mesh, o + start * r, r, best.t - start)
                if not found.result:
                    break
                t = start + found.t
                if wp.dot(found.normal, r) < 0.0:
                    if t < best.t:
                        hit.slot = slot
                        hit.t = t
                        hit.face = found.face
                        hit.u = found.u
                        hit.v = found.v
                    break
                start = t * 1.00001 + 1.0e-6
    elif kind == shapes.PLANE:
        t = shapes.plane_entry(o, r, scenes.slots[s, slot].size)
        if t >= near and t < best.t:
            hit.slot = slot
            hit.t = t
    else:
        enter, leave = shapes.solid_interval(kind, o, r, scenes.slots[s, slot].size)
        if enter < leave and enter >= near and enter < best.t:
            hit.slot = slot
            hit.t = enter
    return hit


@wp.func
def nothing(far: float):
    """No surface up to a distance."""
    hit = Hit()
    hit.slot = -1
    hit.t = far
    hit.face = 0
    hit.u = 0.0
    hit.v = 0.0
    return hit


@wp.func
def nearest(scenes: SceneArrays, scratch: Scratch, at: Pixel, ray: wp.vec3, behind: Hit):
    """Nearest opaque surface that a tile's ray meets before another."""
    best = behind
    near = scenes.rows[at.s].near
    for i in range(scratch.tiles[at.env, at.row, at.column].count):
        slot = int(scratch.order[at.env, at.row, at.column, i])
        if scratch.poses[at.env, slot].depth > best.t:
            break
        r = scratch.poses[at.env, slot].inverse * ray
        best = hit_slot(scenes, at.s, slot, scratch.poses[at.env, slot].eye, r, near, best)
    return best


@wp.func
def nearest_clear(scenes: SceneArrays, scratch: Scratch, at: Pixel, ray: wp.vec3, far: float):
    """Nearest translucent surface that a tile's ray meets up to a distance."""
    best = nothing(far)
    last = scratch.poses.shape[1] - 1
    for i in range(scratch.tiles[at.env, at.row, at.column].clear):
        slot = int(scratch.order[at.env, at.row, at.column, last - i])
        r = scratch.poses[at.env, slot].inverse * ray
        best = hit_slot(scenes, at.s, slot, scratch.poses[at.env, slot].eye, r, scenes.rows[at.s].near, best)
    return best


@wp.func
def reflected(scenes: SceneArrays, scratch: Scratch, at: Pixel, ray: wp.vec3, after: float, far: float):
    """Nearest opaque surface beyond the mirror on a ray of the camera's mirror image."""
    best = nothing(far)
    for i in range(scratch.tiles[at.env, at.row, at.column].mirrored):
        slot = int(scratch.mirror_order[at.env, at.row, at.column, i])
        r = scratch.poses[at.env, slot].inverse * ray
        best = hit_slot(scenes, at.s, slot, scratch.poses[at.env, slot].mirror_eye, r, after, best)
    return best


@wp.func
def shadows(scenes: SceneArrays, scratch: Scratch, at: Pixel, p: wp.vec3, cosine: float, by_moving: int):
    """Test of a point for shadow: the light that casts it meets the normal at that cosine.

    With `by_moving` only by slots that may move.
    """
    caster = scenes.rows[at.s].caster
    direction = scenes.lights[at.s, caster].dir
    u, v = light_axes(direction)
    away = p - scenes.lights[at.s, caster].pos
    half = scenes.rows[at.s].shadow
    i = sun_cell(wp.dot(away, u), half)
    j = sun_cell(wp.dot(away, v), half)
    if i < 0 or j < 0 or i >= CELLS or j >= CELLS:
        return False
    slope = wp.sqrt(wp.max(1.0 - cosine * cosine, 0.0)) / wp.max(cosine, 0.02)
    bias = 2.0e-4 + _SLOPE * scenes.rows[at.s].texel * slope
    reach = wp.dot(away, direction) - scenes.rows[at.s].near
    for word in range(scratch.sun.shape[3]):
        bits = scratch.sun[at.env, i, j, word]
        if by_moving != 0:
            bits = bits & scenes.moving[at.s, word]
        slot = word * 32
        while bits != wp.uint32(0):
            if (bits & wp.uint32(1)) != wp.uint32(0):
                inverse = scratch.poses[at.env, slot].inverse
                r = -(inverse * direction)
                o = inverse * (p - scratch.poses[at.env, slot].pos)
                kind = scenes.slots[at.s, slot].kind
                if kind == shapes.MESH:
                    enter, leave = shapes.bounds_interval(
                        o, r, scenes.slots[at.s, slot].low, scenes.slots[at.s, slot].high
                    )
                    inside = enter <= leave and leave > bias and enter < reach
                    if inside and wp.mesh_query_ray_anyhit(
                        scenes.slots[at.s, slot].mesh, o + bias * r, r, reach - bias
                    ):
                        return True
                else:
                    near, far = shapes.solid_interval(kind, o, r, scenes.slots[at.s, slot].size)
                    if near < far and far > bias and near < reach:
                        return True
            bits = bits >> wp.uint32(1)
            slot += 1
    return False
