"""The selected pairs of a kind, and how their shapes are carried to the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.groups import for_groups, put_rows, rows_at
from mjx_metaworld.physics.model import FREE, HAND, LEFT_CLAW, PART, PROP, RIGHT_CLAW, Kinematics, PhysicsConfig

Array = jax.Array
Result = TypeVar("Result")

# The skeleton bodies that carry colliders, besides the world.
_COLLIDING_BODIES = (HAND, RIGHT_CLAW, LEFT_CLAW, FREE, PROP, PART)


@struct.dataclass
class Shape:
    """One side of the selected pairs of a kind; trailing axes (S, L)."""

    body: Array  # (S, L) int32 skeleton body
    type: Array  # (S, L) int32 mujoco.mjtGeom
    pos: Array  # (3, S, L) in the body frame; in the world frame once `place` moved it
    mat: Array  # (3, 3, S, L) likewise
    size: Array  # (3, S, L)
    hull: Array  # (S, L) int32 row of the hull table, where it is a mesh


@struct.dataclass
class Start:
    """Where the search for the contact of general convex shapes starts: a direction and a simplex near the answer."""

    normal: Array  # (3, S, L) from shape 1 to shape 2, in the frame of shape 2
    first: Array  # (3, 3, S, L) the corners' points of shape 1 in its frame, components first
    second: Array  # (3, 3, S, L) likewise of shape 2
    weights: Array  # (2, S, L) of the second and third corner in the simplex's point that counts


@struct.dataclass
class Slots:
    """The selected pairs of one kind, in the order of their gaps."""

    shape1: Shape
    shape2: Shape
    valid: Array  # (S, L)
    margin: Array  # (S, L) contacts with less distance are active
    contact: Array  # (S, 16, L) what a contact takes over: the bodies of both shapes, then `Pairs.parameters`
    near: Array  # (L,) int32: slots from this one on cannot touch within the control step
    start: Start | None = None  # of the convex kind


class Group(NamedTuple):
    """What a narrow-phase routine reads of some slots."""

    shape1: Shape
    shape2: Shape
    margin: Array  # (S, L)
    start: Start | None


def by_group(slots: Slots, size: int, config: PhysicsConfig, fn: Callable[[Group], Result]) -> Result:
    """Apply a function of slots, whose result has the slots' axes (S, L) last, to those that may touch.

    Args:
        slots: pairs in the order of their gaps.
        size: slots worked on at a time; reduced to what divides their number.
        config: `adaptive` says whether slots that no lane at hand needs are left out; their results are zeros.
        fn: the function of a group of slots.
    """
    everything = Group(slots.shape1, slots.shape2, slots.margin, slots.start)
    if not config.adaptive:
        return fn(everything)
    total = slots.valid.shape[0]
    size = math.gcd(size, total)
    leaves, structure = jax.tree.flatten(everything)
    of_group = jax.jit(lambda group: fn(jax.tree.unflatten(structure, group)))  # traced once, for shapes and results

    def add(first: Array | int, found: Result) -> Result:
        group = of_group(list(rows_at(first, size, *leaves, axis=-2)))
        return jax.tree.map(lambda x, rows: put_rows(x, rows, first, axis=-2), found, group)

    shapes = jax.eval_shape(
        of_group, [jax.ShapeDtypeStruct((*x.shape[:-2], size, x.shape[-1]), x.dtype) for x in leaves]
    )
    none = jax.tree.map(lambda x: jnp.zeros((*x.shape[:-2], total, x.shape[-1]), x.dtype), shapes)
    return for_groups(total, size, slots.near, config, add, none)


def world_poses(kin: Kinematics, body: Array, pos: Array, mat: Array) -> tuple[Array, Array]:
    """Carry poses from body frames to the world.

    Args:
        kin: world poses of the bodies.
        body: (n, L) the body of each.
        pos: (3, n, L) in its frame.
        mat: (3, 3, n, L) in its frame.
    """
    # Six selects vectorize over the lanes, a gather with an index per lane would not.
    body_pos = jnp.zeros_like(pos)
    body_mat = jnp.broadcast_to(jnp.eye(3, dtype=mat.dtype)[:, :, None, None], mat.shape)
    for b in _COLLIDING_BODIES:
        body_pos = jnp.where(body == b, kin.xpos[b][:, None], body_pos)
        body_mat = jnp.where(body == b, kin.xmat[b][:, :, None], body_mat)
    body_pos, body_mat = spatial.fence(body_pos, body_mat)
    return body_pos + spatial.rotate(body_mat, pos), spatial.matmul(body_mat, mat)


def place(shape: Shape, kin: Kinematics) -> Shape:
    """The shape in the world frame."""
    pos, mat = world_poses(kin, shape.body, shape.pos, shape.mat)
    return shape.replace(pos=pos, mat=mat)
