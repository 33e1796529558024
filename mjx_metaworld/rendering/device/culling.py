"""Kernels before the rays: poses of all slots, and which of them each tile of a picture has to test."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering import tables
from mjx_metaworld.rendering.device.shapes import PLANE
from mjx_metaworld.rendering.device.structs import CULLING_OPTIONS, Layers, SceneArrays, Scratch, Situation

wp.set_module_options(CULLING_OPTIONS)


SIDE = 64  # cells of the square that shadows fall in, along each side
CELLS = wp.constant(SIDE)
OPAQUE = wp.constant(tables.OPAQUE)
_EVERYWHERE = wp.constant(1.0e6)


@wp.func
def corner(low: wp.vec3, high: wp.vec3, i: int):
    """One of the eight corners of a box."""
    p = low
    if i % 2 == 1:
        p[0] = high[0]
    if (i / 2) % 2 == 1:
        p[1] = high[1]
    if i / 4 == 1:
        p[2] = high[2]
    return p


@wp.func
def seen_rect(
    pos: wp.vec3,
    mat: wp.mat33,
    low: wp.vec3,
    high: wp.vec3,
    to_camera: wp.mat33,
    eye: wp.vec3,
    focal: float,
    near: float,
):
    """Pixels from the picture's middle that a box may cover, and its least depth; an empty rectangle if none."""
    left = float(_EVERYWHERE)
    top = float(_EVERYWHERE)
    right = float(-_EVERYWHERE)
    bottom = float(-_EVERYWHERE)
    least = float(_EVERYWHERE)
    most = float(-_EVERYWHERE)
    for i in range(8):
        c = to_camera * (mat * corner(low, high, i) + pos - eye)
        z = -c[2]
        least = wp.min(least, z)
        most = wp.max(most, z)
        k = focal / wp.max(z, 1.0e-6)
        left = wp.min(left, c[0] * k)
        right = wp.max(right, c[0] * k)
        top = wp.min(top, -c[1] * k)
        bottom = wp.max(bottom, -c[1] * k)
    if least < near:  # it reaches behind the clipping plane, where projections mean nothing
        left = -_EVERYWHERE
        top = -_EVERYWHERE
        right = _EVERYWHERE
        bottom = _EVERYWHERE
    if most < near:
        right = -2.0 * _EVERYWHERE
    return wp.vec4(left, top, right, bottom), least


@wp.func
def light_axes(direction: wp.vec3):
    """Two unit vectors across a light's direction."""
    side = wp.vec3(1.0, 0.0, 0.0)
    if wp.abs(direction[0]) > 0.9:
        side = wp.vec3(0.0, 1.0, 0.0)
    u = wp.normalize(wp.cross(side, direction))
    return u, wp.cross(direction, u)


@wp.func
def sun_cell(along: float, half: float):
    """Cell of a coordinate across the light's direction."""
    return int(wp.floor((along / half + 1.0) * 0.5 * float(CELLS)))


@wp.func
def layer_of(layers: Layers, situation: Situation, s: int, b: int):
    """Layer over which an environment is drawn, -1 for none."""
    view = situation.view[b]
    result = int(-1)
    if view >= 0:
        result = layers.index[s, view]
    return result


@wp.func
def reach(pos: wp.vec3, mat: wp.mat33, low: wp.vec3, high: wp.vec3):
    """Height of a box's highest corner."""
    result = pos[2]
    for axis in range(3):
        result += wp.max(mat[2, axis] * low[axis], mat[2, axis] * high[axis])
    return result


@wp.func
def hull(a: wp.vec4, b: wp.vec4):
    """Least rectangle that holds two, whole where one of them reaches behind the camera or is empty."""
    return wp.vec4(wp.min(a[0], b[0]), wp.min(a[1], b[1]), wp.max(a[2], b[2]), wp.max(a[3], b[3]))


