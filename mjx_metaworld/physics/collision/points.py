"""What a narrow-phase routine returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

# The distance of a contact point that does not exist.
NO_CONTACT = 1e6
# Bodies that only touch, as parts of a fixture do by design, must not make contact by rounding (of lengths of 1 m).
ROUNDING = 3e-7


class Points(NamedTuple):
    """Contact points of the slots of one kind, N for each pair; the last two axes as the pairs have them."""

    dist: Array  # (N, S, L) negative when penetrating, `NO_CONTACT` where there is none
    pos: Array  # (3, N, S, L) midpoint between the surfaces, world
    normal: Array  # (3, G, S, L) from geom 1 to geom 2; G is N, or 1 where a slot's points share theirs


def first_where(score: Array, extreme: Array) -> Array:
    """(n, S, L) bool, True at the first entry of (n, S, L) that equals the extreme (S, L) alone.

    Unlike an argmin and a gather this vectorizes over the lanes.
    """
    rows = jax.lax.broadcasted_iota(jnp.int32, score.shape, 0)
    first = jnp.min(jnp.where(score == extreme, rows, score.shape[0]), axis=0)
    return rows == first
