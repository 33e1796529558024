"""Building blocks of the tasks' `place` functions."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.model import FREE_DOFS, FREE_QPOS, PART_DOFS, PART_QPOS
from mjx_metaworld.tasks.spec import Placement, Settled, Vec3

Vector = Float[Array, "3"]


def shifted(point: Vector, offset: Vec3) -> Vector:
    """`point` moved by a constant offset in world axes."""
    return point + jnp.asarray(offset, point.dtype)


def start(settled: Settled, *, goal: Vector, object_init: Vector) -> Placement:
    """The settled state itself as a placement; the functions below move things in it."""
    return Placement(
        qpos=settled.qpos,
        qvel=settled.qvel,
        prop_pos=settled.prop_pos,
        goal=goal,
        object_init=object_init,
        points_init=settled.points,
    )


def put_free_body(placement: Placement, pos: Vector) -> Placement:
    """Put the free body's origin at `pos` and at rest; it keeps the orientation in which it settled."""
    first = FREE_QPOS.start
    return placement.replace(
        qpos=placement.qpos.at[first : first + 3].set(pos),
        qvel=placement.qvel.at[FREE_DOFS].set(0.0),
    )


def put_prop(placement: Placement, pos: Vector) -> Placement:
    """Stand the prop at `pos`."""
    return placement.replace(prop_pos=pos)


def set_part_joint(placement: Placement, row: int, value: float, *, stop: bool) -> Placement:
    """Set joint `row` (0 and 1 slides, 2 hinge) of the fixture's part; with `stop` also bring it to rest.

    Raises:
        ValueError: if `row` is none of these.
    """
    row = check_integer("set_part_joint's row", row, 0, PART_QPOS.stop - PART_QPOS.start - 1)
    qpos = placement.qpos.at[PART_QPOS.start + row].set(value)
    qvel = placement.qvel.at[PART_DOFS.start + row].set(0.0) if stop else placement.qvel
    return placement.replace(qpos=qpos, qvel=qvel)
