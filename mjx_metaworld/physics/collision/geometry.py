"""Collision geometry of all scenes: tables that stay where they are, looked up by scene.

Only what the broad phase needs of every collider and pair is laid out for the lanes; everything else is read from the
tables for the few pairs that are near.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.weights import ContactFactors
from mjx_metaworld.physics.lookup import rows_of_lanes
from mjx_metaworld.physics.model import FREE, PART, Colliders, Pairs, Scene

# m from the body's axis to which the colliders of objects and of fixtures' moving parts reach in metaworld's scenes
# (the corners of their bounding boxes some more), and from where on scenes get a bound of their own.
_RADIUS, _MOST_RADIUS = 0.4, 0.5


def _radius(scenes: Scene) -> float:
    """Bound on the distance of a moving body's colliders from the axis or point about which it turns."""
    c = scenes.colliders
    axis, anchor = np.asarray(scenes.part_axis)[:, None, 2], np.asarray(scenes.part_anchor)[:, None]
    half = (np.abs(c.mat) @ c.extent[..., None])[..., 0]
    offset = c.pos - anchor
    from_axis = np.linalg.norm(offset - (offset * axis).sum(-1, keepdims=True) * axis, axis=-1)
    reach = np.linalg.norm(half, axis=-1) + np.where(c.body == FREE, np.linalg.norm(c.pos, axis=-1), from_axis)
    turns = (c.body == FREE) | ((c.body == PART) & axis.any(-1))
    largest = float(reach.max(initial=0.0, where=turns))
    return largest if largest > _MOST_RADIUS else _RADIUS


class Bounds(NamedTuple):
    """Collider data for bounding boxes, of the lanes' scenes; components first."""

    body: Array  # (C, L) int32 skeleton body
    type: Array  # (C, L) int32 mujoco.mjtGeom
    pos: Array  # (3, C, L) in the body frame
    mat: Array  # (3, 3, C, L) in the body frame
    extent: Array  # (3, C, L)


class PairRows(NamedTuple):
    """Pair data for ranking, of the lanes' scenes."""

    place: Array  # (P, L) int32 of the pair among all combinations (C, C) of colliders, -1 on padding
    margin: Array  # (P, L)


class Geometry(NamedTuple):
    """Colliders, pairs and hulls of all scenes (numpy, equal for all lanes), and which scene is whose."""

    colliders: Colliders  # leading axes (S, C)
    pairs: Pairs  # leading axes (S, P)
    hulls: HullTable
    scene: Array  # (L,) int32
    radius: float  # m that colliders of an object or of a fixture's moving part may reach from the body's axis
    factors: ContactFactors | None = None  # of the lanes' contacts; None where they are as the pairs say
    invweights: np.ndarray | None = None  # (S * P, 2) from `object_invweights`, where the factors need them

    @classmethod
    def of(cls, scenes: Scene, hulls: HullTable, scene: Array) -> Geometry:
        """Geometry of lanes whose scenes are rows (L,) of the stacked scenes."""
        return cls(scenes.colliders, scenes.pairs, hulls, scene, _radius(scenes))

    def bounds(self) -> Bounds:
        """The lanes' colliders."""
        c = self.colliders
        columns = (c.body, c.type, *(np.moveaxis(np.asarray(x), 1, -1) for x in (c.pos, c.mat, c.extent)))
        return Bounds(*rows_of_lanes(columns, self.scene))

    def pair_rows(self) -> PairRows:
        """The lanes' pairs."""
        p, count = self.pairs, self.colliders.body.shape[1]
        place = np.where(p.valid, p.geom1 * count + p.geom2, -1).astype(np.int32)
        return PairRows(*rows_of_lanes((place, p.parameters[..., 0]), self.scene))
