"""Mass matrix, and the forces that do not come from constraints (MuJoCo's `mj_crb`, `qfrc_smooth`).

The mass matrix is block diagonal: the robot (9 dofs), the free body (6), the fixture's part (3). Centres of mass,
moments and forces are in world axes about points of the bodies themselves (joint anchors, composite centres of mass)
and never about the world's origin, which keeps float32 sums short of cancellation.

Formulas: composite rigid bodies for the mass matrix, recursive Newton-Euler for the bias force (Featherstone, "Rigid
Body Dynamics Algorithms", 2008), with each recursion written as a running sum over the chain of links.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial, stacked
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.linalg import solve_spd
from mjx_metaworld.physics.model import (
    FINGER_DOFS,
    FREE,
    FREE_DOFS,
    LINK0,
    PART,
    PART_DOFS,
    PART_QPOS,
    ROBOT_DOFS,
    Arm,
    Kinematics,
    Scene,
)
from mjx_metaworld.physics.sums import sum_product

Array = jax.Array


class MassMatrix(NamedTuple):
    """The diagonal blocks of the joint-space inertia, armature included."""

    robot: Array  # (9, 9, L)
    free: Array  # (6, 6, L)
    part: Array  # (3, 3, L)


def dense(mass: MassMatrix) -> Array:
    """The whole mass matrix (18, 18, L)."""
    blocks = (mass.robot, mass.free, mass.part)
    rows = []
    before = 0
    for block in blocks:
        size = block.shape[0]
        rows.append(jnp.pad(block, ((0, 0), (before, 18 - before - size), (0, 0))))
        before += size
    return jnp.concatenate(rows)


def apply_mass(mass: MassMatrix, x: Array) -> Array:
    """M x, (18, L), block by block."""
    blocks = zip(mass, (ROBOT_DOFS, FREE_DOFS, PART_DOFS), strict=True)
    return jnp.concatenate([sum_product(block, x[None, dofs], 1) for block, dofs in blocks])


def solve_mass(mass: MassMatrix, rhs: Array) -> Array:
    """Solve M x = rhs, (18, L), block by block."""
    blocks = zip(mass, (ROBOT_DOFS, FREE_DOFS, PART_DOFS), strict=True)
    return jnp.concatenate([solve_spd(block, rhs[dofs]) for block, dofs in blocks])


def mass_matrix(arm: Arm, scene: Scene, kin: Kinematics) -> MassMatrix:
    """The joint-space inertia, with the joints' armature on its diagonal.

    Args:
        arm: constants of the robot.
        scene: leaves with a lane axis at the end.
        kin: poses from `kinematics`.
    """
    return MassMatrix(*barrier(_robot_mass(arm, kin), _free_mass(scene, kin), _part_mass(scene, kin)))


def bias_force(arm: Arm, scene: Scene, kin: Kinematics, qvel: Array) -> Array:
    """Coriolis, centrifugal and gravity forces (18, L): MuJoCo's `qfrc_bias`."""
    gravity = _gravity(arm, scene, qvel.dtype)
    return barrier(
        jnp.concatenate(
            [
                _robot_bias(arm, scene, kin, qvel[ROBOT_DOFS]),
                _free_bias(scene, kin, qvel[FREE_DOFS], gravity),
                _part_bias(scene, kin, qvel[PART_DOFS], gravity),
            ]
        )
    )


def _gravity(arm: Arm, scene: Scene, dtype: jnp.dtype) -> Array:
    """Gravity (3, L): a constant unless scenes differ in it."""
    return stacked.constant(arm.gravity, dtype) if scene.gravity is None else scene.gravity


def damping(arm: Arm, scene: Scene) -> Array:
    """Damping coefficient of every dof, (18, L)."""
    lanes = scene.free_damping.shape[-1]
    robot = scene.robot_damping
    if robot is None:
        robot = jnp.broadcast_to(stacked.constant(arm.damping, scene.free_damping.dtype), (9, lanes))
    return jnp.concatenate([robot, scene.free_damping, scene.part_damping])


def passive_force(arm: Arm, scene: Scene, qpos: Array, qvel: Array) -> Array:
    """Forces (18, L) of the part's springs and of all dampers: MuJoCo's `qfrc_passive`."""
    spring = scene.part_stiffness * (qpos[PART_QPOS] - scene.part_springref)
    return -damping(arm, scene) * qvel - jnp.pad(spring, ((PART_DOFS.start, 0), (0, 0)))


def actuator_force(arm: Arm, scene: Scene, qpos: Array, ctrl: Array) -> Array:
    """Forces (18, L) of the two finger position servos under ctrl (2, L): MuJoCo's `qfrc_actuator`."""
    low, high = stacked.constant(arm.ctrl_range[:, 0], qpos.dtype), stacked.constant(arm.ctrl_range[:, 1], qpos.dtype)
    gain, bias = stacked.constant(arm.actuator_gain, qpos.dtype), stacked.constant(arm.actuator_bias, qpos.dtype)
    force = gain * jnp.clip(ctrl, low, high) + bias * qpos[FINGER_DOFS]
    if scene.servo_gain is not None:
        force = scene.servo_gain * force
    return jnp.pad(force, ((FINGER_DOFS.start, 18 - FINGER_DOFS.stop), (0, 0)))


