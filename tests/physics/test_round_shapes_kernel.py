"""Spheres, capsules and planes in C++ against the routines in Python: random shapes, aligned ones, those of scenes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.cpu_collision import collide, columns, library, pointer
from support.random_poses import TYPES

from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.physics import spatial
from mjx_metaworld.physics.collision.capsule import collide_capsules
from mjx_metaworld.physics.collision.hull_support import Hulls, furthest_vertex
from mjx_metaworld.physics.collision.plane import collide_planes
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.physics.collision.sphere import collide_spheres
from mjx_metaworld.processes.native import compiler
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, find_scene, load_scene
from mjx_metaworld.scenes.colliders import find_pairs
from mjx_metaworld.scenes.hulls import NAMES

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no compiler of C++")

COUNT = 4091  # pairs; no multiple of a vector's lanes
LARGEST = 0.06  # m, of sizes


class Routine(NamedTuple):
    """A routine of the narrow phase in Python, and what it is for."""

    python: Callable[[Shape, Shape], Points]
    first: str
    others: tuple[str, ...]
    points: int
    normals: int


def over_plane(plane: Shape, other: Shape) -> Points:
    return collide_planes(plane, other, metaworld_hulls())


ROUTINES = {
    "spheres": Routine(collide_spheres, "sphere", ("sphere", "capsule", "cylinder", "box"), 1, 1),
    "capsules": Routine(collide_capsules, "capsule", ("capsule", "box"), 2, 2),
    "planes": Routine(over_plane, "plane", ("sphere", "capsule", "cylinder", "box", "mesh"), 4, 1),
}
each_routine = pytest.mark.parametrize("name", ROUTINES)


def as_shape(kind: np.ndarray, pos: np.ndarray, mat: np.ndarray, size: np.ndarray, hull: np.ndarray | int = 0) -> Shape:
    """Shapes of one slot from numbers with the pairs (n, ...) in front."""
    types, hulls = (jnp.asarray(np.broadcast_to(x, kind.shape)[None], jnp.int32) for x in (kind, hull))
    placed = (jnp.asarray(np.moveaxis(x, 0, -1)[..., None, :], jnp.float32) for x in (pos, mat, size))
    return Shape(jnp.zeros_like(types), types, *placed, hull=hulls)


def pairs_of(
    name: str, rng: np.random.Generator, offset: np.ndarray, turn: np.ndarray, size: np.ndarray
) -> tuple[Shape, Shape]:
    """A routine's shapes of sizes (2, n, 3) at poses (n, 3), (n, 3, 3) of the first in the frame of the second."""
    routine, pos = ROUTINES[name], rng.uniform(-0.5, 0.5, (COUNT, 3))
    mat = Rotation.random(COUNT, rng).as_matrix()
    kind = rng.choice([TYPES[kind] for kind in routine.others], COUNT)
    moved = pos + (mat @ offset[..., None])[..., 0]
    first = as_shape(np.full(COUNT, TYPES[routine.first]), moved, mat @ turn, size[0])
    return first, as_shape(kind, pos, mat, size[1], rng.integers(0, len(NAMES), COUNT))


@functools.cache
def random_pairs(name: str) -> tuple[Shape, Shape]:
    """Shapes in random poses, from deep in each other to centimetres apart."""
    rng = np.random.default_rng(0)
    offset = rng.uniform(-2 * LARGEST, 2 * LARGEST, (COUNT, 3))
    turn = Rotation.random(COUNT, rng).as_matrix()
    return pairs_of(name, rng, offset, turn, rng.uniform(0.005, LARGEST, (2, COUNT, 3)))


@functools.cache
def aligned_pairs(name: str) -> tuple[Shape, Shape]:
    """Shapes whose axes are parallel and that just touch along one of them; half of them are tilted a little."""
    rng, pair = np.random.default_rng(1), np.arange(COUNT)
    size = rng.uniform(0.005, LARGEST, (2, COUNT, 3))
    radius = 0.0 if name == "planes" else size[0, :, 0]
    axis = rng.integers(0, 3, COUNT)
    offset = rng.uniform(-LARGEST, LARGEST, (COUNT, 3))
    offset[pair, axis] = rng.choice([-1.0, 1.0], COUNT) * (radius + size[1, pair, axis])
    angle = np.where(pair % 2, 10.0 ** rng.uniform(-5, -1, COUNT), 0.0)
    tilt = Rotation.from_rotvec(angle[:, None] * rng.normal(size=(COUNT, 3)))
    quarters = Rotation.create_group("O")[rng.integers(0, 24, COUNT)]
    return pairs_of(name, rng, offset, (quarters * tilt).as_matrix(), size)


def scene_pairs(name: str, scene: SceneSpec) -> tuple[Shape, Shape]:
    """A routine's pairs of a scene whose objects fall on the table and come to rest there."""
    routine, sides = ROUTINES[name], []
    kinds = {(TYPES[routine.first], TYPES[kind]) for kind in routine.others}
    model = load_scene(scene)
    data, pairs = mujoco.MjData(model), find_pairs(model, map_bodies(model, scene.prop))
    geoms = np.array([sorted(pair, key=lambda geom: model.geom_type[geom]) for pair in pairs])
    geoms = geoms[[tuple(types) in kinds for types in model.geom_type[geoms].tolist()]]
    for _ in range(10):
        mujoco.mj_step(model, data, nstep=10)
        for side in geoms.T:
            mat = data.geom_xmat[side].reshape(-1, 3, 3)
            sides.append((model.geom_type[side], data.geom_xpos[side], mat, model.geom_size[side]))

    def shape_of(side: list[tuple[np.ndarray, ...]]) -> Shape:
        # As many as the other tests have, so that nothing is compiled once more.
        return as_shape(*(np.concatenate(x)[np.arange(COUNT) % sum(map(len, x))] for x in zip(*side, strict=True)))

    return shape_of(sides[::2]), shape_of(sides[1::2])


