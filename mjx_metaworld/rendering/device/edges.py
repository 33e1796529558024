"""Smooth edges: four samples where a pixel's surface does not go on to all sides, coloured as the neighbours are."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.lighting import Sight
from mjx_metaworld.rendering.device.structs import Layers, Pixel, SceneArrays, Scratch, Situation
from mjx_metaworld.rendering.device.surfaces import FAR, color_of, pixel_sight
from mjx_metaworld.rendering.device.tracing import hit_slot, nothing

_BEND = wp.constant(0.02)  # relative second difference of inverse depth that tells an edge
slots_around = wp.types.vector(length=9, dtype=wp.int32)


@wp.func
def bends(scratch: Scratch, at: Pixel, dy: int, dx: int):
    """Test for an edge between a pixel and its neighbours on both sides."""
    y0 = wp.max(at.y - dy, 0)
    y1 = wp.min(at.y + dy, at.height - 1)
    x0 = wp.max(at.x - dx, 0)
    x1 = wp.min(at.x + dx, at.width - 1)
    slot = scratch.slot[at.env, at.y, at.x]
    result = scratch.slot[at.env, y0, x0] != slot or scratch.slot[at.env, y1, x1] != slot
    if not result and slot >= wp.int16(0):
        here = scratch.t[at.env, at.y, at.x]
        bend = here / scratch.t[at.env, y0, x0] + here / scratch.t[at.env, y1, x1] - 2.0
        result = wp.abs(bend) > _BEND
    return result


@wp.func
def all_fixed(scenes: SceneArrays, scratch: Scratch, at: Pixel):
    """Test whether a pixel and its eight neighbours show nothing that moves."""
    result = bool(True)
    for j in range(wp.max(at.y - 1, 0), wp.min(at.y + 2, at.height)):
        for i in range(wp.max(at.x - 1, 0), wp.min(at.x + 2, at.width)):
            slot = int(scratch.slot[at.env, j, i])
            if slot >= 0:
                result = result and scenes.slots[at.s, slot].fixed != 0
    return result


@wp.func
def alike(slot: int, t: float, other: int, other_t: float):
    """Test of two hits for one surface."""
    return slot == other and wp.abs(t - other_t) <= 0.01 * t


@wp.func
def candidates(scratch: Scratch, at: Pixel):
    """Slots that the centres of a pixel and its eight neighbours show, each once; -2 where there are no more."""
    found = slots_around(-2)
    count = int(0)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            slot = int(
                scratch.slot[at.env, wp.clamp(at.y + dy, 0, at.height - 1), wp.clamp(at.x + dx, 0, at.width - 1)]
            )
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
    layers: Layers,
    scratch: Scratch,
    at: Pixel,
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
            r = scratch.poses[at.env, slot].inverse * sight.ray
            hit = hit_slot(scenes, at.s, slot, scratch.poses[at.env, slot].eye, r, scenes.rows[at.s].near, hit)
    if alike(hit.slot, hit.t, int(scratch.slot[at.env, at.y, at.x]), scratch.t[at.env, at.y, at.x]):
        return scratch.color[at.env, at.y, at.x]
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            j = wp.clamp(at.y + dy, 0, at.height - 1)
            i = wp.clamp(at.x + dx, 0, at.width - 1)
            if alike(hit.slot, hit.t, int(scratch.slot[at.env, j, i]), scratch.t[at.env, j, i]):
                return scratch.color[at.env, j, i]
    if hit.slot < 0 and not sky:  # it slips between surfaces that no neighbour tells of
        return scratch.color[at.env, at.y, at.x]
    return color_of(scenes, situation, layers, scratch, at, hit, sight, 0)


@wp.func
def smooth_color(scenes: SceneArrays, situation: Situation, layers: Layers, scratch: Scratch, at: Pixel):
    """A pixel's colour: its centre's where the surface goes on to all sides, else the mean of four samples."""
    color = scratch.color[at.env, at.y, at.x]
    if bends(scratch, at, 1, 0) or bends(scratch, at, 0, 1):
        color = wp.vec3(0.0, 0.0, 0.0)
        around = candidates(scratch, at)
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
            aside = pixel_sight(situation, at, ox, oy)
            color += sample_color(scenes, situation, layers, scratch, at, around, aside)
        color = color * 0.25
    return color
