"""Smooth edges: four samples where a pixel's surface does not go on to all sides, coloured as the neighbours are."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.lighting import Sight
from mjx_metaworld.rendering.device.structs import SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.surfaces import FAR, color_of, pixel_sight
from mjx_metaworld.rendering.device.tracing import hit_slot, nothing

_BEND = wp.constant(0.02)  # relative second difference of inverse depth that tells an edge
slots_around = wp.types.vector(length=9, dtype=wp.int32)


@wp.func
def bends(scratch: Scratch, env: int, y: int, x: int, dy: int, dx: int, height: int, width: int):
    """Test for an edge between a pixel and its neighbours on both sides."""
    y0 = wp.max(y - dy, 0)
    y1 = wp.min(y + dy, height - 1)
    x0 = wp.max(x - dx, 0)
    x1 = wp.min(x + dx, width - 1)
    slot = scratch.slot[env, y, x]
    result = scratch.slot[env, y0, x0] != slot or scratch.slot[env, y1, x1] != slot
    if not result and slot >= wp.int16(0):
        here = scratch.t[env, y, x]
        bend = here / scratch.t[env, y0, x0] + here / scratch.t[env, y1, x1] - 2.0
        result = wp.abs(bend) > _BEND
    return result


@wp.func
def all_fixed(scenes: SceneArrays, scratch: Scratch, s: int, env: int, y: int, x: int, height: int, width: int):
    """Test whether a pixel and its eight neighbours show nothing that moves."""
    result = bool(True)
    for j in range(wp.max(y - 1, 0), wp.min(y + 2, height)):
        for i in range(wp.max(x - 1, 0), wp.min(x + 2, width)):
            slot = int(scratch.slot[env, j, i])
            if slot >= 0:
                result = result and scenes.slots[s, slot].fixed != 0
    return result


@wp.func
def alike(slot: int, t: float, other: int, other_t: float):
    """Test of two hits for one surface."""
    return slot == other and wp.abs(t - other_t) <= 0.01 * t


@wp.func
def candidates(scratch: Scratch, env: int, y: int, x: int, height: int, width: int):
    """Slots that the centres of a pixel and its eight neighbours show, each once; -2 where there are no more."""
    found = slots_around(-2)
    count = int(0)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            slot = int(scratch.slot[env, wp.clamp(y + dy, 0, height - 1), wp.clamp(x + dx, 0, width - 1)])
            known = bool(False)
            for i in range(9):
                known = known or found[i] == slot
            if not known:
                found[count] = slot
                count += 1
    return found


@wp.func
def sample_color(
    scenes: SceneArrays,
    situation: Situation,
    scratch: Scratch,
    s: int,
    b: int,
    env: int,
    tile: int,
    y: int,
    x: int,
    width: int,
    height: int,
    around: slots_around,
    sight: Sight,
):
    """Colour of a place off a pixel's centre, from the surfaces that it and its neighbours show."""
    hit = nothing(FAR)
    sky = bool(False)
    for i in range(9):
        slot = around[i]
        if slot == -2:
            break
        if slot == -1:
            sky = bool(True)
        else:
            r = scratch.poses[env, slot].inverse * sight.ray
            hit = hit_slot(scenes, s, slot, scratch.poses[env, slot].eye, r, scenes.rows[s].near, hit)
    if alike(hit.slot, hit.t, int(scratch.slot[env, y, x]), scratch.t[env, y, x]):
        return scratch.color[env, y, x]
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            j = wp.clamp(y + dy, 0, height - 1)
            i = wp.clamp(x + dx, 0, width - 1)
            if alike(hit.slot, hit.t, int(scratch.slot[env, j, i]), scratch.t[env, j, i]):
                return scratch.color[env, j, i]
    if hit.slot < 0 and not sky:  # it slips between surfaces that no neighbour tells of
        return scratch.color[env, y, x]
    return color_of(scenes, situation, scratch, s, b, env, y / tile, x / tile, hit, sight)


@wp.func
def smooth_color(
    scenes: SceneArrays,
    situation: Situation,
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
    """A pixel's colour: its centre's where the surface goes on to all sides, else the mean of four samples."""
    color = scratch.color[env, y, x]
    if bends(scratch, env, y, x, 1, 0, height, width) or bends(scratch, env, y, x, 0, 1, height, width):
        color = wp.vec3(0.0, 0.0, 0.0)
        around = candidates(scratch, env, y, x, height, width)
        for sample in range(4):
            ox = float(0.625)  # where llvmpipe and most GPUs have them
            oy = float(0.125)
            if sample == 1:
                ox = float(0.125)
                oy = float(0.375)
            elif sample == 2:
                ox = float(0.875)
                oy = float(0.625)
            elif sample == 3:
                ox = float(0.375)
                oy = float(0.875)
            aside = pixel_sight(situation, b, width, height, float(x) + ox, float(y) + oy)
            color += sample_color(scenes, situation, scratch, s, b, env, tile, y, x, width, height, around, aside)
        color = color * 0.25
    return color