class Found(NamedTuple):
    """Points of pairs, numpy and without the axis of slots."""

    dist: np.ndarray  # (N, n)
    pos: np.ndarray  # (3, N, n)
    normal: np.ndarray  # (3, G, n)


def in_cpp(name: str, first: Shape, second: Shape) -> Found:
    points = collide(name, first, second, np.float32(0.0), ROUTINES[name].points, ROUTINES[name].normals)
    return Found(*(np.asarray(x)[..., 0, :] for x in points))


@functools.partial(jax.jit, static_argnums=0)
def _in_python(name: str, first: Shape, second: Shape) -> tuple[Points, jax.Array, jax.Array]:
    down = -spatial.rotate_back(second.mat, first.mat[:, 2])
    vertex = furthest_vertex(Hulls.of(metaworld_hulls(), second.type, second.hull), down) if name == "planes" else down
    return ROUTINES[name].python(first, second), down, vertex


def compared(name: str, shapes: tuple[Shape, Shape]) -> tuple[Found, Found]:
    """Points in C++, where a plane's routine gets the meshes' vertices in the place of their sizes, and in Python."""
    first, second = shapes
    points, down, vertex = _in_python(name, first, second)
    if name == "planes":
        found = np.zeros((3, second.type.size), np.float32)
        given = columns(first), columns(second)
        library().downward(second.type.size, *map(pointer, given), pointer(found))
        np.testing.assert_allclose(found, np.asarray(down)[:, 0], atol=3e-7)
        second = second.replace(size=jnp.where(second.type == TYPES["mesh"], vertex, second.size))
    return in_cpp(name, first, second), Found(*(np.asarray(x)[..., 0, :] for x in points))


def agreement(ours: Found, theirs: Found) -> np.ndarray:
    """(n,) pairs of which all points are the same to rounding."""
    exists = theirs.dist < NO_CONTACT
    same = (ours.dist < NO_CONTACT) == exists
    close = np.maximum(np.abs(ours.dist - theirs.dist), np.abs(ours.pos - theirs.pos).max(0)) < 1e-6
    # The direction between cores that nearly meet divides rounding by their distance.
    parallel = np.abs(ours.normal - theirs.normal).max(0) < 1e-5
    return (same & ((close & parallel) | ~exists)).all(0)


def depth_errors(ours: Found, theirs: Found) -> np.ndarray:
    """(n,) differences in m of the deepest points."""
    return np.abs(ours.dist.min(0) - theirs.dist.min(0))


@each_routine
def test_random_pairs(name):
    ours, theirs = compared(name, random_pairs(name))
    assert 0.1 < (theirs.dist.min(0) < 0).mean() < 0.9
    assert depth_errors(ours, theirs).max() < 1e-6
    assert agreement(ours, theirs).mean() > 0.998


@each_routine
def test_aligned_pairs(name):
    """Ties that rounding decides: which of a segment's points on a face, an edge or another segment is the nearest, and
    which way from there the second point lies; which points of a cylinder's rim are the lowest."""
    ours, theirs = compared(name, aligned_pairs(name))
    error = depth_errors(ours, theirs)
    # The nearest points of nearly parallel lines divide rounding by the square of the angle.
    assert (error < 1e-6).mean() > 0.998
    assert error.max() < 2e-5
    assert agreement(ours, theirs).mean() > {"spheres": 0.998, "capsules": 0.9, "planes": 0.97}[name]


@pytest.mark.parametrize(("name", "scene"), [("spheres", "sawyer_basketball"), ("capsules", "sawyer_assembly_peg")])
def test_pairs_of_scenes(name, scene):
    """A ball and a ring of capsules on the table."""
    ours, theirs = compared(name, scene_pairs(name, find_scene(scene)))
    assert (theirs.dist.min(0) < 0.001).mean() > 0.04
    assert depth_errors(ours, theirs).max() < 1e-6
    assert agreement(ours, theirs).mean() > 0.99


@each_routine
def test_pairs_do_not_depend_on_each_other(name):
    """Sorted by kind, or beside poses that are not numbers, pairs have the bits that they have among any others."""
    first, second = random_pairs(name)
    known = in_cpp(name, first, second)
    order = np.argsort(np.asarray(second.type)[0], kind="stable")
    moved = in_cpp(name, *jax.tree.map(lambda x: x[..., order], (first, second)))
    for ours, theirs in zip(moved, known, strict=True):
        np.testing.assert_array_equal(ours, theirs[..., order])
    broken = np.arange(COUNT) % 5 == 0
    spoilt = in_cpp(name, first.replace(pos=jnp.where(broken, np.nan, first.pos)), second)
    for ours, theirs in zip(spoilt, known, strict=True):
        np.testing.assert_array_equal(ours[..., ~broken], theirs[..., ~broken])
    assert not (spoilt.dist[:, broken] < NO_CONTACT).any()
