"""The narrow phase's routines in C++, called on arrays as those in Python are."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mjx_metaworld.physics.backends.cpu.operation import CPP
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.processes.native import compiler

_FLAGS = ("-O2", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


@functools.cache
def library() -> ctypes.CDLL:
    """The routines, compiled once a process."""
    headers = CPP
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "routines.so")
        source = Path(__file__).with_suffix(".cpp")
        subprocess.run([*(compiler() or ()), *_FLAGS, f"-I{headers}", str(source), "-o", str(made)], check=True)
        return ctypes.CDLL(str(made))


def columns(shape: Shape) -> np.ndarray:
    """(18, n) float32 of a shape whose trailing axes are flattened."""
    count = np.size(shape.body)
    rows = [shape.body, shape.type, shape.hull, shape.pos, shape.mat, shape.size]
    return np.concatenate([np.reshape(np.asarray(x, np.float32), (-1, count)) for x in rows])


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Address of an array, which must outlive the call."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def collide(routine: str, shape1: Shape, shape2: Shape, margin: np.ndarray, points: int, normals: int) -> Points:
    """Contact points of pairs by the routine of that name; results have the trailing axes of the shapes."""
    axes, count = np.shape(shape1.body), np.size(shape1.body)
    given = [columns(shape1), columns(shape2), np.ascontiguousarray(np.broadcast_to(margin, axes), np.float32)]
    made = [np.zeros(n, np.float32) for n in (points * count, 3 * points * count, 3 * normals * count)]
    getattr(library(), routine)(count, *map(pointer, given), *map(pointer, made))
    dist, pos, normal = made
    return Points(dist.reshape(points, *axes), pos.reshape(3, points, *axes), normal.reshape(3, normals, *axes))
