"""Contacts under parameters of the lanes: their friction, and the inverse weights of what was made heavier or lighter.

A contact's regularization grows with `body_invweight0` of both bodies, of which a pair's parameters hold the sum.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mjx_metaworld.physics.model import FREE, FRICTION, INVWEIGHT, PART, PROP, WORLD, Scene

_SAME_WEIGHT = 1e-3  # relative; a centre of mass within some centimetres of the origin alters it by less


class ContactFactors(NamedTuple):
    """Factors of the lanes (L,) on the parameters of their contacts; None for one."""

    friction: Array | None = None
    free_invweight: Array | None = None  # of the free body's share of a pair's inverse weight
    part_invweight: Array | None = None  # of the moving part's share


def object_invweights(scenes: Scene) -> np.ndarray:
    """(S, P, 2) the free body's and the moving part's shares of the translational inverse weights of all pairs.

    A scene's pairs hold sums of two colliders' weights, and static bodies have none: so many equations for so few
    weights that these can be solved for.

    Raises:
        ValueError: if the pairs of a scene do not tell the weights of its colliders, or if the weights of a free body
            with armature do not follow from its mass alone.
    """
    pairs, body = scenes.pairs, np.asarray(scenes.colliders.body)
    shares = np.zeros((*pairs.valid.shape, 2))
    for scene, valid in enumerate(np.asarray(pairs.valid)):
        both = np.stack([pairs.geom1[scene], pairs.geom2[scene]], axis=1)[valid]
        moving = np.unique(both[~np.isin(body[scene][both], (WORLD, PROP))])
        sides = both[:, :, None] == moving
        total = pairs.parameters[scene, valid, INVWEIGHT]
        weights, _, rank, _ = np.linalg.lstsq(sides.sum(1).astype(float), total)
        if rank < len(moving):
            raise ValueError(f"scene {scene}: the mass of objects that touch nothing at rest cannot be changed")
        bodies = body[scene][moving]
        armature = np.asarray(scenes.free_armature)[scene, 0]
        share = weights[bodies == FREE] * (np.asarray(scenes.free_mass)[scene] + armature)
        if armature and not np.allclose(share, 1.0, rtol=0.0, atol=_SAME_WEIGHT):
            raise ValueError(
                f"scene {scene}: the mass of a free body cannot be changed where its joint has armature (got "
                f"{armature:g}) and its centre of mass, or that of a body on it, is not at its origin"
            )
        shares[scene, valid] = (sides.sum(1) * weights) @ np.stack([bodies == FREE, bodies == PART], axis=1)
    return shares


def scale(parameters: Array, factors: ContactFactors, shares: Array | None) -> Array:
    """Pairs' parameters (columns, A, B) under factors (A, B) and shares (2, A, B) of their objects."""
    columns = np.arange(len(parameters))[:, None, None]
    if factors.friction is not None:
        parameters = jnp.where(np.isin(columns, FRICTION), parameters * factors.friction, parameters)
    if shares is not None:
        change = jnp.zeros_like(parameters[0])
        for share, factor in zip(shares, (factors.free_invweight, factors.part_invweight), strict=True):
            if factor is not None:
                change = change + share * (factor - 1.0)
        parameters = jnp.where(columns == INVWEIGHT, parameters + change, parameters)
    return parameters
