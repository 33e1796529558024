"""Kernels of the rays: what every pixel's centre shows, then its colour, smooth at edges."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.culling import layer_of
from mjx_metaworld.rendering.device.edges import all_fixed, smooth_color
from mjx_metaworld.rendering.device.structs import PAINTING_OPTIONS, Hit, Layers, Pixel, SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.surfaces import (
    FAR,
    color_of,
    pixel_sight,
    veiled,
)
from mjx_metaworld.rendering.device.tracing import nearest, nearest_clear, nothing

wp.set_module_options(PAINTING_OPTIONS)

_NO_LABEL = wp.constant(-1)


@wp.func
def first_pixel(
    situation: Situation,
    layers: Layers,
    first: int,
    env: int,
    y: int,
    x: int,
    tile: int,
    width: int,
    height: int,
):
    """A pixel, from which a thread goes on to the others of its square, all in one tile."""
    at = Pixel()
    at.env = env
    at.b = first + env
    at.s = situation.scene[first + env]
    at.layer = layer_of(layers, situation, at.s, at.b)
    at.y = y
    at.x = x
    at.row = y / tile
    at.column = x / tile
    at.width = width
    at.height = height
    return at


@wp.func
def stride(still: int, side: int, y: int):
    """Step along a row of a thread's square: of a tile that is as its layer only the rim is asked for, by others."""
    step = int(1)
    if still != 0 and y % side != 0 and y % side != side - 1:
        step = side - 1
    return step


@wp.func
def layer_hit(layers: Layers, at: Pixel):
    """Surface of what never moves at a pixel's centre."""
    hit = nothing(layers.t[at.layer, at.y, at.x])
    hit.slot = int(layers.slot[at.layer, at.y, at.x])
    return hit


@wp.func
def cast_ray(scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch, at: Pixel):
    """Keep what a pixel's centre shows."""
    hit = nothing(FAR)
    if at.layer >= 0:
        hit = layer_hit(layers, at)
    if scratch.tiles[at.env, at.row, at.column].count > 0:
        sight = pixel_sight(situation, at, 0.5, 0.5)
        hit = nearest(scenes, scratch, at, sight.ray, hit)
    scratch.slot[at.env, at.y, at.x] = wp.int16(hit.slot)
    scratch.t[at.env, at.y, at.x] = hit.t
    scratch.face[at.env, at.y, at.x] = hit.face
    scratch.uv[at.env, at.y, at.x] = wp.vec2(hit.u, hit.v)


@wp.kernel
def cast_rays(
    first: int,
    side: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Find the opaque surface at every pixel's centre. One thread a square of pixels."""
    env, row, column = wp.tid()
    at = first_pixel(situation, layers, first, env, row * side, column * side, tile, width, height)
    still = scratch.tiles[env, at.row, at.column].still
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width), stride(still, side, y)):
            at.y = y
            at.x = x
            cast_ray(scenes, situation, layers, scratch, at)


@wp.func
def center_hit(scratch: Scratch, at: Pixel):
    """Surface at a pixel's centre."""
    hit = Hit()
    hit.slot = int(scratch.slot[at.env, at.y, at.x])
    hit.t = scratch.t[at.env, at.y, at.x]
    hit.face = scratch.face[at.env, at.y, at.x]
    uv = scratch.uv[at.env, at.y, at.x]
    hit.u = uv[0]
    hit.v = uv[1]
    return hit


@wp.func
def shade_center(scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch, at: Pixel):
    """Colour of what a pixel's centre shows."""
    color = wp.vec3(0.0, 0.0, 0.0)
    if scratch.tiles[at.env, at.row, at.column].still != 0:
        color = layers.center[at.layer, at.y, at.x]
    else:
        sight = pixel_sight(situation, at, 0.5, 0.5)
        hit = center_hit(scratch, at)
        layered = int(0)
        if at.layer >= 0 and (hit.slot < 0 or scenes.slots[at.s, wp.max(hit.slot, 0)].fixed != 0):
            layered = int(1)
        color = color_of(scenes, situation, layers, scratch, at, hit, sight, layered)
    return color


