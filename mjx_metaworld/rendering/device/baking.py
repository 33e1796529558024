"""Kernels that fill a layer: the picture of what never moves in a scene, drawn once."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.edges import smooth_color
from mjx_metaworld.rendering.device.painting import center_hit, first_pixel, to_bytes
from mjx_metaworld.rendering.device.structs import BAKING_OPTIONS, Layers, SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.surfaces import FAR, lit_surface, pixel_sight, reflection, sky_color

wp.set_module_options(BAKING_OPTIONS)


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
    at = first_pixel(situation, layers, 0, 0, y, x, tile, width, height)
    sight = pixel_sight(situation, at, 0.5, 0.5)
    hit = center_hit(scratch, at)
    base = wp.vec3(0.0, 0.0, 0.0)
    cast = wp.vec3(0.0, 0.0, 0.0)
    image = wp.vec3(0.0, 0.0, 0.0)
    distance = FAR
    if hit.slot < 0:
        base = sky_color(scenes, at.s, sight)
    else:
        base, cast = lit_surface(scenes, situation, scratch, at, hit, sight)
        if scenes.slots[at.s, hit.slot].reflectance > 0.0:
            image, distance = reflection(scenes, situation, scratch, at, hit, sight, FAR)
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
    at = first_pixel(situation, layers, 0, 0, y, x, tile, width, height)
    color = smooth_color(scenes, situation, layers, scratch, at)
    layers.edge[layer, y, x] = color - scratch.color[0, y, x]
    layers.picture[layer, y, x] = to_bytes(color)
