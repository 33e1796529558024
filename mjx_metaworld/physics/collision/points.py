"""What a narrow-phase routine returns."""

from __future__ import annotations

from typing import NamedTuple

import jax

Array = jax.Array

# The distance of a contact point that does not exist.
NO_CONTACT = 1e6


class Points(NamedTuple):
    """Contact points of the slots of one kind, N for each slot."""

    dist: Array  # (N, S, L) negative when penetrating, `NO_CONTACT` where there is none
    pos: Array  # (3, N, S, L) midpoint between the surfaces, world
    normal: Array  # (3, G, S, L) from geom 1 to geom 2; G is N, or 1 where a slot's points share theirs