@wp.kernel
def shade_centers(
    first: int,
    side: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Colour what every pixel's centre shows. One thread a square of pixels."""
    env, row, column = wp.tid()
    at = first_pixel(situation, layers, first, env, row * side, column * side, tile, width, height)
    still = scratch.tiles[env, at.row, at.column].still
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width), stride(still, side, y)):
            at.y = y
            at.x = x
            scratch.color[env, y, x] = shade_center(scenes, situation, layers, scratch, at)


@wp.func
def byte(share: float):
    """A share of a colour as a byte."""
    return wp.uint8(wp.clamp(share, 0.0, 1.0) * 255.0 + 0.5)


@wp.func
def to_bytes(color: wp.vec3):
    """A colour as bytes."""
    return wp.vec3ub(byte(color[0]), byte(color[1]), byte(color[2]))


@wp.func
def finished(scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch, at: Pixel):
    """A pixel's colour with smooth edges and what is seen through glass."""
    color = scratch.color[at.env, at.y, at.x]
    # A tile's list holds what comes within a pixel of it. Tests are nested, since Warp computes both sides of an `or`.
    smooth = bool(False)
    if at.layer >= 0:
        smooth = scratch.tiles[at.env, at.row, at.column].count == 0
        if not smooth:
            smooth = all_fixed(scenes, scratch, at)
    if smooth:
        color += layers.edge[at.layer, at.y, at.x]
    else:
        color = smooth_color(scenes, situation, layers, scratch, at)
    if scratch.tiles[at.env, at.row, at.column].clear != 0:
        sight = pixel_sight(situation, at, 0.5, 0.5)
        color = veiled(scenes, situation, scratch, at, sight, scratch.t[at.env, at.y, at.x], color)
    return to_bytes(color)


@wp.kernel
def smooth_edges(
    first: int,
    side: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    image: wp.array3d(dtype=wp.vec3ub),
):
    """Finish every pixel. One thread a square of pixels."""
    env, row, column = wp.tid()
    at = first_pixel(situation, layers, first, env, row * side, column * side, tile, width, height)
    still = scratch.tiles[env, at.row, at.column].still != 0
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width)):
            if still:
                image[env, y, x] = layers.picture[at.layer, y, x]
            else:
                at.y = y
                at.x = x
                image[env, y, x] = finished(scenes, situation, layers, scratch, at)


@wp.func
def nearest_of_all(scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch, at: Pixel):
    """Surface at a pixel's centre, translucent ones included."""
    hit = center_hit(scratch, at)
    if scratch.tiles[at.env, at.row, at.column].still != 0:  # of which only the rim was kept
        hit = layer_hit(layers, at)
    if scratch.tiles[at.env, at.row, at.column].clear != 0:
        sight = pixel_sight(situation, at, 0.5, 0.5)
        clear = nearest_clear(scenes, scratch, at, sight.ray, hit.t)
        if clear.slot >= 0:
            hit = clear
    return hit


@wp.kernel
def measure(
    first: int,
    side: int,
    tile: int,
    width: int,
    height: int,
    by_body: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    depth: wp.array3d(dtype=wp.float32),
    label: wp.array3d(dtype=wp.int32),
):
    """Depth and label of every pixel's centre. One thread a square of pixels."""
    env, row, column = wp.tid()
    at = first_pixel(situation, layers, first, env, row * side, column * side, tile, width, height)
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width)):
            at.y = y
            at.x = x
            hit = nearest_of_all(scenes, situation, layers, scratch, at)
            found = int(_NO_LABEL)
            t = float(wp.inf)
            if hit.slot >= 0:
                t = hit.t
                found = scenes.slots[at.s, hit.slot].geom
                if by_body != 0:
                    found = scenes.slots[at.s, hit.slot].owner
            depth[env, y, x] = t
            label[env, y, x] = found
