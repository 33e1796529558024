"""Convex bodies of one form in pairs, and the support function of their Minkowski difference.

A body is a hull of vertices, plus a box, plus a disc about z, plus a ball, each possibly zero. Balls are left out of
support functions: whoever searches adds them to the depth that he finds.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.collision.hull_support import Hulls, HullTable, furthest_vertex
from mjx_metaworld.physics.collision.shapes import Shape

Array = jax.Array
Tree = TypeVar("Tree")

_SPHERE, _CAPSULE, _CYLINDER, _BOX, MESH = (
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_MESH),
)
TINY = 1e-12  # what lengths in m are at least taken for where they divide


class Body(NamedTuple):
    """Bodies of pairs, as sums."""

    half: Array  # (3, S, L) of the box summand
    disc: Array  # (S, L) radius of the disc about z
    ball: Array  # (S, L) radius of the ball
    hulls: Hulls  # the hull summand, the origin where it is no mesh


class Pair(NamedTuple):
    """Both bodies in the frame of the second."""

    both: Body  # the first bodies, then the second ones (2S slots), so that one call supports all
    pos: Array  # (3, S, L) of the first
    mat: Array  # (3, 3, S, L) of the first


def relate(shape1: Shape, shape2: Shape, hulls: HullTable) -> Pair:
    """Pairs of world-frame shapes."""
    kind, size, hull = (
        jnp.concatenate(each, axis=-2)
        for each in ((shape1.type, shape2.type), (shape1.size, shape2.size), (shape1.hull, shape2.hull))
    )
    return barrier(
        Pair(
            both=_body(kind, size, hull, hulls),
            pos=spatial.rotate_back(shape2.mat, shape1.pos - shape2.pos),
            mat=spatial.matmul_tn(shape2.mat, shape1.mat),
        )
    )


def single(tree: Tree, index: int, count: int) -> Tree:
    """The slots of one of `count` stacked copies."""

    def of(x: Array) -> Array:
        size = x.shape[-2] // count
        return jax.lax.slice_in_dim(x, index * size, (index + 1) * size, axis=-2 % x.ndim)

    return jax.tree.map(of, tree)


def copies(pair: Pair, count: int) -> Pair:
    """The pair's slots `count` times, one copy after the other."""
    both = [single(pair.both, i, 2) for i in range(2) for _ in range(count)]
    return Pair(
        both=jax.tree.map(lambda *x: jnp.concatenate(x, axis=-2), *both),
        pos=jnp.concatenate([pair.pos] * count, axis=-2),
        mat=jnp.concatenate([pair.mat] * count, axis=-2),
    )


def _body(kind: Array, size: Array, hull: Array, table: HullTable) -> Body:
    zero = jnp.zeros_like(size[0])
    length = jnp.where((kind == _CAPSULE) | (kind == _CYLINDER), size[1], zero)
    return Body(
        half=jnp.where(kind == _BOX, size, jnp.stack([zero, zero, length])),
        disc=jnp.where(kind == _CYLINDER, size[0], zero),
        ball=jnp.where((kind == _SPHERE) | (kind == _CAPSULE), size[0], zero),
        hulls=Hulls.of(table, kind, hull),
    )


def body_support(body: Body, d: Array) -> Array:
    """Furthest point (3, S, L) of a body, without its ball, along a direction in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    scale = body.disc / jnp.maximum(across, TINY)
    is_across = (np.arange(3) < 2)[:, None, None]
    smooth = jnp.where(is_across, d * scale, 0.0) + jnp.where(d < 0, -body.half, body.half)
    return smooth + furthest_vertex(body.hulls, d)


def support(pair: Pair, normal: Array) -> Array:
    """(6, S, L) furthest point along a direction of the Minkowski difference, and the point of body 1 it is from."""
    towards = jnp.concatenate([spatial.rotate_back(pair.mat, normal), -normal], axis=-2)
    local = barrier(body_support(pair.both, towards))
    count = normal.shape[-2]
    first = pair.pos + spatial.rotate(pair.mat, local[:, :count])
    return jnp.concatenate([first - local[:, count:], first])


def smooth_reach(body: Body, d: Array) -> Array:
    """Support (..., S, L) of a body without its ball and hull along directions (3, ..., S, L) in its frame."""
    across = jnp.sqrt(d[0] ** 2 + d[1] ** 2)
    return spatial.dot(jnp.abs(d), jnp.expand_dims(body.half, range(1, d.ndim - 2))) + body.disc * across
