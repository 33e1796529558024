"""Colours of what rays met: lit surfaces with their shadows and reflections, the sky, and glass in front."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.lighting import Sight, shade
from mjx_metaworld.rendering.device.sampling import cube_color
from mjx_metaworld.rendering.device.structs import Hit, Layers, Pixel, SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.tracing import nearest_clear, reflected, shadows

FAR = wp.constant(1.0e6)
_FAINT = wp.constant(0.002)  # a light of which nobody sees the shadow: half a step of a byte


@wp.func
def pixel_sight(situation: Situation, at: Pixel, right: float, down: float):
    """The ray through a place in a pixel, by shares of its sides from its upper left corner."""
    sight = Sight()
    mat = situation.camera_mat[at.b]
    step = 1.0 / situation.focal[at.b]
    sight.eye = situation.camera_pos[at.b]
    sight.forward = -wp.vec3(mat[0, 2], mat[1, 2], mat[2, 2])
    sight.dx = wp.vec3(mat[0, 0], mat[1, 0], mat[2, 0]) * step
    sight.dy = wp.vec3(mat[0, 1], mat[1, 1], mat[2, 1]) * -step
    x = float(at.x) + right - 0.5 * float(at.width)
    y = float(at.y) + down - 0.5 * float(at.height)
    sight.ray = sight.forward + sight.dx * x + sight.dy * y
    return sight


@wp.func
def sky_color(scenes: SceneArrays, s: int, sight: Sight):
    """Colour of the sky box, black without one."""
    color = wp.vec3(0.0, 0.0, 0.0)
    texture = scenes.rows[s].sky
    if texture >= 0:
        r = sight.ray
        dx = sight.dx
        dy = sight.dy
        color = cube_color(
            scenes, texture, wp.vec3(r[0], r[2], -r[1]), wp.vec3(dx[0], dx[2], -dx[1]), wp.vec3(dy[0], dy[2], -dy[1])
        )
    return color


@wp.func
def tint_of(situation: Situation, b: int, slot: int):
    """Factors of a slot's colour."""
    row = wp.min(b, situation.tint.shape[0] - 1)
    return situation.tint[row, wp.min(slot, situation.tint.shape[1] - 1)]


@wp.func
def shade_of(
    scenes: SceneArrays,
    situation: Situation,
    scratch: Scratch,
    at: Pixel,
    hit: Hit,
    sight: Sight,
    share: float,
    first_only: int,
):
    """Light that a surface of an environment sends to who looks, times a share."""
    return shade(
        scenes,
        at.s,
        hit,
        scratch.poses[at.env, hit.slot].inverse,
        scratch.poses[at.env, hit.slot].pos,
        tint_of(situation, at.b, hit.slot) * share,
        sight,
        sight.eye + hit.t * sight.ray,
        first_only,
    )


@wp.func
def reflection(
    scenes: SceneArrays, situation: Situation, scratch: Scratch, at: Pixel, hit: Hit, sight: Sight, far: float
):
    """Colour of what a mirror shows in front of `far`, and how far that is."""
    color = wp.vec3(0.0, 0.0, 0.0)
    distance = far
    if scratch.tiles[at.env, at.row, at.column].mirrored > 0:
        inverse = scratch.poses[at.env, hit.slot].inverse
        n = wp.vec3(inverse[2, 0], inverse[2, 1], inverse[2, 2])
        image = Sight()
        image.ray = sight.ray - 2.0 * wp.dot(sight.ray, n) * n
        image.dx = sight.dx - 2.0 * wp.dot(sight.dx, n) * n
        image.dy = sight.dy - 2.0 * wp.dot(sight.dy, n) * n
        image.eye = sight.eye + hit.t * (sight.ray - image.ray)
        image.forward = sight.forward
        other = reflected(scenes, scratch, at, image.ray, hit.t, far)
        if other.slot >= 0:
            distance = other.t
            share = scenes.slots[at.s, hit.slot].reflectance
            seen = shade_of(scenes, situation, scratch, at, other, image, share, 1)
            color = seen.base
    return color, distance


@wp.func
def lit_surface(scenes: SceneArrays, situation: Situation, scratch: Scratch, at: Pixel, hit: Hit, sight: Sight):
    """A surface's colour without reflections: of all lights but the caster's, and of that one, shadows included."""
    lit = shade_of(scenes, situation, scratch, at, hit, sight, 1.0, 0)
    cast = lit.cast
    world = sight.eye + hit.t * sight.ray
    if cast[0] + cast[1] + cast[2] <= _FAINT or shadows(scenes, scratch, at, world, lit.cosine, 0):
        cast = wp.vec3(0.0, 0.0, 0.0)
    return lit.base, cast


@wp.func
def color_of(
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    at: Pixel,
    hit: Hit,
    sight: Sight,
    layered: int,
):
    """Colour of what a ray of a tile met; with `layered` 1 of a layer's pixel, under what moves.

    Both ways are in one function, so that what they share is compiled, and inlined, once.
    """
    color = wp.vec3(0.0, 0.0, 0.0)
    cast = wp.vec3(0.0, 0.0, 0.0)
    least = float(0.0)  # of the light that casts shadows, below which these are not asked for
    # The cosine would cost a layer a normal; the bias that it asks for matters where a surface shades itself.
    cosine = float(1.0)
    if layered != 0:
        color = layers.base[at.layer, at.y, at.x]
        if hit.slot >= 0:
            cast = layers.cast[at.layer, at.y, at.x]
    elif hit.slot < 0:
        color = sky_color(scenes, at.s, sight)
    else:
        lit = shade_of(scenes, situation, scratch, at, hit, sight, 1.0, 0)
        color = lit.base
        cast = lit.cast
        cosine = lit.cosine
        least = float(_FAINT)
    if cast[0] + cast[1] + cast[2] > least:  # noqa: SIM102 - Warp computes both sides of an `and`
        if not shadows(scenes, scratch, at, sight.eye + hit.t * sight.ray, cosine, layered):
            color += cast
    if hit.slot >= 0:  # noqa: SIM102
        if scenes.slots[at.s, hit.slot].reflectance > 0.0:
            far = float(FAR)
            if layered != 0:
                far = layers.mirror_t[at.layer, at.y, at.x]
            image, distance = reflection(scenes, situation, scratch, at, hit, sight, far)
            if layered != 0 and distance >= far:
                image = layers.mirror[at.layer, at.y, at.x]
            color += image
    return color


@wp.func
def veiled(
    scenes: SceneArrays, situation: Situation, scratch: Scratch, at: Pixel, sight: Sight, far: float, color: wp.vec3
):
    """A colour behind the nearest translucent surface, which MuJoCo blends twice: front to back and back to front."""
    hit = nearest_clear(scenes, scratch, at, sight.ray, far)
    result = color
    if hit.slot >= 0:
        alpha = scenes.slots[at.s, hit.slot].rgba[3]
        lit = shade_of(scenes, situation, scratch, at, hit, sight, 1.0, 1)
        rest = (1.0 - alpha) * (1.0 - alpha)
        result = color * rest + lit.base * (1.0 - rest)
    return result
