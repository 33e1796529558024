"""Launches of the kernels: a batch of environments in parts that keep the scratch arrays small."""

from __future__ import annotations

import functools
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.build.machine import cpu_cores
from mjx_metaworld.rendering.device import baking, culling, painting
from mjx_metaworld.rendering.device.structs import Layers, Pose, SceneArrays, Scratch, Situation, Tile

_CPU_SCRATCH = 2**21  # pixels' worth of bytes that a CPU core works on at a time: about its cache
_GPU_SCRATCH = 2**31
_PIXEL_BYTES = 34


@dataclass(frozen=True)
class Picture:
    """Sizes of a picture.

    Attributes:
        width: pixels.
        height: pixels.
        measured: whether to tell depth and labels.
        by_body: whether labels are bodies; else they are geoms.
    """

    width: int
    height: int
    measured: bool
    by_body: bool

    @property
    def tile(self) -> int:
        """Pixels along a tile's side."""
        return 8 if self.width * self.height <= 256 * 256 else 16


@functools.cache
def load_kernels(device: str) -> None:
    """Compile the kernels, which takes seconds once and is then kept on disk; before threads ask for them at once."""
    for module in (culling, painting, baking):
        wp.load_module(module, device=device)


def draw_batch(
    picture: Picture,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    image: wp.array,
    depth: wp.array,
    label: wp.array,
) -> None:
    """Draw all environments of a situation into arrays with a leading axis of them."""
    count = situation.scene.shape[0]
    device = situation.scene.device
    budget = _CPU_SCRATCH if device.is_cpu else _GPU_SCRATCH
    part = max(min(budget // (picture.width * picture.height * _PIXEL_BYTES), count), 1)
    if device.is_cpu:
        part = max(min(part, -(-count // cpu_cores())), 1)
    firsts = range(0, count, part)

    def draw(first: int) -> None:
        size = min(part, count - first)
        scratch = _scratch_of_thread(device, picture, part, scenes.slots.shape[1])
        _draw_part(picture, scenes, situation, layers, scratch, first, size, image, depth, label)

    if not device.is_cpu or len(firsts) == 1:
        for first in firsts:
            draw(first)
        return
    for _ in _pool().map(draw, firsts):
        pass


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """One thread a core; a kernel on the CPU lets go of Python's lock."""
    return ThreadPoolExecutor(cpu_cores(), thread_name_prefix="mjx_metaworld pixels")


_of_thread = threading.local()


def _scratch_of_thread(device: wp.Device, picture: Picture, part: int, num_slots: int) -> Scratch:
    """Scratch arrays, which a thread keeps from picture to picture as long as their sizes stay."""
    key = (device, picture.width, picture.height, part, num_slots)
    if getattr(_of_thread, "key", None) != key:
        _of_thread.key, _of_thread.scratch = key, _new_scratch(device, picture, part, num_slots)
    return _of_thread.scratch


def _new_scratch(device: wp.Device, picture: Picture, part: int, num_slots: int) -> Scratch:
    rows, columns = (math.ceil(size / picture.tile) for size in (picture.height, picture.width))
    slots, tiles, pixels = (part, num_slots), (part, rows, columns), (part, picture.height, picture.width)
    scratch = Scratch()
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "poses": (slots, Pose),
        "sun": ((part, culling.SIDE, culling.SIDE, -(-num_slots // 32)), wp.uint32),
        "tiles": (tiles, Tile),
        "order": ((*tiles, num_slots), wp.uint8),
        "mirror_order": ((*tiles, num_slots), wp.uint8),
        "slot": (pixels, wp.int16),
        "t": (pixels, wp.float32),
        "face": (pixels, wp.int32),
        "uv": (pixels, wp.vec2),
        "color": (pixels, wp.vec3),
    }
    for name, (shape, dtype) in shapes.items():
        setattr(scratch, name, wp.empty(shape, dtype=dtype, device=device))
    return scratch


def _trace(
    picture: Picture,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    first: int,
    size: int,
    *,
    only_fixed: bool,
) -> None:
    """Find what the pixels' centres show."""
    num_slots = scenes.slots.shape[1]
    width, height, tile = picture.width, picture.height, picture.tile
    tiles = (size, math.ceil(height / tile), math.ceil(width / tile))
    launch = functools.partial(wp.launch, device=situation.scene.device)
    scratch.sun.zero_()
    placing = [first, int(only_fixed), scenes, situation, layers, scratch]
    launch(culling.place_slots, dim=(size, num_slots), inputs=placing)
    launch(culling.list_slots, dim=tiles, inputs=[first, tile, width, height, scenes, situation, layers, scratch])
    dim, sizes = _squares(picture, situation, first, size)
    launch(painting.cast_rays, dim=dim, inputs=[*sizes, scenes, situation, layers, scratch])


def _squares(picture: Picture, situation: Situation, first: int, size: int) -> tuple[tuple[int, int, int], list[int]]:
    """Threads of a kernel over pixels, and its first arguments: on a CPU a thread draws a tile, else a pixel."""
    side = picture.tile if situation.scene.device.is_cpu else 1
    dim = (size, math.ceil(picture.height / side), math.ceil(picture.width / side))
    return dim, [first, side, picture.tile, picture.width, picture.height]


def _draw_part(
    picture: Picture,
    scenes: SceneArrays,
    situation: Situation,
    layers: Layers,
    scratch: Scratch,
    first: int,
    size: int,
    image: wp.array,
    depth: wp.array,
    label: wp.array,
) -> None:
    _trace(picture, scenes, situation, layers, scratch, first, size, only_fixed=False)
    dim, sizes = _squares(picture, situation, first, size)
    launch = functools.partial(wp.launch, dim=dim, device=situation.scene.device)
    launch(painting.shade_centers, inputs=[*sizes, scenes, situation, layers, scratch])
    launch(painting.smooth_edges, inputs=[*sizes, scenes, situation, layers, scratch, image[first:]])
    if picture.measured:
        outputs = [int(picture.by_body), scenes, situation, layers, scratch, depth[first:], label[first:]]
        launch(painting.measure, inputs=[*sizes, *outputs])


def new_layers(picture: Picture, index: np.ndarray, device: wp.Device) -> Layers:
    """Layers to be baked; `index` (scenes, views) numbers them, -1 for none."""
    count = int(index.max(initial=-1)) + 1
    shape = (count, picture.height, picture.width) if count else (1, 1, 1)
    layers = Layers()
    layers.index = wp.array(index, dtype=wp.int32, device=device)
    layers.slot = wp.empty(shape, dtype=wp.int16, device=device)
    layers.picture = wp.empty(shape, dtype=wp.vec3ub, device=device)
    for name in ("t", "mirror_t"):
        setattr(layers, name, wp.empty(shape, dtype=wp.float32, device=device))
    for name in ("base", "cast", "mirror", "center", "edge"):
        setattr(layers, name, wp.empty(shape, dtype=wp.vec3, device=device))
    return layers


def bake(picture: Picture, scenes: SceneArrays, situation: Situation, layers: Layers, layer: int) -> None:
    """Fill a layer with the picture of a situation's only environment, of what never moves in it."""
    device = situation.scene.device
    scratch = _new_scratch(device, picture, 1, scenes.slots.shape[1])
    _trace(picture, scenes, situation, layers, scratch, 0, 1, only_fixed=True)
    inputs = [layer, picture.tile, picture.width, picture.height, scenes, situation, layers, scratch]
    for kernel in (baking.bake_centers, baking.bake_edges):
        wp.launch(kernel, dim=(picture.height, picture.width), inputs=inputs, device=device)
