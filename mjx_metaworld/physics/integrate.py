"""Time integration: semi-implicit Euler with joint damping taken implicitly (MuJoCo's `mj_Euler`)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.barrier import barrier
from mjx_metaworld.physics.inertia import MassMatrix, damping, solve_mass
from mjx_metaworld.physics.model import FREE_DOFS, FREE_QPOS, PART_DOFS, PART_QPOS, ROBOT_DOFS, Arm, Scene

Array = jax.Array

_MIN_ANGLE = 1e-15  # below it the axis of a turn is meaningless


def integrate(arm: Arm, scene: Scene, mass: MassMatrix, qpos: Array, qvel: Array, qfrc: Array) -> tuple[Array, Array]:
    """Advance positions and velocities by one time step.

    Damping B is implicit: (M + h B) qacc = qfrc replaces the acceleration that the solver found. The new velocity then
    advances the position.

    Args:
        arm: constants of the robot.
        scene: the lanes' scenes.
        mass: blocks of the joint-space inertia.
        qpos: (19, L).
        qvel: (18, L).
        qfrc: (18, L) smooth and constraint forces, damping included.

    Returns:
        The new qpos and qvel.
    """
    implicit = arm.timestep * damping(arm, scene)

    def damped(block: Array, dofs: slice) -> Array:
        return block + np.eye(len(block), dtype=block.dtype)[:, :, None] * implicit[dofs]

    blocks = MassMatrix(damped(mass.robot, ROBOT_DOFS), damped(mass.free, FREE_DOFS), damped(mass.part, PART_DOFS))
    qvel = barrier(qvel + arm.timestep * solve_mass(blocks, qfrc))

    def advance(coordinates: slice, dofs: slice) -> Array:
        return qpos[coordinates] + arm.timestep * qvel[dofs]

    position = advance(slice(FREE_QPOS.start, FREE_QPOS.start + 3), slice(FREE_DOFS.start, FREE_DOFS.start + 3))
    quaternion = _turn(qpos[FREE_QPOS.start + 3 : FREE_QPOS.stop], qvel[FREE_DOFS.start + 3 : FREE_DOFS.stop], arm)
    qpos = jnp.concatenate(
        [advance(ROBOT_DOFS, ROBOT_DOFS), position, quaternion, advance(PART_QPOS, PART_DOFS)],
    )
    return barrier(qpos), qvel


def _turn(quaternion: Array, omega: Array, arm: Arm) -> Array:
    """Turn by the body-frame angular velocity for one time step; the result has unit length."""
    return spatial.normalize(barrier(spatial.quat_mul(quaternion, _rotation(arm.timestep, omega))))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rotation(timestep: float, omega: Array) -> Array:
    """The quaternion by which an angular velocity turns in a time step."""
    speed = spatial.norm(omega)
    axis = omega / jnp.maximum(speed, _MIN_ANGLE)
    return spatial.axis_angle_to_quat(axis, timestep * speed)


@_rotation.defjvp
def _(timestep: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Of a form without an axis, which a body at rest does not have.
    def smooth(omega: Array) -> Array:
        square = (0.5 * timestep) ** 2 * spatial.dot(omega, omega)  # of half the angle
        small = square < 1e-8
        half = jnp.sqrt(jnp.where(small, 1.0, square))
        share = 0.5 * timestep * jnp.where(small, 1.0 - square / 6.0, jnp.sin(half) / half)
        cos = jnp.where(small, 1.0 - 0.5 * square, jnp.cos(half))
        return jnp.concatenate([cos[None], share * omega])

    return _rotation(timestep, *primals), jax.jvp(smooth, primals, tangents)[1]