def smooth_force(arm: Arm, scene: Scene, kin: Kinematics, qpos: Array, qvel: Array, ctrl: Array) -> Array:
    """All forces (18, L) but the constraints': MuJoCo's `qfrc_smooth`."""
    applied = passive_force(arm, scene, qpos, qvel) + actuator_force(arm, scene, qpos, ctrl)
    return barrier(applied - bias_force(arm, scene, kin, qvel))


class _Geometry(NamedTuple):
    """The robot's bodies in world axes, by vectors between neighbouring points only."""

    step: Array  # (6, 3, L) from each link's anchor to the next one's
    com: Array  # (9, 3, L) centres of mass from the link's own anchor, the claws' from the last link's
    inertia: Array  # (9, 3, 3, L) about the centres of mass


def _geometry(arm: Arm, kin: Kinematics) -> _Geometry:
    mat = kin.xmat[LINK0 : LINK0 + 9]
    dtype = mat.dtype
    step = stacked.rotate(mat[:6], stacked.constant(arm.pos[1:7], dtype))
    claws = kin.xpos[LINK0 + 7 : LINK0 + 9] - kin.xpos[LINK0 + 6]
    com = stacked.rotate(mat, stacked.constant(arm.com, dtype)) + jnp.pad(claws, ((7, 0), (0, 0), (0, 0)))
    inertia = stacked.congruence(mat, stacked.constant(arm.inertia, dtype))
    return _Geometry(*barrier(step, com, inertia))


def _robot_mass(arm: Arm, kin: Kinematics) -> Array:
    """The robot's block (9, 9, L).

    Entry (i, j) of the links, i up to j, is the component along link i's axis of the moment about link i's anchor of
    the momentum that unit speed of joint j gives to everything from link j on.
    """
    dtype = kin.xpos.dtype
    body = _geometry(arm, kin)
    axis = kin.ang[:7]

    # Everything from body j on, claws included: mass, centre of mass from link j's anchor, inertia about the centre.
    mass = np.cumsum(arm.mass[::-1])[::-1]
    com_weights = np.triu(np.tile(arm.mass, (9, 1))) / mass[:, None]
    step_weights = np.triu(np.tile(mass[1:7], (9, 1))) / mass[:, None]
    centre = barrier(stacked.weighted_sums(com_weights, body.com) + stacked.weighted_sums(step_weights, body.step))
    gap = body.com[:8] - centre[1:] - jnp.pad(body.step, ((0, 2), (0, 0), (0, 0)))
    reduced = stacked.constant((arm.mass[:8] * mass[1:] / mass[:8])[:, None, None], dtype)
    own = barrier(body.inertia + jnp.pad(reduced * stacked.steiner(gap), ((0, 1), (0, 0), (0, 0), (0, 0))))
    inertia = barrier(stacked.weighted_sums(np.triu(np.ones((7, 9))), own))
    centre = centre[:7]

    momentum = stacked.constant(mass[:7, None], dtype) * stacked.cross(axis, centre)
    spin = stacked.rotate(inertia, axis)
    i, j, k = np.ogrid[:7, :7, :6]
    lever = stacked.weighted_sums(((i <= k) & (k < j)).astype(float), body.step)  # from anchor i to anchor j
    momentum, spin, lever = barrier(momentum, spin, lever)
    upper = stacked.dot(axis[:, None], spin + stacked.cross(lever + centre, momentum))
    links = jnp.where(np.triu(np.ones((7, 7), bool))[..., None], upper, jnp.swapaxes(upper, 0, 1))

    moment = stacked.cross(lever[:, 6:] + body.com[7:], kin.lin[FINGER_DOFS])
    coupling = stacked.constant(arm.mass[7:], dtype) * stacked.dot(axis[:, None], moment)
    claws = jnp.broadcast_to(stacked.constant(np.diag(arm.mass[7:]), dtype), (2, 2, coupling.shape[-1]))
    top = jnp.concatenate([links, coupling], axis=1)
    bottom = jnp.concatenate([jnp.swapaxes(coupling, 0, 1), claws], axis=1)
    return jnp.concatenate([top, bottom]) + stacked.constant(np.diag(arm.armature), dtype)


