"""Contact points as a narrow-phase routine returns them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.physics.barrier import barrier

# The distance of a contact point that does not exist.
NO_CONTACT = 1e6
# Bodies that only touch, as parts of a fixture do by design, must not make contact by rounding (of lengths of 1 m).
ROUNDING = 3e-7


class Points(NamedTuple):
    """Contact points of the slots of one kind, N for each pair; the last two axes as the pairs have them."""

    dist: Array  # (N, S, L) negative when penetrating, `NO_CONTACT` where there is none
    pos: Array  # (3, N, S, L) midpoint between the surfaces, world
    normal: Array  # (3, G, S, L) from geom 1 to geom 2; G is N, or 1 where a slot's points share theirs


def least(score: Array, *values: Array) -> tuple[Array, ...]:
    """Minimum of few scores (n, S, L), its index (the first at a tie), and the values (..., n, S, L) at that index.

    Compared one by one, which vectorizes over the lanes and fuses, where a reduction is a kernel of its own. What is
    given is read once for each comparison, so it should be behind a barrier.
    """
    best, number = score[0], jnp.zeros(score.shape[1:], jnp.int32)
    for i in range(1, len(score)):
        closer = score[i] < best
        best, number = jnp.where(closer, score[i], best), jnp.where(closer, i, number)
    best, number = barrier(best, number)

    def of_best(x: Array) -> Array:
        chosen = x[..., 0, :, :]
        for i in range(1, len(score)):
            chosen = jnp.where(number == i, x[..., i, :, :], chosen)
        return chosen

    return best, number, *(of_best(x) for x in values)
