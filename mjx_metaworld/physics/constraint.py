"""Constraint rows: the weld that drags the hand, joint limits and contacts (MuJoCo's `mj_makeConstraint`).

Every row has a Jacobian J, a stiffness D = 1 / R and a reference acceleration aref; the solver then balances J qacc
against aref. Formulas are those of MuJoCo's "Computation" chapter (constraint model) as 3.3.0 evaluates them, for
solref in its standard form (time constant, damping ratio) and impratio 1, which is all that Meta-World's scenes hold.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.groups import contacts_at_once, for_groups
from mjx_metaworld.physics.model import (
    ARM_DOFS,
    FREE_DOFS,
    NV,
    PART_QPOS,
    Arm,
    Contacts,
    Kinematics,
    PhysicsState,
    Scene,
    moves,
)
from mjx_metaworld.physics.slices import slice_at, take, update_at
from mjx_metaworld.physics.sums import sum_product

MIN_IMPEDANCE, MAX_IMPEDANCE = 1e-4, 0.9999  # mjMINIMP, mjMAXIMP
MIN_FRICTION = 1e-5  # mjMINMU
MIN_VALUE = 1e-15  # mjMINVAL

# metaworld writes this orientation into the mocap body at every step; MuJoCo normalizes it.
MOCAP_QUAT = np.array([1.0, 0.0, 1.0, 0.0]) / np.sqrt(2.0)

# A range that no joint leaves.
_NO_LIMITS = np.array([-1e10, 1e10])

# Index into qpos of every dof that may have limits; those of the free body have none.
_QPOS_OF_DOFS = np.concatenate([np.arange(FREE_DOFS.stop), np.arange(PART_QPOS.start, PART_QPOS.stop)])

# The bodies that a dof moves are consecutive, so a pair of comparisons tells whether it moves a given body.
_FIRST_MOVED = np.argmax(moves(), axis=0)
_LAST_MOVED = _FIRST_MOVED + np.sum(moves(), axis=0) - 1


class ContactRows(NamedTuple):
    """The contacts' share of `Constraints`."""

    jac: Array  # (K, R, 18, L)
    d: Array  # (K, L)
    aref: Array  # (K, R, L)
    mu: Array  # (K, L)

    @classmethod
    def none(cls, count: int, lanes: int, dtype, rows: int = 4) -> ContactRows:
        """Rows of no effect, `rows` to a contact."""
        return cls(
            jac=jnp.zeros((count, rows, NV, lanes), dtype),
            d=jnp.zeros((count, lanes), dtype),
            aref=jnp.zeros((count, rows, lanes), dtype),
            mu=jnp.ones((count, lanes), dtype),
        )


class Constraints(struct.PyTreeNode):
    """All rows of one substep, lanes last. A row with D = 0 has no effect.

    A contact's R rows are normal, two tangents and torsion, and where any contact of the scenes rolls two more. Those
    of torsion and rolling are scaled by their friction / sliding friction, which turns the elliptic cone into a
    circular one with the single slope `contact_mu`, and gives all rows the same D (impratio is 1). A row that a contact
    lacks is zero.
    """

    weld_jac: Array  # (6, 7, L) translation, then rotation, of the arm's dofs
    weld_d: Array  # (6, L)
    weld_aref: Array  # (6, L)
    limit_jac: Array  # (18, L) the row's only entry, at its own dof: 1 at the lower limit, -1 at the upper, else 0
    limit_d: Array  # (18, L)
    limit_aref: Array  # (18, L)
    contact_jac: Array  # (K, R, 18, L)
    contact_d: Array  # (K, L)
    contact_aref: Array  # (K, R, L)
    contact_mu: Array  # (K, L)
    num_contacts: Array  # (L,) int32: contacts from this row on have no effect

    @property
    def contact_rows(self) -> ContactRows:
        """Rows of the contacts."""
        return ContactRows(self.contact_jac, self.contact_d, self.contact_aref, self.contact_mu)


