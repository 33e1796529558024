"""Derivatives of contact points by the shapes' poses against central differences, in float64 and on random poses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_collision import ANALYTIC, MARGIN, random_poses

from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.points import NO_CONTACT

# To be run alone: beside tests that traced the same routines in float32, JAX 0.10.2 takes the type of an index from a
# cache of theirs.
pytestmark = pytest.mark.full

STEP = 1e-6


def with_margin(routine):
    return lambda shape1, shape2: routine(shape1, shape2, jnp.full(shape1.type.shape, MARGIN))


ROUTINES = ANALYTIC | {
    ("box", "box"): with_margin(collide_boxes),
    ("cylinder", "box"): with_margin(collide_cylinder_boxes),
}


@pytest.mark.parametrize("kinds", ROUTINES, ids="-".join)
def test_derivatives_by_the_pose(kinds):
    poses = random_poses(*kinds)
    with jax.enable_x64(True):
        shape1, shape2 = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x, (poses.shape1, poses.shape2)
        )
        rng = np.random.default_rng(0)
        velocity, omega = jnp.asarray(rng.normal(size=(2, *shape1.pos.shape)))

        @jax.jit
        def moved(t):
            """Contacts once shape 1 has moved and turned for a time t, seconds and metres."""
            turn = spatial.quat_to_mat(spatial.axis_angle_to_quat(spatial.normalize(omega), t * spatial.norm(omega)))
            shape = shape1.replace(pos=shape1.pos + t * velocity, mat=spatial.matmul(turn, shape1.mat))
            points = ROUTINES[kinds](shape, shape2)
            shared = jnp.broadcast_to(points.normal, points.pos.shape)
            return jnp.concatenate([points.dist[None], points.pos, shared])  # (7, N, 1, poses)

        ahead, behind = moved(STEP), moved(-STEP)
        _, rate = jax.jit(lambda t: jax.jvp(moved, (t,), (1.0,)))(0.0)
    expected, rate = np.asarray((ahead - behind) / (2 * STEP)), np.asarray(rate)
    touching = (np.maximum(ahead[0], behind[0]) < 0.5 * NO_CONTACT)[:, 0]
    assert touching.sum() > 20
    assert np.isfinite(rate).all()
    error = (np.abs(rate - expected) / (1.0 + np.abs(expected))).max(axis=0)[:, 0][touching]
    # The few are poses between which another feature touches, or which touch in more than one point.
    assert np.quantile(error, 0.9) < 1e-4
