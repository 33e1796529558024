"""Kernels of the rays: what every pixel's centre shows, then its colour, smooth at edges."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.culling import layer_of
from mjx_metaworld.rendering.device.edges import all_fixed, smooth_color
from mjx_metaworld.rendering.device.structs import KERNEL_OPTIONS, Hit, Layers, SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.surfaces import (
    FAR,
    color_of,
    color_of_layer,
    lit_surface,
    pixel_sight,
    reflection,
    sky_color,
    veiled,
)
from mjx_metaworld.rendering.device.tracing import nearest, nearest_clear, nothing

wp.set_module_options(KERNEL_OPTIONS)

_NO_LABEL = wp.constant(-1)


@wp.func
def stride(still: int, side: int, y: int):
    """Step along a row of a thread's square: of a tile that is as its layer only the rim is asked for, by others."""
    step = int(1)
    if still != 0 and y % side != 0 and y % side != side - 1:
        step = side - 1
    return step


@wp.func
def cast_ray(
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    s: int,
    b: int,
    env: int,
    tile: int,
    y: int,
    x: int,
    width: int,
    height: int,
):
    """Keep what a pixel's centre shows."""
    hit = nothing(FAR)
    layer = layer_of(layers, situation, s, b)
    if layer >= 0:
        hit.slot = int(layers.slot[layer, y, x])
        hit.t = layers.t[layer, y, x]
    if scratch.tiles[env, y / tile, x / tile].count > 0:
        sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
        hit = nearest(scenes, scratch, s, env, y / tile, x / tile, sight.ray, hit)
    scratch.slot[env, y, x] = wp.int16(hit.slot)
    scratch.t[env, y, x] = hit.t
    scratch.face[env, y, x] = hit.face
    scratch.uv[env, y, x] = wp.vec2(hit.u, hit.v)


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
    b = first + env
    s = situation.scene[b]
    still = scratch.tiles[env, row * side / tile, column * side / tile].still
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width), stride(still, side, y)):
            cast_ray(scenes, situation, layers, scratch, s, b, env, tile, y, x, width, height)


@wp.func
def center_hit(scratch: Scratch, env: int, y: int, x: int):
    """Surface at a pixel's centre."""
    hit = Hit()
    hit.slot = int(scratch.slot[env, y, x])
    hit.t = scratch.t[env, y, x]
    hit.face = scratch.face[env, y, x]
    uv = scratch.uv[env, y, x]
    hit.u = uv[0]
    hit.v = uv[1]
    return hit


@wp.func
def shade_center(
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    s: int,
    b: int,
    env: int,
    tile: int,
    y: int,
    x: int,
    width: int,
    height: int,
):
    """Colour of what a pixel's centre shows."""
    row = y / tile
    column = x / tile
    layer = layer_of(layers, situation, s, b)
    color = wp.vec3(0.0, 0.0, 0.0)
    if scratch.tiles[env, row, column].still != 0:
        color = layers.center[layer, y, x]
    else:
        sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
        hit = center_hit(scratch, env, y, x)
        if layer >= 0 and (hit.slot < 0 or scenes.slots[s, wp.max(hit.slot, 0)].fixed != 0):
            color = color_of_layer(scenes, situation, layers, scratch, layer, s, b, env, row, column, y, x, hit, sight)
        else:
            color = color_of(scenes, situation, scratch, s, b, env, row, column, hit, sight)
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
    b = first + env
    s = situation.scene[b]
    still = scratch.tiles[env, row * side / tile, column * side / tile].still
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width), stride(still, side, y)):
            scratch.color[env, y, x] = shade_center(
                scenes, situation, layers, scratch, s, b, env, tile, y, x, width, height
            )


@wp.func
def byte(share: float):
    """A share of a colour as a byte."""
    return wp.uint8(wp.clamp(share, 0.0, 1.0) * 255.0 + 0.5)


@wp.func
def to_bytes(color: wp.vec3):
    """A colour as bytes."""
    return wp.vec3ub(byte(color[0]), byte(color[1]), byte(color[2]))


