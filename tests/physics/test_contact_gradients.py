"""Derivatives of contact points by the shapes' poses against central differences, in float64 and on random poses."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_collision import ANALYTIC, MARGIN, gripper_poses, random_poses

from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.convex import find_start
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.feature import touch
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape

# To be run alone: beside tests that traced the same routines in float32, JAX 0.10.2 takes the type of an index from a
# cache of theirs.
pytestmark = pytest.mark.full

Routine = Callable[[Shape, Shape], Points]


def with_margin(routine: Callable[..., Points]) -> Routine:
    return lambda shape1, shape2: routine(shape1, shape2, jnp.full(shape1.type.shape, MARGIN))


CLOSED_FORM = ANALYTIC | {
    ("box", "box"): with_margin(collide_boxes),
    ("cylinder", "box"): with_margin(collide_cylinder_boxes),
}


def errors(routine: Routine, shape1: Shape, shape2: Shape, step: float) -> np.ndarray:
    """Largest error of a touching pose's rates, relative with 1 added, against differences over twice a step."""
    rng = np.random.default_rng(0)
    velocity, omega = jnp.asarray(rng.normal(size=(2, *shape1.pos.shape)))

    @jax.jit
    def moved(t):
        """Contacts once shape 1 has moved and turned for a time t, seconds and metres."""
        turn = spatial.quat_to_mat(spatial.axis_angle_to_quat(spatial.normalize(omega), t * spatial.norm(omega)))
        points = routine(shape1.replace(pos=shape1.pos + t * velocity, mat=spatial.matmul(turn, shape1.mat)), shape2)
        shared = jnp.broadcast_to(points.normal, points.pos.shape)
        return jnp.concatenate([points.dist[None], points.pos, shared])  # (7, N, 1, poses)

    ahead, behind = moved(step), moved(-step)
    _, rate = jax.jit(lambda t: jax.jvp(moved, (t,), (1.0,)))(0.0)
    expected, rate = np.asarray((ahead - behind) / (2 * step)), np.asarray(rate)
    touching = (np.maximum(ahead[0], behind[0]) < 0.5 * NO_CONTACT)[:, 0]
    assert touching.sum() > 20
    assert np.isfinite(rate).all()
    return (np.abs(rate - expected) / (1.0 + np.abs(expected))).max(axis=0)[:, 0][touching]


def precise(shape: Shape) -> Shape:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x, shape)


@pytest.mark.parametrize("kinds", CLOSED_FORM, ids="-".join)
def test_derivatives_by_the_pose(kinds):
    poses = random_poses(*kinds)
    with jax.enable_x64(True):
        error = errors(CLOSED_FORM[kinds], precise(poses.shape1), precise(poses.shape2), 1e-6)
    # The few are poses between which another feature touches, or which touch in more than one point.
    assert np.quantile(error, 0.9) < 1e-4


@pytest.mark.parametrize(
    ("kinds", "most"),
    [
        (("capsule", "cylinder"), 0.9),
        # Where a descent ends leaves 1.01e-2 at nine tenths of two rims and 2.0e-2 of spheres in hulls.
        (("cylinder", "cylinder"), 0.85),
        (("sphere", "mesh"), 0.85),
        (("capsule", "mesh"), 0.9),
        # A round rim on the hull's 883 vertices, where the descent ends furthest from the minimum.
        (("cylinder", "mesh"), 0.5),
        (("box", "mesh"), 0.9),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, tuple) else "",
)
def test_derivatives_of_general_convex_pairs(kinds, most):
    shape1, shape2 = gripper_poses(kinds[0])[:2] if kinds[1] == "mesh" else random_poses(*kinds)[:2]
    with jax.enable_x64(True):
        shape1, shape2 = precise(shape1), precise(shape2)
        start = jax.jit(lambda a, b: find_start(a, b, metaworld_hulls(), 24))(shape1, shape2)
        direction = spatial.rotate(shape1.mat, start.normal)

        def routine(shape1: Shape, shape2: Shape) -> Points:
            # Where a descent ends depends on where it starts, most of all on hulls, whose table is right to 3.5e-5 m:
            # so both sides of a difference start alike, as the mesh sees it.
            same = start.replace(normal=spatial.rotate_back(shape1.mat, direction))
            return touch(shape1, shape2, metaworld_hulls(), jnp.full(shape1.type.shape, MARGIN), same, 100)[0]

        # The descent ends some 1e-6 rad from the minimum, where the overlap no longer falls by more than it is rounded:
        # over 1e-6 the differences are of that rest, and their error falls by as much as they grow. Between poses that
        # are further apart than 1e-4 more of a hull's edges switch.
        error = errors(routine, shape1, shape2, 1e-4)
    assert np.quantile(error, most) < 1e-2
