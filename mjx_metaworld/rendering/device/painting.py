"""Kernels of the rays: what every pixel's centre shows, then its colour, smooth at edges."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.culling import layer_of
from mjx_metaworld.rendering.device.edges import smooth_color
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
from mjx_metaworld.rendering.device.tracing import nearest, nothing

wp.set_module_options(KERNEL_OPTIONS)

_NO_LABEL = wp.constant(-1)


@wp.kernel
def cast_rays(
    first: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Find the opaque surface at every pixel's centre. One thread a pixel."""
    env, y, x = wp.tid()
    b = first + env
    s = situation.scene[b]
    hit = nothing(FAR)
    layer = layer_of(layers, situation, s, b)
    if layer >= 0:
        hit.slot = int(layers.slot[layer, y, x])
        hit.t = layers.t[layer, y, x]
    if scratch.count[env, y / tile, x / tile] > wp.uint8(0):
        sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
        hit = nearest(scenes, scratch, s, env, y / tile, x / tile, sight.ray, hit, 0)
    scratch.slot[env, y, x] = wp.int16(hit.slot)
    scratch.t[env, y, x] = hit.t
    scratch.face[env, y, x] = hit.face
    scratch.uv[env, y, x] = wp.vec2(hit.u, hit.v)


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


@wp.kernel
def shade_centers(
    first: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
):
    """Colour what every pixel's centre shows. One thread a pixel."""
    env, y, x = wp.tid()
    b = first + env
    s = situation.scene[b]
    row = y / tile
    column = x / tile
    sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
    hit = center_hit(scratch, env, y, x)
    layer = layer_of(layers, situation, s, b)
    if layer >= 0 and (hit.slot < 0 or scenes.fixed[s, wp.max(hit.slot, 0)] != 0):
        scratch.color[env, y, x] = color_of_layer(
            scenes, situation, layers, scratch, layer, s, b, env, row, column, y, x, hit, sight
        )
    else:
        scratch.color[env, y, x] = color_of(scenes, situation, scratch, s, b, env, row, column, hit, sight)


@wp.func
def byte(share: float):
    """A share of a colour as a byte."""
    return wp.uint8(wp.clamp(share, 0.0, 1.0) * 255.0 + 0.5)


@wp.kernel
def smooth_edges(
    first: int,
    tile: int,
    width: int,
    height: int,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    image: wp.array3d(dtype=wp.vec3ub),
):
    """Finish every pixel: smooth edges, and what is seen through glass. One thread a pixel."""
    env, y, x = wp.tid()
    b = first + env
    s = situation.scene[b]
    layer = layer_of(layers, situation, s, b)
    color = scratch.color[env, y, x]
    # A tile's list holds what comes within a pixel of it.
    if layer >= 0 and scratch.count[env, y / tile, x / tile] == wp.uint8(0):
        color += layers.edge[layer, y, x]
    else:
        color = smooth_color(scenes, situation, scratch, s, b, env, tile, y, x, width, height)
        if scenes.veils[s] != 0:
            sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
            far = scratch.t[env, y, x]
            color = veiled(scenes, situation, scratch, s, b, env, y / tile, x / tile, sight, far, color)
    image[env, y, x] = wp.vec3ub(byte(color[0]), byte(color[1]), byte(color[2]))


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
        if scenes.reflectance[s, hit.slot] > 0.0:
            image, distance = reflection(scenes, situation, scratch, s, 0, 0, y / tile, x / tile, hit, sight, FAR)
    layers.slot[layer, y, x] = wp.int16(hit.slot)
    layers.t[layer, y, x] = hit.t
    layers.base[layer, y, x] = base
    layers.cast[layer, y, x] = cast
    layers.mirror[layer, y, x] = image
    layers.mirror_t[layer, y, x] = distance
    scratch.color[0, y, x] = base + cast + image


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


@wp.kernel
def measure(
    first: int,
    tile: int,
    width: int,
    height: int,
    by_body: int,
    scenes: SceneArrays,
    situation: Situation,
    scratch: Scratch,
    depth: wp.array3d(dtype=wp.float32),
    label: wp.array3d(dtype=wp.int32),
):
    """Depth and label of every pixel's centre, translucent surfaces included."""
    env, y, x = wp.tid()
    b = first + env
    s = situation.scene[b]
    slot = int(scratch.slot[env, y, x])
    t = scratch.t[env, y, x]
    sight = pixel_sight(situation, b, width, height, float(x) + 0.5, float(y) + 0.5)
    clear = nearest(scenes, scratch, s, env, y / tile, x / tile, sight.ray, nothing(t), 1)
    if clear.slot >= 0:
        slot = clear.slot
        t = clear.t
    found = _NO_LABEL
    if slot >= 0:
        found = scenes.geom[s, slot]
        if by_body != 0:
            found = scenes.owner[s, slot]
    else:
        t = wp.inf
    depth[env, y, x] = t
    label[env, y, x] = found