class Impedance(NamedTuple):
    """Stiffness, damping and impedance of a row at its present violation, from its solref and solimp."""

    stiffness: Array  # K, 1/s^2
    damping: Array  # B, 1/s
    value: Array  # impedance, in (0, 1)


def make_constraints(
    arm: Arm,
    scene: Scene,
    kin: Kinematics,
    state: PhysicsState,
    contacts: Contacts,
    execution: Execution,
    scratch: ContactRows | None = None,
) -> Constraints:
    """Build the rows at a state. All arrays lanes last; `arm` holds constants.

    `scratch` are rows that may be overwritten, which saves filling new ones.
    """
    num_contacts = jnp.sum(contacts.active, axis=0, dtype=jnp.int32)
    weld_jac, weld_d, weld_aref = barrier(*_weld(arm, kin, state))
    limit_jac, limit_d, limit_aref = barrier(*_limits(arm, scene, state))

    count, lanes = contacts.dist.shape
    size = contacts_at_once(count, execution)

    def add_group(first: Array | int, rows: ContactRows) -> ContactRows:
        made = _contacts(arm, kin, state, Contacts(slice_at(first, size, contacts.data)))
        return ContactRows(*(update_at(x, new, first) for x, new in zip(rows, made, strict=True)))

    start = scratch or ContactRows.none(count, lanes, contacts.dist.dtype, contacts.num_rows)
    contact = for_groups(count, size, num_contacts, execution, add_group, start)
    return Constraints(
        weld_jac=weld_jac,
        weld_d=weld_d,
        weld_aref=weld_aref,
        limit_jac=limit_jac,
        limit_d=limit_d,
        limit_aref=limit_aref,
        contact_jac=contact.jac,
        contact_d=contact.d,
        contact_aref=contact.aref,
        contact_mu=contact.mu,
        num_contacts=num_contacts,
    )


def impedance(solref: Array, solimp: Array, violation: Array, timestep: float) -> Impedance:
    """Stiffness, damping and impedance of rows with solref (2, ...), solimp (5, ...) and violation pos - margin (...).

    The impedance rises from solimp[0] at zero violation to solimp[1] at the width solimp[2], along two joined powers
    solimp[4] that meet at the midpoint solimp[3]. The time constant is at least two time steps (MuJoCo's refsafe).
    """
    low = jnp.clip(solimp[0], MIN_IMPEDANCE, MAX_IMPEDANCE)
    high = jnp.clip(solimp[1], MIN_IMPEDANCE, MAX_IMPEDANCE)
    width = jnp.maximum(solimp[2], 0.0)
    midpoint = jnp.clip(solimp[3], MIN_IMPEDANCE, MAX_IMPEDANCE)
    power = jnp.maximum(solimp[4], 1.0)

    x = jnp.minimum(jnp.abs(violation) / jnp.maximum(width, MIN_VALUE), 1.0)
    rising = x <= midpoint
    knee = jnp.where(rising, midpoint, 1.0 - midpoint)
    distance = jnp.where(rising, x, 1.0 - x)
    curve = knee * jnp.power(distance / knee, power)
    value = low + jnp.where(rising, curve, 1.0 - curve) * (high - low)
    value = jnp.where(width <= MIN_VALUE, 0.5 * (low + high), value)

    timeconst = jnp.maximum(solref[0], 2.0 * timestep)
    damping = 2.0 / jnp.maximum(high * timeconst, MIN_VALUE)
    stiffness = 1.0 / jnp.maximum((high * timeconst * solref[1]) ** 2, MIN_VALUE)
    return Impedance(stiffness, damping, value)


def _row_stiffness(imp: Array, inverse_weight: Array) -> Array:
    """D = 1 / R with R = (1 - imp) / imp times the approximate inverse inertia along the row."""
    return 1.0 / jnp.maximum((1.0 - imp) / imp * inverse_weight, MIN_VALUE)


