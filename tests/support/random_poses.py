"""Two geoms in random relative poses, as one slot with a lane a pose, and what MuJoCo C finds of them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.parity import collisions as states
from mjx_metaworld.physics.collision.capsule import collide_capsules
from mjx_metaworld.physics.collision.plane import collide_planes
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.physics.collision.sphere import collide_spheres
from mjx_metaworld.scenes.catalog import find_scene, load_scene

TYPES = {name: kind for kind, name in states.TYPE_NAMES.items()}
SIZES = {
    "plane": (1.0, 1.0, 0.1),
    "sphere": (0.03,),
    "capsule": (0.02, 0.05),
    "cylinder": (0.03, 0.02),
    "box": (0.045, 0.02, 0.03),
}
OTHER_SIZES = SIZES | {"box": (0.06, 0.05, 0.01), "cylinder": (0.02, 0.05), "capsule": (0.015, 0.04)}
MARGIN = 0.001


class Poses(NamedTuple):
    """Random relative poses of two geoms, and what MuJoCo C finds."""

    shape1: Shape
    shape2: Shape
    contacts: list[list[states.Contact]]


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    quat = rng.normal(size=4)
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, quat / np.linalg.norm(quat))
    return mat.reshape(3, 3)


def as_shape(kind: str, size: tuple[float, ...], pos: np.ndarray, mat: np.ndarray, hull: int = 0) -> Shape:
    """World-frame shape of one slot with a lane per pose."""
    lanes = len(pos)
    padded = np.zeros((3, 1, lanes))
    padded[: len(size)] = np.array(size)[:, None, None]
    return Shape(
        body=jnp.zeros((1, lanes), jnp.int32),
        type=jnp.full((1, lanes), TYPES[kind], jnp.int32),
        pos=jnp.asarray(np.moveaxis(pos, 0, -1)[:, None], jnp.float32),
        mat=jnp.asarray(np.moveaxis(mat, 0, -1)[:, :, None], jnp.float32),
        size=jnp.asarray(padded, jnp.float32),
        hull=jnp.full((1, lanes), hull, jnp.int32),
    )


def two_geom_model(kind1: str, kind2: str) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    for kind, sizes, moves in ((kind1, SIZES, kind1 != "plane"), (kind2, OTHER_SIZES, True)):
        body = spec.worldbody.add_body() if moves else spec.worldbody
        if moves:
            body.add_freejoint()
        size = np.zeros(3)
        size[: len(sizes[kind])] = sizes[kind]
        body.add_geom(type=mujoco.mjtGeom(TYPES[kind]), size=size, margin=MARGIN)
    return spec.compile()


@functools.cache
def random_poses(kind1: str, kind2: str, count: int = 200) -> Poses:
    """Two geoms between 0.5 mm apart and 5 mm deep in random orientations."""
    rng = np.random.default_rng(7)
    model = two_geom_model(kind1, kind2)
    data = mujoco.MjData(model)
    pos, mat, contacts = [[], []], [[], []], []
    over_plane = kind1 == "plane"

    def gap() -> float:
        mujoco.mj_kinematics(model, data)
        return _lowest(model, data) if over_plane else mujoco.mj_geomDistance(model, data, 0, 1, 1.0, None)

    while len(contacts) < count:
        data.qpos.reshape(-1, 7)[:, 3:] = rng.normal(size=(model.nq // 7, 4))
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        data.qpos[-7:-4] = 0.3 * direction
        approach = np.array([0.0, 0.0, 1.0]) if over_plane else direction
        # Approach along the line of centres; a step of the distance never passes through.
        for _ in range(40):
            left = gap()
            if abs(left) < 1e-4:
                break
            data.qpos[-7:-4] -= left * approach
        data.qpos[-7:-4] += rng.uniform(-0.005, 0.0005) * approach
        mujoco.mj_forward(model, data)
        for side in (0, 1):
            pos[side].append(data.geom_xpos[side].copy())
            mat[side].append(data.geom_xmat[side].reshape(3, 3).copy())
        contacts.append([c for pair in states.contacts_of(data).values() for c in pair])
    shapes = [
        as_shape(kind, sizes[kind], np.array(pos[i]), np.array(mat[i]))
        for i, (kind, sizes) in enumerate(((kind1, SIZES), (kind2, OTHER_SIZES)))
    ]
    return Poses(shapes[0], shapes[1], contacts)


def _lowest(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """Height of the second geom above the plane z = 0, from its support downwards."""
    mat, size = data.geom_xmat[1].reshape(3, 3), model.geom_size[1]
    down = -mat[2]
    across = np.hypot(down[0], down[1])
    kind = states.TYPE_NAMES[int(model.geom_type[1])]
    reach = {
        "sphere": size[0],
        "capsule": size[0] + size[1] * abs(down[2]),
        "cylinder": size[0] * across + size[1] * abs(down[2]),
        "box": np.abs(down) @ size,
    }[kind]
    return float(data.geom_xpos[1, 2] - reach)


class GripperPoses(NamedTuple):
    """A shape between 0.2 and 8 mm deep in the 883-vertex hull of the gripper, and MuJoCo's geom distances."""

    shape: Shape
    gripper: Shape
    dist: np.ndarray


@functools.cache
def gripper_poses(kind: str, count: int = 150) -> GripperPoses:
    """A shape of a kind, in random orientations and from random directions, pushed into the gripper's hull."""
    model = load_scene(find_scene("sawyer_box"))
    data = mujoco.MjData(model)
    mesh = int(np.flatnonzero((model.geom_type == 7) & (model.geom_contype == 1))[0])
    other = 7  # a box of the table; its type and size are replaced
    model.geom_type[other] = TYPES[kind]
    model.geom_size[other] = np.resize(np.array([*SIZES[kind], 0.0, 0.0]), 3)
    model.geom_rbound[other] = 0.1
    rng = np.random.default_rng(3)
    pos, mat, dist = [], [], []
    for _ in range(count):
        data.geom_xpos[mesh], data.geom_xmat[mesh] = 0.0, np.eye(3).ravel()
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        data.geom_xmat[other] = random_rotation(rng).ravel()
        data.geom_xpos[other] = 0.25 * direction
        for _ in range(40):
            gap = mujoco.mj_geomDistance(model, data, other, mesh, 1.0, None)
            if gap < 1e-5:
                break
            data.geom_xpos[other] -= gap * direction
        data.geom_xpos[other] -= rng.uniform(0.0002, 0.008) * direction
        dist.append(mujoco.mj_geomDistance(model, data, other, mesh, 1.0, None))
        pos.append(data.geom_xpos[other].copy())
        mat.append(data.geom_xmat[other].reshape(3, 3).copy())
    shape = as_shape(kind, SIZES[kind], np.array(pos), np.array(mat))
    gripper = as_shape("mesh", (0.03, 0.04, 0.05), np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1)))
    return GripperPoses(shape, gripper, np.array(dist))


def over_plane(plane: Shape, other: Shape) -> Points:
    return collide_planes(plane, other, metaworld_hulls())


ANALYTIC = {
    ("sphere", "sphere"): collide_spheres,
    ("sphere", "capsule"): collide_spheres,
    ("sphere", "cylinder"): collide_spheres,
    ("sphere", "box"): collide_spheres,
    ("capsule", "capsule"): collide_capsules,
    ("capsule", "box"): collide_capsules,
    ("plane", "sphere"): over_plane,
    ("plane", "capsule"): over_plane,
    ("plane", "cylinder"): over_plane,
    ("plane", "box"): over_plane,
}
