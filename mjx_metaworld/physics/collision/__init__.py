"""Collision detection: which pairs are near, where they touch, and which contacts the solver gets.

`broadphase` picks the nearest pairs of a scene, `narrowphase` finds the contacts of those; `collide` does both.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.candidates import Candidates, broadphase
from mjx_metaworld.physics.collision.capsule import collide_capsules
from mjx_metaworld.physics.collision.convex import collide_convex
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.geometry import Geometry
from mjx_metaworld.physics.collision.packing import by_block
from mjx_metaworld.physics.collision.plane import collide_planes
from mjx_metaworld.physics.collision.points import NO_CONTACT, ROUNDING, Points
from mjx_metaworld.physics.collision.reduction import reduce
from mjx_metaworld.physics.collision.shapes import NearPairs, Shape, Slots, place, poses_for
from mjx_metaworld.physics.collision.sphere import collide_spheres
from mjx_metaworld.physics.fence import fence
from mjx_metaworld.physics.model import Contacts, Kinematics, PhysicsConfig

__all__ = [
    "Candidates",
    "Geometry",
    "broadphase",
    "collide",
    "find",
    "find_points",
    "narrowphase",
    "reduce",
    "routines",
]

Routine = Callable[[Shape, Shape, NearPairs], Points]


def collide(geometry: Geometry, kin: Kinematics, config: PhysicsConfig) -> Contacts:
    """Contacts of scenes at poses; all arrays lanes last."""
    return narrowphase(broadphase(geometry, kin, config), kin, config)


def narrowphase(candidates: Candidates, kin: Kinematics, config: PhysicsConfig) -> Contacts:
    """Contacts of the selected pairs; all arrays lanes last."""
    return reduce(find_points(candidates, kin, config), config)


def find_points(candidates: Candidates, kin: Kinematics, config: PhysicsConfig) -> list[tuple[Slots, Points]]:
    """The contact points of every kind of pair, before the reduction."""
    kinds = routines(candidates, config).values()
    some = next(slots for slots, _ in kinds)
    # Where no pairs are left out there is no reason to place them kind by kind.
    placed = None if some.layout.is_packed else place(some.pairs, poses_for(some.layout, kin), some.layout)
    return [(slots, find(slots, kin, routine, placed)) for slots, routine in kinds]


def find(slots: Slots, kin: Kinematics, routine: Routine, placed: tuple[Shape, Shape] | None = None) -> Points:
    """The contact points of the selected pairs of one kind, in their layout.

    Args:
        slots: of the kind.
        kin: poses.
        routine: collides its pairs.
        placed: both shapes, in the world, of the pairs of all kinds; found here where they are not given.
    """

    def of_shapes(shapes: tuple[Shape, Shape], pairs: NearPairs) -> Points:
        points = routine(*shapes, pairs)
        touches = points.dist < pairs.margin - ROUNDING
        return fence(points._replace(dist=jnp.where(touches, points.dist, NO_CONTACT)))

    if placed is not None:
        return by_block(slots.layout, lambda both: of_shapes(*both), (placed, slots.pairs))
    poses = poses_for(slots.layout, kin)
    return by_block(slots.layout, lambda pairs: of_shapes(place(pairs, poses, slots.layout), pairs), slots.pairs)


def routines(candidates: Candidates, config: PhysicsConfig) -> dict[str, tuple[Slots, Routine]]:
    """The kinds of pairs that there are, each with its selected pairs and the routine that collides them."""

    def convex(a: Shape, b: Shape, pairs: NearPairs) -> Points:
        return collide_convex(a, b, pairs.margin, pairs.start, config.convex_iterations)

    kinds = {
        "plane": (candidates.plane, lambda a, b, _: collide_planes(a, b)),
        "sphere": (candidates.sphere, lambda a, b, _: collide_spheres(a, b)),
        "capsule": (candidates.capsule, lambda a, b, _: collide_capsules(a, b)),
        "box": (candidates.box, lambda a, b, pairs: collide_boxes(a, b, pairs.margin)),
        "cylinder-box": (candidates.cylinder_box, lambda a, b, pairs: collide_cylinder_boxes(a, b, pairs.margin)),
        "convex": (candidates.convex, convex),
    }
    return {kind: (slots, routine) for kind, (slots, routine) in kinds.items() if slots is not None}