def _weld(arm: Arm, kin: Kinematics, state: PhysicsState) -> tuple[Array, Array, Array]:
    """Rows that weld body `hand` to the mocap body; the Jacobian is the mocap's (zero) minus the hand's."""
    dtype = state.qpos.dtype
    ang = jnp.swapaxes(kin.ang[ARM_DOFS], 0, 1)
    lin = jnp.swapaxes(kin.lin[ARM_DOFS], 0, 1)
    arms = kin.hand_pos[:, None] - jnp.swapaxes(kin.anchor[ARM_DOFS], 0, 1)
    translation = -(lin + spatial.cross(ang, arms))

    # The orientation error is the vector part of e = hand^-1 * mocap * relpose; turning the hand at angular velocity w
    # (hand frame) changes it by -(e_w w + w x e_v) / 2.
    target = spatial.quat_mul(jnp.asarray(MOCAP_QUAT, dtype)[:, None], jnp.asarray(arm.weld_relquat, dtype)[:, None])
    error = barrier(spatial.quat_mul(spatial.quat_conj(kin.hand_quat), target))
    omega = spatial.rotate_back(spatial.quat_to_mat(kin.hand_quat)[:, :, None], ang)
    rotation = -0.5 * (error[0] * omega + spatial.cross(omega, jnp.broadcast_to(error[1:, None], omega.shape)))

    jac = barrier(jnp.concatenate([translation, arm.weld_torquescale * rotation]))
    pos = barrier(jnp.concatenate([state.mocap_pos - kin.hand_pos, arm.weld_torquescale * error[1:]]))
    imp = impedance(arm.weld_solref, arm.weld_solimp, spatial.norm(pos), arm.timestep)
    inverse_weight = jnp.asarray(np.repeat(arm.weld_invweight, 3), dtype)[:, None]
    velocity = spatial.dot(jnp.swapaxes(jac, 0, 1), state.qvel[ARM_DOFS, None])
    aref = -imp.damping * velocity - imp.stiffness * imp.value * pos
    return jac, _row_stiffness(imp.value, inverse_weight), aref


def _limits(arm: Arm, scene: Scene, state: PhysicsState) -> tuple[Array, Array, Array]:
    """Joint limits; hinge and slide joints violate at most one side, so a dof has one row. The free body has none."""
    lanes, num_free = state.qpos.shape[-1], FREE_DOFS.stop - FREE_DOFS.start

    def with_part(robot: np.ndarray, part: Array, free: np.ndarray | float = 0.0) -> Array:
        rows = np.concatenate([robot, np.broadcast_to(free, (num_free, *robot.shape[1:]))])
        rows = jnp.asarray(rows, part.dtype)[..., None]
        return jnp.concatenate([jnp.broadcast_to(rows, (*rows.shape[:-1], lanes)), part])

    no_limits = jnp.asarray(_NO_LIMITS, state.qpos.dtype)[:, None]
    part_range = jnp.where(scene.part_limited[:, None], scene.part_limit_range, no_limits)
    limit_range = with_part(arm.limit_range, part_range, _NO_LIMITS)
    solref = with_part(arm.limit_solref, scene.part_limit_solref)
    solimp = with_part(arm.limit_solimp, scene.part_limit_solimp)
    inverse_weight = with_part(arm.dof_invweight0, scene.part_dof_invweight0)
    qpos = take(state.qpos, _QPOS_OF_DOFS, 0)

    above_lower, below_upper = qpos - limit_range[:, 0], limit_range[:, 1] - qpos
    distance = jnp.minimum(above_lower, below_upper)
    active = distance < 0.0
    jac = jnp.where(active, jnp.where(above_lower < below_upper, 1.0, -1.0), 0.0)
    imp = impedance(jnp.moveaxis(solref, 1, 0), jnp.moveaxis(solimp, 1, 0), distance, arm.timestep)
    d = jnp.where(active, _row_stiffness(imp.value, inverse_weight), 0.0)
    aref = jnp.where(active, -imp.damping * jac * state.qvel - imp.stiffness * imp.value * distance, 0.0)
    return jac, d, aref


