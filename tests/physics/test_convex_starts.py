"""Where the search for general convex contacts goes on when the bodies have moved, against MuJoCo C's distances."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from support.random_poses import MARGIN, TYPES, GripperPoses, as_shape, gripper_poses

from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.physics.collision.convex import collide_convex, find_start
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.physics.config import PhysicsConfig

CONFIG = PhysicsConfig()


def turned(shape: Shape, axis: np.ndarray, angle: float) -> Shape:
    """Each lane's shape turned in the world about the axis (3, lanes), by rad."""
    mat = np.array(shape.mat, np.float64)
    for lane, about in enumerate(axis.T):
        quat, turn = np.zeros(4), np.zeros(9)
        mujoco.mju_axisAngle2Quat(quat, about, angle)
        mujoco.mju_quat2Mat(turn, quat)
        mat[:, :, 0, lane] = turn.reshape(3, 3) @ mat[:, :, 0, lane]
    return shape.replace(mat=jnp.asarray(mat, jnp.float32))


@functools.partial(jax.jit, static_argnames="going_on")
def collide_in_turn(shapes: list[Shape], other: Shape, going_on: bool) -> Points:
    """The contact at the last of a shape's poses: each search goes on from the one before, or all from the first's."""
    margin = jnp.full(shapes[0].type.shape, MARGIN)
    start = find_start(shapes[0], other, metaworld_hulls(), CONFIG.convex_search_iterations)

    def go_on(start, shape):
        return collide_convex(shape, other, metaworld_hulls(), margin, start, CONFIG.convex_iterations)[1], None

    if going_on:
        start, _ = jax.lax.scan(go_on, start, jax.tree.map(lambda *x: jnp.stack(x), *shapes[:-1]))
    return collide_convex(shapes[-1], other, metaworld_hulls(), margin, start, CONFIG.convex_iterations)[0]


@pytest.mark.parametrize("kind", ["capsule", "cylinder", "box"])
def test_the_search_goes_on_from_where_it_ended(kind):
    """A shape turns in the gripper's hull by half a degree a substep: the last contact is nearly as from scratch."""
    poses: GripperPoses = gripper_poses(kind)
    axis = np.random.default_rng(0).normal(size=(3, len(poses.dist)))
    axis /= np.linalg.norm(axis, axis=0)
    shapes = [turned(poses.shape, axis, 0.01 * back) for back in range(CONFIG.substeps - 1, -1, -1)]

    def error(going_on: bool) -> np.ndarray:
        points = collide_in_turn(shapes, poses.gripper, going_on)
        return np.abs(np.asarray(points.dist)[0, 0] - poses.dist)

    ours, from_first = error(going_on=True), error(going_on=False)
    assert np.quantile(ours, 0.9) < 1e-4  # the bound of `test_gripper_hull_on_random_poses`
    assert np.quantile(ours, 0.9) < 0.5 * np.quantile(from_first, 0.9)


def test_a_face_turns_with_its_body():
    """The gripper's hull tilts on a table: the contact's direction stays the table's, exactly."""
    lanes, rng = 40, np.random.default_rng(0)
    table = as_shape("box", (0.7, 0.4, 0.03), np.zeros((lanes, 3)), np.tile(np.eye(3), (lanes, 1, 1)))
    hull = gripper_poses("box").gripper
    hull = jax.tree.map(lambda x: x[..., :lanes], hull)
    assert (np.asarray(hull.type) == TYPES["mesh"]).all()
    axis = rng.normal(size=(3, lanes))
    hull = turned(hull, axis / np.linalg.norm(axis, axis=0), 2.0)
    # Lowered until they touch: the overlap along z is the depth where the hull is far above the table's middle.
    margin = jnp.full((1, lanes), MARGIN)
    above = hull.replace(pos=hull.pos.at[2].set(0.2))
    level = CONFIG.convex_search_iterations
    hulls = metaworld_hulls()

    @jax.jit
    def depth_of(table: Shape, hull: Shape) -> Points:
        return collide_convex(table, hull, hulls, margin + 1.0, find_start(table, hull, hulls, level), level)[0]

    gap = depth_of(table, above)
    hull = above.replace(pos=above.pos.at[2].add(-gap.dist[0] - 0.002))

    axis = np.concatenate([rng.normal(size=(2, lanes)), np.zeros((1, lanes))])
    tilted = turned(hull, axis / np.linalg.norm(axis, axis=0), 0.005)

    @jax.jit
    def after_tilt(table: Shape, hull: Shape, tilted: Shape) -> Points:
        start = find_start(table, hull, hulls, level)
        return collide_convex(table, tilted, hulls, margin, start, CONFIG.convex_iterations)[0]

    points = after_tilt(table, hull, tilted)
    np.testing.assert_allclose(np.asarray(points.normal)[:, 0, 0].T, np.tile([0.0, 0.0, 1.0], (lanes, 1)), atol=1e-6)
    assert np.asarray(points.dist).max() < -0.001  # a hull of 0.1 m turned by 0.005 rad is as deep to half a millimetre
