"""The C++ routines for general convex pairs, called on arrays as those in Python are."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape, WarmStart
from support.cpu_collision import columns, library, pointer

_START = 23  # numbers of a start: direction, three points of either shape, two weights


class _Table(ctypes.Structure):
    """`HullTable` of `hull_support.hpp`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("candidates", "first_row", "resolution", "reach", "faces")),
        *((name, ctypes.c_int32) for name in ("hulls", "num_faces")),
    )


class Hulls(NamedTuple):
    """A table as the routines read it."""

    table: _Table
    arrays: list[np.ndarray]  # which the table points to


def hulls_of(table: HullTable) -> Hulls:
    floats, integers = np.float32, np.int32
    given = [(table.candidates, floats), (table.first_row, integers), (table.resolution, integers)]
    given += [(table.reach, floats), *([] if table.faces is None else [(table.faces, floats)])]
    arrays = [np.ascontiguousarray(x, dtype) for x, dtype in given]
    num_faces = 0 if table.faces is None else table.faces.shape[1]
    addresses = [pointer(x) for x in arrays] + [ctypes.c_void_p()] * (5 - len(arrays))
    return Hulls(_Table(*addresses, len(table.first_row), num_faces), arrays)


def find_start(shape1: Shape, shape2: Shape, hulls: Hulls, iterations: int) -> WarmStart:
    """As `find_start` of `collision/convex.py`."""
    axes, count = np.shape(shape1.body), np.size(shape1.body)
    given, start = [columns(shape1), columns(shape2)], np.zeros((_START, count), np.float32)
    library().convex_starts(count, *map(pointer, given), ctypes.byref(hulls.table), iterations, pointer(start))
    return _unpacked(start, axes)


def collide_convex(
    shape1: Shape, shape2: Shape, hulls: Hulls, margin: float, start: WarmStart, iterations: int
) -> tuple[Points, WarmStart]:
    """As `collide_convex` of `collision/convex.py`."""
    axes, count = np.shape(shape1.body), np.size(shape1.body)
    given, start_data = [columns(shape1), columns(shape2)], _packed(start, count)
    margins, following = np.full(count, margin, np.float32), np.zeros((_START, count), np.float32)
    made = [np.zeros(n * count, np.float32) for n in (1, 3, 3)]
    before = [*map(pointer, given), ctypes.byref(hulls.table), pointer(margins), pointer(start_data)]
    library().convex_contacts(count, *before, iterations, pointer(following), *map(pointer, made))
    dist, pos, normal = made
    points = Points(dist.reshape(1, *axes), pos.reshape(3, 1, *axes), normal.reshape(3, 1, *axes))
    return points, _unpacked(following, axes)


def _packed(start: WarmStart, count: int) -> np.ndarray:
    """(23, n) with the corners of a simplex one after the other."""
    simplices = [np.swapaxes(np.asarray(x, np.float32), 0, 1) for x in (start.first, start.second)]
    parts = [start.normal, *simplices, start.weights]
    return np.concatenate([np.reshape(np.asarray(x, np.float32), (-1, count)) for x in parts])


def _unpacked(columns: np.ndarray, axes: tuple[int, ...]) -> WarmStart:
    normal, first, second, weights = np.split(columns.reshape(_START, *axes), (3, 12, 21))
    first, second = (np.swapaxes(x.reshape(3, 3, *axes), 0, 1) for x in (first, second))
    return WarmStart(normal=normal, first=first, second=second, weights=weights)  # pyright: ignore[reportArgumentType]