def _contacts(arm: Arm, kin: Kinematics, state: PhysicsState, contacts: Contacts) -> ContactRows:
    """All rows of contacts, rotated into its frame; signs follow MuJoCo: body 2 minus body 1."""
    active = contacts.active
    mu = jnp.where(active, jnp.maximum(contacts.friction[:, 0], MIN_FRICTION), 1.0)
    twist = jnp.where(active & contacts.torsional, jnp.maximum(contacts.friction[:, 1], MIN_FRICTION) / mu, 0.0)
    jac = contact_jacobian(kin, contacts, twist)

    violation = jnp.where(active, contacts.dist - contacts.margin, 0.0)
    imp = impedance(jnp.moveaxis(contacts.solref, 1, 0), jnp.moveaxis(contacts.solimp, 1, 0), violation, arm.timestep)
    d = jnp.where(active, _row_stiffness(imp.value, contacts.invweight[:, 0]), 0.0)
    velocity = barrier(spatial.dot(jnp.moveaxis(jac, 2, 0), state.qvel))
    damping, push = barrier(jnp.where(active, imp.damping, 0.0), imp.stiffness * imp.value * violation)
    is_normal = (np.arange(contacts.num_rows) == 0)[:, None]
    aref = -damping[:, None] * velocity - jnp.where(is_normal, push[:, None], 0.0)
    return ContactRows(jac, *barrier(d, aref, mu))


def contact_jacobian(kin: Kinematics, contacts: Contacts, twist: Array) -> Array:
    """(K, R, 18, L): relative velocity along the contact frame's axes, and `twist` times that about the normal.

    Contacts that roll have two more rows about the tangents; frictionless ones have nothing but the first.
    """
    bodies = jnp.stack([contacts.body1, contacts.body2])[:, :, None]
    moved = (bodies >= _FIRST_MOVED[:, None]) & (bodies <= _LAST_MOVED[:, None])  # (2, K, 18, L)
    by_first, by_second = moved.astype(kin.lin.dtype)
    sign = barrier(jnp.where(contacts.active[:, None], by_second - by_first, 0.0))

    ang, lin = jnp.swapaxes(kin.ang, 0, 1)[:, None], jnp.swapaxes(kin.lin, 0, 1)[:, None]  # (3, 1, 18, L)
    pos = jnp.where(contacts.active[:, None], contacts.pos, 0.0)
    arms = jnp.moveaxis(pos, 1, 0)[:, :, None] - jnp.swapaxes(kin.anchor, 0, 1)[:, None]
    velocity = barrier(sign * (lin + spatial.cross(jnp.broadcast_to(ang, arms.shape), arms)))  # (3, K, 18, L)
    omega = barrier(sign * ang)

    frame = jnp.where(contacts.active[:, None, None], contacts.frame, 0.0)[:, :, :, None]
    along = sum_product(frame, jnp.swapaxes(velocity, 0, 1)[:, None], 2)
    about = twist[:, None] * sum_product(frame[:, 0], jnp.swapaxes(omega, 0, 1), 1)
    rows = [along, about[:, None]]
    if contacts.slides is not None:
        is_normal = (np.arange(3) == 0)[:, None, None]
        rows[0] = jnp.where(is_normal | contacts.slides[:, None, None], along, 0.0)
    if contacts.rolling is not None:
        mu = jnp.maximum(contacts.friction[:, 0], MIN_FRICTION)
        roll = jnp.where(contacts.active & (contacts.rolling > 0.0), contacts.rolling / mu, 0.0)
        rows.append(roll[:, None, None] * sum_product(frame[:, 1:], jnp.swapaxes(omega, 0, 1)[:, None], 2))
    return barrier(jnp.concatenate(rows, axis=1))
