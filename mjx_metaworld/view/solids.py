"""Geometric primitives of MuJoCo as triangles with a normal at every corner."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

_AROUND, _ALONG = 24, 12  # segments of what is round
_ENDLESS = 10.0  # half the side of a plane without end, m


class Triangles(NamedTuple):
    """Triangles, each with corners of its own."""

    corners: np.ndarray  # (n, 3, 3) m
    normals: np.ndarray  # (n, 3, 3) of the corners

    def moved(self, pos: np.ndarray, mat: np.ndarray) -> Triangles:
        """The same in another frame, in which theirs has origin `pos` (3,) and axes `mat` (3, 3)."""
        return Triangles(self.corners @ mat.T + pos, self.normals @ mat.T)


def solid(kind: int, size: np.ndarray) -> Triangles:
    """Triangles of a primitive, in its frame.

    Args:
        kind: `mujoco.mjtGeom`, no mesh.
        size: (3,) as MuJoCo has it.

    Raises:
        ValueError: for a kind that has no triangles.
    """
    shape = mujoco.mjtGeom
    if kind == shape.mjGEOM_BOX:
        return _box(size)
    if kind == shape.mjGEOM_PLANE:
        return _plane(np.where(size[:2] > 0.0, size[:2], _ENDLESS))
    if kind in (shape.mjGEOM_SPHERE, shape.mjGEOM_ELLIPSOID):
        return _ellipsoid(np.full(3, size[0]) if kind == shape.mjGEOM_SPHERE else size)
    if kind == shape.mjGEOM_CYLINDER:
        return _lathe([(0.0, -size[1]), (size[0], -size[1]), (size[0], size[1]), (0.0, size[1])], sharp=True)
    if kind == shape.mjGEOM_CAPSULE:
        angles = np.linspace(-np.pi / 2, np.pi / 2, 2 * (_ALONG // 2))
        ends = np.sign(angles) * size[1]
        return _lathe(list(zip(size[0] * np.cos(angles), size[0] * np.sin(angles) + ends, strict=True)))
    raise ValueError(f"a geom of type {mujoco.mjtGeom(kind).name} has no triangles here")


def _box(half: np.ndarray) -> Triangles:
    corners, normals = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            normal = sign * np.eye(3)[axis]
            square = [normal - u - sign * v, normal + u - sign * v, normal + u + sign * v, normal - u + sign * v]
            corners += [[square[0], square[1], square[2]], [square[0], square[2], square[3]]]
            normals += [[normal] * 3] * 2
    return Triangles(np.array(corners) * half, np.array(normals))


def _plane(half: np.ndarray) -> Triangles:
    x, y = half
    square = np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    return Triangles(square[[[0, 1, 2], [0, 2, 3]]], np.broadcast_to([0.0, 0.0, 1.0], (2, 3, 3)).copy())


def _ellipsoid(half: np.ndarray) -> Triangles:
    angles = np.linspace(-np.pi / 2, np.pi / 2, _ALONG + 1)
    ball = _lathe(list(zip(np.cos(angles), np.sin(angles), strict=True)))
    normals = ball.normals / half
    return Triangles(ball.corners * half, normals / np.linalg.norm(normals, axis=-1, keepdims=True))


def _lathe(profile: list[tuple[float, float]], *, sharp: bool = False) -> Triangles:
    """A solid of revolution about z of (radius, height) from below, with normals of each segment if `sharp`."""
    turns = np.linspace(0.0, 2.0 * np.pi, _AROUND + 1)
    around = np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    rings = np.array(profile)
    along = np.diff(rings, axis=0)
    across = np.stack([along[:, 1], -along[:, 0]], axis=-1)  # outwards
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-30)
    smooth = np.concatenate([across[:1], across[:-1] + across[1:], across[-1:]])
    smooth /= np.maximum(np.linalg.norm(smooth, axis=-1, keepdims=True), 1e-30)
    smooth[[0, -1]] = (0.0, -1.0), (0.0, 1.0)

    def ring(row: np.ndarray) -> np.ndarray:
        return np.concatenate([row[0] * around, np.full((len(around), 1), row[1])], axis=-1)

    corners, normals = [], []
    for i in range(len(along)):
        low, high = ring(rings[i]), ring(rings[i + 1])
        below, above = (across[i], across[i]) if sharp else (smooth[i], smooth[i + 1])
        n_low, n_high = ring(below), ring(above)
        for places, directions, wide in (
            ((low[:-1], low[1:], high[1:]), (n_low[:-1], n_low[1:], n_high[1:]), rings[i, 0]),
            ((low[:-1], high[1:], high[:-1]), (n_low[:-1], n_high[1:], n_high[:-1]), rings[i + 1, 0]),
        ):
            if wide > 1e-12:  # else a triangle without area, at a pole
                corners.append(np.stack(places, axis=1))
                normals.append(np.stack(directions, axis=1))
    return Triangles(np.concatenate(corners), np.concatenate(normals))
