"""The collision geometry of all scenes: tables that stay where they are, looked up by scene.

Only what the broad phase needs of every collider and pair is laid out for the lanes; everything else is read from the
tables for the few pairs that are near.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from mjx_metaworld.physics.batching import rows_of_lanes
from mjx_metaworld.physics.model import Colliders, Pairs, Scene

Array = jax.Array


class Bounds(NamedTuple):
    """The lanes' colliders as far as their bounding boxes need them, components first."""

    body: Array  # (C, L) int32 skeleton body
    type: Array  # (C, L) int32 mujoco.mjtGeom
    pos: Array  # (3, C, L) in the body frame
    mat: Array  # (3, 3, C, L) in the body frame
    extent: Array  # (3, C, L)


class PairRows(NamedTuple):
    """The lanes' pairs as far as ranking needs them."""

    place: Array  # (P, L) int32 of the pair among all combinations (C, C) of colliders, -1 on padding
    margin: Array  # (P, L)


class Geometry(NamedTuple):
    """Colliders and pairs of all scenes (numpy, equal for all lanes), and which scene is whose."""

    colliders: Colliders  # leading axes (S, C)
    pairs: Pairs  # leading axes (S, P)
    scene: Array  # (L,) int32

    @classmethod
    def of(cls, scenes: Scene, scene: Array) -> Geometry:
        """That of lanes whose scenes are rows (L,) of the stacked scenes."""
        return cls(scenes.colliders, scenes.pairs, scene)

    def bounds(self) -> Bounds:
        """The lanes' colliders."""
        c = self.colliders
        numbers = np.concatenate([x.reshape(*x.shape[:2], -1) for x in (c.pos, c.mat, c.extent)], axis=2)
        body, kind = self._of_lanes(c.body), self._of_lanes(c.type)
        columns = self._of_lanes(np.moveaxis(numbers, 2, 1))
        mat = columns[3:12]
        return Bounds(body, kind, columns[:3], mat.reshape(3, 3, *mat.shape[1:]), columns[12:])

    def pair_rows(self) -> PairRows:
        """The lanes' pairs."""
        p, count = self.pairs, self.colliders.body.shape[1]
        place = np.where(p.valid, p.geom1 * count + p.geom2, -1).astype(np.int32)
        return PairRows(self._of_lanes(place), self._of_lanes(p.parameters[..., 0]))

    def _of_lanes(self, table: np.ndarray) -> Array:
        """(..., L) the lanes' rows of a table (S, ...)."""
        return rows_of_lanes(table, self.scene)