@wp.kernel
def place_slots(
    first: int, only_fixed: int, scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch
):
    """Pose every slot, project its bounding box, and mark where its shadow may fall. One thread a slot."""
    env, slot = wp.tid()
    b = first + env
    s = situation.scene[b]
    kind = scenes.slots[s, slot].kind
    fixed = scenes.slots[s, slot].fixed
    if kind < 0 or (only_fixed != 0 and fixed == 0):
        scratch.poses[env, slot].rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
        scratch.poses[env, slot].mirror_rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
        scratch.poses[env, slot].shadow_rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
        return
    body = scenes.slots[s, slot].body
    body_mat = situation.body_mat[b, body]
    local = scenes.slots[s, slot].pos
    if situation.mark[b] == slot:
        local = situation.mark_pos[b]
    pos = situation.body_pos[b, body] + body_mat * local
    mat = body_mat * scenes.slots[s, slot].mat
    inverse = wp.transpose(mat)
    eye = situation.camera_pos[b]
    low = scenes.slots[s, slot].low
    high = scenes.slots[s, slot].high
    scratch.poses[env, slot].inverse = inverse
    scratch.poses[env, slot].pos = pos
    scratch.poses[env, slot].eye = inverse * (eye - pos)
    to_camera = wp.transpose(situation.camera_mat[b])
    focal = situation.focal[b]
    rect, least = seen_rect(pos, mat, low, high, to_camera, eye, focal, scenes.rows[s].near)
    in_layer = fixed != 0 and layer_of(layers, situation, s, b) >= 0
    if in_layer:
        rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
    scratch.poses[env, slot].rect = rect
    scratch.poses[env, slot].depth = least

    scratch.poses[env, slot].mirror_rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
    mirror = scenes.rows[s].mirror
    if mirror >= 0 and mirror != slot and not in_layer and scenes.slots[s, slot].rgba[3] >= OPAQUE:
        floor_body = scenes.slots[s, mirror].body
        floor_mat = situation.body_mat[b, floor_body] * scenes.slots[s, mirror].mat
        n = floor_mat * wp.vec3(0.0, 0.0, 1.0)
        on_floor = situation.body_pos[b, floor_body] + situation.body_mat[b, floor_body] * scenes.slots[s, mirror].pos
        if scenes.slots[s, mirror].kind != PLANE:  # a box reflects on its upper side
            on_floor += scenes.slots[s, mirror].size[2] * n
        behind = eye - 2.0 * wp.dot(eye - on_floor, n) * n
        scratch.poses[env, slot].mirror_eye = inverse * (behind - pos)
        # The mirror image of the box, seen by the camera, is the box, seen by the camera's mirror image.
        flip = wp.identity(n=3, dtype=float) - 2.0 * wp.outer(n, n)
        image, _unused = seen_rect(pos, mat, low, high, to_camera * flip, behind, focal, scenes.rows[s].near)
        scratch.poses[env, slot].mirror_rect = image

    scratch.poses[env, slot].shadow_rect = wp.vec4(0.0, 0.0, -4.0 * _EVERYWHERE, 0.0)
    caster = scenes.rows[s].caster
    if caster >= 0 and kind != PLANE:
        direction = scenes.lights[s, caster].dir
        u, v = light_axes(direction)
        origin = scenes.lights[s, caster].pos
        half = scenes.rows[s].shadow
        low_u = float(_EVERYWHERE)
        low_v = float(_EVERYWHERE)
        high_u = float(-_EVERYWHERE)
        high_v = float(-_EVERYWHERE)
        for i in range(8):
            p = mat * corner(low, high, i) + pos - origin
            low_u = wp.min(low_u, wp.dot(p, u))
            high_u = wp.max(high_u, wp.dot(p, u))
            low_v = wp.min(low_v, wp.dot(p, v))
            high_v = wp.max(high_v, wp.dot(p, v))
        if high_u > -half and low_u < half and high_v > -half and low_v < half:
            bit = wp.uint32(1) << wp.uint32(slot % 32)
            for i in range(wp.max(sun_cell(low_u, half), 0), wp.min(sun_cell(high_u, half), CELLS - 1) + 1):
                for j in range(wp.max(sun_cell(low_v, half), 0), wp.min(sun_cell(high_v, half), CELLS - 1) + 1):
                    wp.atomic_or(scratch.sun, env, i, j, slot / 32, bit)
            if fixed == 0:
                # All that lies in the way of the light, down to the lowest that there is.
                below = (reach(pos, mat, low, high) - scenes.rows[s].floor) / wp.max(-direction[2], 1.0e-3)
                end = pos + wp.max(below, 0.0) * direction
                far_rect, _least = seen_rect(end, mat, low, high, to_camera, eye, focal, scenes.rows[s].near)
                scratch.poses[env, slot].shadow_rect = hull(rect, far_rect)  # what moves is in no layer


@wp.func
def overlaps(rect: wp.vec4, left: float, top: float, right: float, bottom: float):
    """Intersection test of a rectangle with a tile."""
    return rect[0] <= right and rect[2] >= left and rect[1] <= bottom and rect[3] >= top


@wp.kernel
def list_slots(
    first: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """List the slots that a tile's rays have to test, nearest first. One thread a tile."""
    env, row, column = wp.tid()
    s = situation.scene[first + env]
    left = float(column * tile) - 0.5 * float(width) - 1.0
    top = float(row * tile) - 0.5 * float(height) - 1.0
    right = left + float(tile) + 2.0
    bottom = top + float(tile) + 2.0
    num_slots = scratch.poses.shape[1]
    count = int(0)
    mirrored = int(0)
    clear = int(0)
    dark = int(0)
    for slot in range(num_slots):
        if overlaps(scratch.poses[env, slot].rect, left, top, right, bottom):
            if scenes.slots[s, slot].rgba[3] < OPAQUE:
                clear += 1
                scratch.order[env, row, column, num_slots - clear] = wp.uint8(slot)
            else:
                depth = scratch.poses[env, slot].depth
                place = count
                while place > 0:
                    before = scratch.order[env, row, column, place - 1]
                    if scratch.poses[env, int(before)].depth <= depth:
                        break
                    scratch.order[env, row, column, place] = before
                    place -= 1
                scratch.order[env, row, column, place] = wp.uint8(slot)
                count += 1
        if overlaps(scratch.poses[env, slot].shadow_rect, left, top, right, bottom):
            dark = 1
        if overlaps(scratch.poses[env, slot].mirror_rect, left, top, right, bottom):
            scratch.mirror_order[env, row, column, mirrored] = wp.uint8(slot)
            mirrored += 1
    scratch.tiles[env, row, column].count = count
    scratch.tiles[env, row, column].clear = clear
    scratch.tiles[env, row, column].mirrored = mirrored
    still = int(0)
    if count + clear + mirrored + dark == 0 and layer_of(layers, situation, s, first + env) >= 0:
        still = 1
    scratch.tiles[env, row, column].still = still
