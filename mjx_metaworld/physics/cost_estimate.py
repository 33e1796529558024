"""Cost estimate of environments, by which those of similar cost are computed together.

The solver's loops over contacts and its iterations end where the busiest environment of a tile needs no more of them
(see `groups.py`), those that select contacts and make their rows where the busiest of a block has no more.
"""

from __future__ import annotations

import jax

from mjx_metaworld.physics.config import CONTACTS_PER_GROUP
from mjx_metaworld.physics.constraint import Constraints

Array = jax.Array

# What an iteration costs without contacts, relative to what a group of contacts adds (benchmarks/LOG.md, section 13).
_ITERATION, _GROUP = 2, 1


def estimate_cost(constraints: Constraints, iterations: Array) -> Array:
    """Cost estimate (L,) int32 of one substep, the key by which environments are sorted.

    Args:
        constraints: the substep's rows.
        iterations: (L,) int32 that the solver took.
    """
    groups = -(-constraints.num_contacts // CONTACTS_PER_GROUP)
    return iterations * (_ITERATION + _GROUP * groups)
