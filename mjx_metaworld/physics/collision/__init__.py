"""Collision detection: broad phase, narrow phase, and selection of the contacts that the solver gets.

`broadphase` picks the nearest pairs of a scene, `narrowphase` finds the contacts of those; `collide` does both. When
the bodies have moved a little, the narrow phase goes on from where it ended (`Candidates.going_on`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.candidates import Candidates, broadphase, choose_pairs
from mjx_metaworld.physics.collision.capsule import collide_capsules
from mjx_metaworld.physics.collision.convex import collide_convex
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.geometry import Geometry
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.packing import by_block
from mjx_metaworld.physics.collision.plane import collide_planes
from mjx_metaworld.physics.collision.points import NO_CONTACT, ROUNDING, Points
from mjx_metaworld.physics.collision.selection import select_contacts
from mjx_metaworld.physics.collision.shapes import NearPairs, Shape, Slots, WarmStart, place, poses_for
from mjx_metaworld.physics.collision.sphere import collide_spheres
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.model import Contacts, Kinematics

Array = jax.Array

__all__ = [
    "Candidates",
    "Geometry",
    "broadphase",
    "choose_pairs",
    "collide",
    "find",
    "find_points",
    "narrowphase",
    "routines",
    "select_contacts",
]

# From the shapes of pairs to their contact points, and to the start of the next search, if there is one.
Routine = Callable[[Shape, Shape, NearPairs], tuple[Points, WarmStart | None]]
# The same of general convex pairs, from both shapes, hulls, margins, starts, the number of iterations, and whether to
# use kernels.
ConvexRoutine = Callable[[Shape, Shape, HullTable, Array, WarmStart, int, bool], tuple[Points, WarmStart]]


def collide(geometry: Geometry, kin: Kinematics, config: EngineConfig) -> Contacts:
    """Contacts of scenes at poses; all arrays lanes last."""
    return narrowphase(broadphase(geometry, kin, config), kin, config)[0]


def narrowphase(
    candidates: Candidates, kin: Kinematics, config: EngineConfig, convex: ConvexRoutine = collide_convex
) -> tuple[Contacts, Candidates]:
    """Contacts of the selected pairs; also these pairs with the start of the next search. All arrays lanes last.

    Args:
        candidates: the selected pairs.
        kin: poses.
        config: accuracy and execution.
        convex: collides general convex pairs.
    """
    found, start = find_points(candidates, kin, config, convex)
    return select_contacts(found, config), candidates.going_on(start)


def find_points(
    candidates: Candidates, kin: Kinematics, config: EngineConfig, convex: ConvexRoutine = collide_convex
) -> tuple[list[tuple[Slots, Points]], WarmStart | None]:
    """Contact points of every kind of pair, before the deepest are selected; also the convex pairs' next start."""
    kinds = routines(candidates, config, convex).values()
    some = next(slots for slots, _ in kinds)
    # Where no pairs are left out there is no reason to place them kind by kind.
    placed = None if some.layout.is_packed else place(some.pairs, poses_for(some.layout, kin), some.layout)
    found = [(slots, *find(slots, kin, routine, placed)) for slots, routine in kinds]
    return [(slots, points) for slots, points, _ in found], found[-1][2]


def find(
    slots: Slots, kin: Kinematics, routine: Routine, placed: tuple[Shape, Shape] | None = None
) -> tuple[Points, WarmStart | None]:
    """Contact points of the selected pairs of one kind, in the pairs' layout; also the next start, if there is one.

    Args:
        slots: of the kind.
        kin: poses.
        routine: collides its pairs.
        placed: both shapes, in the world, of the pairs of all kinds; found here where they are not given.
    """

    def of_shapes(shapes: tuple[Shape, Shape], pairs: NearPairs) -> tuple[Points, WarmStart | None]:
        points, start = routine(*shapes, pairs)
        touches = points.dist < pairs.margin - ROUNDING
        return barrier(points._replace(dist=jnp.where(touches, points.dist, NO_CONTACT))), start

    if placed is not None:
        return by_block(slots.layout, lambda both: of_shapes(*both), (placed, slots.pairs))
    poses = poses_for(slots.layout, kin)
    return by_block(slots.layout, lambda pairs: of_shapes(place(pairs, poses, slots.layout), pairs), slots.pairs)


def routines(
    candidates: Candidates, config: EngineConfig, convex: ConvexRoutine = collide_convex
) -> dict[str, tuple[Slots, Routine]]:
    """Selected pairs and collision routine of each kind of pair that occurs, convex ones last."""
    hulls = candidates.hulls
    search = config.accuracy.convex_iterations, config.execution.kernels
    kinds: dict[str, tuple[Slots | None, Routine]] = {
        "plane": (candidates.plane, lambda a, b, _: (collide_planes(a, b, hulls), None)),
        "sphere": (candidates.sphere, lambda a, b, _: (collide_spheres(a, b), None)),
        "capsule": (candidates.capsule, lambda a, b, _: (collide_capsules(a, b), None)),
        "box": (candidates.box, lambda a, b, pairs: (collide_boxes(a, b, pairs.margin), None)),
        "cylinder-box": (candidates.cylinder_box, lambda a, b, p: (collide_cylinder_boxes(a, b, p.margin), None)),
        "convex": (candidates.convex, lambda a, b, p: convex(a, b, hulls, p.margin, _started(p), *search)),
    }
    return {kind: (slots, routine) for kind, (slots, routine) in kinds.items() if slots is not None}


def _started(pairs: NearPairs) -> WarmStart:
    """Start of the search of convex pairs, which the broad phase has found for these and no others."""
    assert pairs.start is not None
    return pairs.start
