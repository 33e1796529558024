"""Collision detection: which pairs are near, where they touch, and which contacts the solver gets.

`broadphase` picks the nearest pairs of a scene, `narrowphase` finds the contacts of those; `collide` does both.
"""

from __future__ import annotations

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.candidates import Candidates, broadphase
from mjx_metaworld.physics.collision.capsule import collide_capsules
from mjx_metaworld.physics.collision.convex import collide_convex
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.plane import collide_planes
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.reduction import reduce
from mjx_metaworld.physics.collision.shapes import Shape, Slots, place
from mjx_metaworld.physics.collision.sphere import collide_spheres
from mjx_metaworld.physics.model import Contacts, Kinematics, PhysicsConfig, Scene

__all__ = ["Candidates", "broadphase", "collide", "find_points", "narrowphase"]


def collide(scene: Scene, kin: Kinematics, config: PhysicsConfig) -> Contacts:
    """Contacts of a scene at a pose; all arrays lanes last."""
    return narrowphase(broadphase(scene, kin, config), kin, config)


def narrowphase(candidates: Candidates, kin: Kinematics, config: PhysicsConfig) -> Contacts:
    """Contacts of the selected pairs; all arrays lanes last."""
    return reduce(find_points(candidates, kin, config), config.max_contacts)


def find_points(candidates: Candidates, kin: Kinematics, config: PhysicsConfig) -> list[tuple[Slots, Points]]:
    """The contact points of every kind of pair, before the reduction."""

    def convex(a: Shape, b: Shape, slots: Slots) -> Points:
        return collide_convex(a, b, slots.margin, slots.start, config.convex_iterations)

    routines = (
        (candidates.plane, lambda a, b, _: collide_planes(a, b)),
        (candidates.sphere, lambda a, b, _: collide_spheres(a, b)),
        (candidates.capsule, lambda a, b, _: collide_capsules(a, b)),
        (candidates.box, lambda a, b, slots: collide_boxes(a, b, slots.margin)),
        (candidates.cylinder_box, lambda a, b, slots: collide_cylinder_boxes(a, b, slots.margin)),
        (candidates.convex, convex),
    )
    found = []
    for slots, routine in routines:
        if slots is not None:
            shape1, shape2 = spatial.fence(place(slots.shape1, kin), place(slots.shape2, kin))
            found.append((slots, spatial.fence(routine(shape1, shape2, slots))))
    return found