@wp.func
def finished(
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    s: int,
    b: int,
    env: int,
    tile: int,
    y: int,
    x: int,
    width: int,
    height: int,
):
    """A pixel's colour with smooth edges and what is seen through glass."""
    row = y / tile
    column = x / tile
    layer = layer_of(layers, situation, s, b)
    color = scratch.color[env, y, x]
    # A tile's list holds what comes within a pixel of it. Tests are nested, since Warp computes both sides of an `or`.
    smooth = bool(False)
    if layer >= 0:
        smooth = scratch.tiles[env, row, column].count == 0
        if not smooth:
            smooth = all_fixed(scenes, scratch, s, env, y, x, height, width)
    if smooth:
        color += layers.edge[layer, y, x]
    else:
        color = smooth_color(scenes, situation, scratch, s, b, env, tile, y, x, width, height)
    if scratch.tiles[env, row, column].clear != 0:
        sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
        color = veiled(scenes, situation, scratch, s, b, env, row, column, sight, scratch.t[env, y, x], color)
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
    b = first + env
    s = situation.scene[b]
    layer = layer_of(layers, situation, s, b)
    still = scratch.tiles[env, row * side / tile, column * side / tile].still != 0
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width)):
            if still:
                image[env, y, x] = layers.picture[layer, y, x]
            else:
                image[env, y, x] = finished(scenes, situation, layers, scratch, s, b, env, tile, y, x, width, height)


@wp.kernel
def bake_centers(
    layer: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Fill a layer from a scene's slots that never move, but for its edges. One thread a pixel."""
    y, x = wp.tid()
    s = situation.scene[0]
    sight = pixel_sight(situation, 0, width, height, float(x) + 0.5, float(y) + 0.5)
    hit = center_hit(scratch, 0, y, x)
    base = wp.vec3(0.0, 0.0, 0.0)
    cast = wp.vec3(0.0, 0.0, 0.0)
    image = wp.vec3(0.0, 0.0, 0.0)
    distance = FAR
    if hit.slot < 0:
        base = sky_color(scenes, s, sight)
    else:
        base, cast = lit_surface(scenes, situation, scratch, s, 0, 0, hit, sight)
        if scenes.slots[s, hit.slot].reflectance > 0.0:
            image, distance = reflection(scenes, situation, scratch, s, 0, 0, y / tile, x / tile, hit, sight, FAR)
    layers.slot[layer, y, x] = wp.int16(hit.slot)
    layers.t[layer, y, x] = hit.t
    layers.base[layer, y, x] = base
    layers.cast[layer, y, x] = cast
    layers.mirror[layer, y, x] = image
    layers.mirror_t[layer, y, x] = distance
    color = base + cast + image
    layers.center[layer, y, x] = color
    scratch.color[0, y, x] = color


@wp.kernel
def bake_edges(
    layer: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Fill in what smooths a layer's edges. One thread a pixel."""
    y, x = wp.tid()
    s = situation.scene[0]
    color = smooth_color(scenes, situation, scratch, s, 0, 0, tile, y, x, width, height)
    layers.edge[layer, y, x] = color - scratch.color[0, y, x]
    layers.picture[layer, y, x] = to_bytes(color)


@wp.func
def nearest_of_all(
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    s: int,
    b: int,
    env: int,
    tile: int,
    y: int,
    x: int,
    width: int,
    height: int,
):
    """Surface at a pixel's centre, translucent ones included."""
    hit = nothing(FAR)
    if scratch.tiles[env, y / tile, x / tile].still != 0:
        layer = layer_of(layers, situation, s, b)
        hit.slot = int(layers.slot[layer, y, x])
        hit.t = layers.t[layer, y, x]
    else:
        hit = center_hit(scratch, env, y, x)
    if scratch.tiles[env, y / tile, x / tile].clear != 0:
        sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
        clear = nearest_clear(scenes, scratch, s, env, y / tile, x / tile, sight.ray, hit.t)
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
    b = first + env
    s = situation.scene[b]
    for y in range(row * side, wp.min((row + 1) * side, height)):
        for x in range(column * side, wp.min((column + 1) * side, width)):
            hit = nearest_of_all(scenes, situation, layers, scratch, s, b, env, tile, y, x, width, height)
            found = int(_NO_LABEL)
            t = float(wp.inf)
            if hit.slot >= 0:
                t = hit.t
                found = scenes.slots[s, hit.slot].geom
                if by_body != 0:
                    found = scenes.slots[s, hit.slot].owner
            depth[env, y, x] = t
            label[env, y, x] = found