def _robot_bias(arm: Arm, scene: Scene, kin: Kinematics, qvel: Array) -> Array:
    """Bias force (9, L) of the robot: minus the forces that would leave the joints without acceleration."""
    dtype = kin.xpos.dtype
    body = _geometry(arm, kin)
    axis, slide = kin.ang[:7], kin.lin[FINGER_DOFS]

    # Outward: rotation of the links and acceleration of their anchors.
    turn = barrier(axis * qvel[:7, None])
    chain = np.tril(np.ones((7, 7)))
    omega = barrier(stacked.weighted_sums(chain, turn))
    alpha = barrier(stacked.weighted_sums(chain, stacked.cross(omega, turn)))
    gained = barrier(_centripetal(omega[:6], alpha[:6], body.step))
    anchor_acc = stacked.weighted_sums(np.tril(np.ones((7, 6)), -1), gained)

    # Claws turn with the last link; their slides add a Coriolis acceleration.
    link = np.array([0, 1, 2, 3, 4, 5, 6, 6, 6])
    omega, alpha = omega[link], alpha[link]
    sliding = jnp.pad(slide * qvel[7:, None], ((7, 0), (0, 0), (0, 0)))
    acc = anchor_acc[link] + _centripetal(omega, alpha, body.com) + 2 * stacked.cross(omega, sliding)
    omega, alpha, acc = barrier(omega, alpha, acc - _gravity(arm, scene, dtype))
    force = stacked.constant(arm.mass[:, None], dtype) * acc
    gyroscopic = stacked.cross(omega, stacked.rotate(body.inertia, omega))
    torque = stacked.rotate(body.inertia, alpha) + gyroscopic + stacked.cross(body.com, force)
    force, torque = barrier(force, torque)

    # Inward: force on everything from link j on, and its moment about link j's anchor.
    beyond = np.triu(np.ones((7, 9)))
    total = barrier(stacked.weighted_sums(beyond, force))
    lever = jnp.pad(stacked.cross(body.step, total[1:]), ((0, 3), (0, 0), (0, 0)))
    moment = stacked.weighted_sums(beyond, barrier(torque + lever))
    return jnp.concatenate([stacked.dot(axis, moment), stacked.dot(slide, force[7:])])


def _centripetal(omega: Array, alpha: Array, arm: Array) -> Array:
    """Acceleration, relative to the origin's, of points at `arm` from it on bodies in rotation; all (B, 3, L)."""
    return stacked.cross(alpha, arm) + stacked.cross(omega, stacked.cross(omega, arm))


def _free_mass(scene: Scene, kin: Kinematics) -> Array:
    """The free body's block (6, 6, L): world-frame translation, body-frame rotation about the body's origin."""
    mat, mass, com = kin.xmat[FREE], scene.free_mass, scene.free_com
    linear = mass * stacked.constant(np.eye(3), mat.dtype)
    coupling = -mass * spatial.matmul(mat, stacked.skew(com))
    angular = scene.free_inertia + mass * stacked.steiner(com)
    top = jnp.concatenate([linear, coupling], axis=1)
    bottom = jnp.concatenate([jnp.swapaxes(coupling, 0, 1), angular], axis=1)
    return jnp.concatenate([top, bottom]) + stacked.constant(np.eye(6), mat.dtype) * scene.free_armature


def _free_bias(scene: Scene, kin: Kinematics, qvel: Array, gravity: Array) -> Array:
    """Bias force (6, L) of the free body."""
    mat, com, omega = kin.xmat[FREE], scene.free_com, qvel[3:]
    force = scene.free_mass * (spatial.cross(omega, spatial.cross(omega, com)) - spatial.rotate_back(mat, gravity))
    # The isotropic part of the inertia has no gyroscopic torque; taking it away first keeps the 1e5 kg m² that some
    # scenes declare from drowning the rest in rounding.
    isotropic = stacked.constant(np.eye(3), mat.dtype) * scene.free_inertia[0, 0]
    gyroscopic = spatial.cross(omega, spatial.rotate(scene.free_inertia - isotropic, omega))
    torque = gyroscopic + spatial.cross(com, force)
    return jnp.concatenate([spatial.rotate(mat, force), torque])


def _part_mass(scene: Scene, kin: Kinematics) -> Array:
    """The part's block (3, 3, L)."""
    velocity, inertia = _part_motion(scene, kin)
    spin = spatial.rotate(inertia, kin.ang[PART_DOFS][2])
    translation = scene.part_mass * stacked.dot(velocity[:, None], velocity[None])
    rotation = stacked.constant(np.diag([0.0, 0.0, 1.0]), spin.dtype) * spatial.dot(kin.ang[PART_DOFS][2], spin)
    return translation + rotation + stacked.constant(np.eye(3), spin.dtype) * scene.part_armature


def _part_bias(scene: Scene, kin: Kinematics, qvel: Array, gravity: Array) -> Array:
    """Bias force (3, L) of the part; its slides do not turn, its hinge turns with speed qvel[2]."""
    velocity, _ = _part_motion(scene, kin)
    axis = kin.ang[PART_DOFS][2]
    force = scene.part_mass * (spatial.cross(axis, velocity[2]) * qvel[2] * qvel[2] - gravity)
    # The gyroscopic torque is normal to the hinge, which is the only axis of rotation.
    return stacked.dot(velocity, force)


def _part_motion(scene: Scene, kin: Kinematics) -> tuple[Array, Array]:
    """Velocity (3, 3, L) of the part's centre of mass per unit of each joint's speed; its inertia in world axes."""
    mat = kin.xmat[PART]
    arm = kin.xpos[PART] + spatial.rotate(mat, scene.part_com) - kin.anchor[PART_DOFS][2]
    velocity = kin.lin[PART_DOFS] + stacked.cross(kin.ang[PART_DOFS], arm)
    return velocity, stacked.congruence(mat, scene.part_inertia)
