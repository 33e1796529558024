"""What a narrow-phase routine returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

# The distance of a contact point that does not exist.
NO_CONTACT = 1e6


class Points(NamedTuple):
    """Contact points of the slots of one kind, N for each slot."""

    dist: Array  # (N, S, L) negative when penetrating, `NO_CONTACT` where there is none
    pos: Array  # (3, N, S, L) midpoint between the surfaces, world
    normal: Array  # (3, G, S, L) from geom 1 to geom 2; G is N, or 1 where a slot's points share theirs


def mean_where_extreme(values: Array, score: Array, extreme: Array) -> Array:
    """Mean of the entries of `values` (3, n, S, L) whose score (n, S, L) equals the extreme one (S, L).

    Unlike an argmin and a gather this vectorizes over the lanes. Entries that tie are averaged: repeated vertices to
    themselves, corners of a face to a point inside it.
    """
    hit = score == extreme
    return jnp.sum(jnp.where(hit, values, 0.0), axis=1) / jnp.maximum(jnp.sum(hit, axis=0), 1)


def first_where(score: Array, extreme: Array) -> Array:
    """(n, S, L) bool, True at the first entry of (n, S, L) that equals the extreme (S, L) alone."""
    rows = jax.lax.broadcasted_iota(jnp.int32, score.shape, 0)
    first = jnp.min(jnp.where(score == extreme, rows, score.shape[0]), axis=0)
    return rows == first
