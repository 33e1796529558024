"""How much work an environment is, so that environments with alike loads can be computed together.

A chunk of environments visits, of every kind of pair and of the contacts, as many groups as its busiest environment
needs (see `groups.py`). What counts is therefore less how much work an environment is in all than which kind's loops
it prolongs: environments are sorted by the costliest of their kinds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.collision.candidates import Candidates
from mjx_metaworld.physics.model import CONTACTS_PER_GROUP, Contacts, PhysicsConfig

Array = jax.Array

# CPU time in 0.1 µs that a visit to one more group costs an environment a control step, with the default sizes: the
# stages' times over their visits (benchmarks/LOG.md, section 8). Only their ratios matter, and those not much.
_PLANE, _SPHERE, _CAPSULE, _BOX, _CYLINDER_BOX, _CONVEX, _CONTACTS = 20, 20, 50, 75, 50, 210, 360
_SUM_SHIFT = 3  # among environments with the same costliest kind an eighth of the sum decides


def load_of(candidates: Candidates, contacts: Contacts, config: PhysicsConfig) -> Array:
    """(L,) int32 key by which environments are sorted, from the pairs that may touch and the contacts that do."""
    kinds = (
        (candidates.plane, _PLANE),
        (candidates.sphere, _SPHERE),
        (candidates.capsule, _CAPSULE),
        (candidates.box, _BOX),
        (candidates.cylinder_box, _CYLINDER_BOX),
        (candidates.convex, _CONVEX),
    )
    costs = [_groups(slots.near, config.pair_group) * cost for slots, cost in kinds if slots is not None]
    active = jnp.sum(contacts.active, axis=0, dtype=jnp.int32)
    costs = jnp.stack([*costs, _groups(active, CONTACTS_PER_GROUP) * _CONTACTS])
    return jnp.max(costs, axis=0) + (jnp.sum(costs, axis=0, dtype=jnp.int32) >> _SUM_SHIFT)


def _groups(rows: Array, size: int) -> Array:
    return -(-rows // size)
