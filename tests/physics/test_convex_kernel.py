"""General convex pairs by the CPU's C++ against those by Python, on random shapes and metaworld's meshes at contact."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import cpu_convex
from support.random_poses import TYPES

from mjx_metaworld.build.hulls import _faces_to_try, build_hulls, metaworld_hulls
from mjx_metaworld.parity import collisions as states
from mjx_metaworld.physics.collision import Geometry, broadphase
from mjx_metaworld.physics.collision.convex import collide_convex, find_start
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape, WarmStart, place, poses_for
from mjx_metaworld.physics.config import EngineConfig, PhysicsConfig
from mjx_metaworld.processes.native import compiler
from mjx_metaworld.scenes.hulls import load_hulls

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no compiler of C++")

SEARCH, STEPS = PhysicsConfig().convex_search_iterations, PhysicsConfig().convex_iterations
COUNT, MARGIN, ANY = 2001, 0.001, 10.0  # pairs, which fill the last vector in part; ANY: a margin that all are within
SUNK = 0.0025  # m


class Contacts(NamedTuple):
    """Of pairs, by either language."""

    start: WarmStart
    points: Points
    following: WarmStart


@functools.partial(jax.jit, static_argnames="table")
def search(shape1: Shape, shape2: Shape, table: HullTable) -> WarmStart:
    return find_start(shape1, shape2, table, SEARCH)


@functools.partial(jax.jit, static_argnames="table")
def collide(shape1: Shape, shape2: Shape, table: HullTable, margin: float, start: WarmStart):
    return collide_convex(shape1, shape2, table, jnp.full(shape1.type.shape, margin), start, STEPS)


def by_python(pair: tuple[Shape, Shape], table: HullTable, margin: float) -> Contacts:
    start = search(*pair, table)
    return jax.tree.map(np.asarray, Contacts(start, *collide(*pair, table, margin, start)))


def by_kernel(pair: tuple[Shape, Shape], table: HullTable, margin: float, start: WarmStart | None = None) -> Contacts:
    hulls = cpu_convex.hulls_of(table)
    if start is None:
        start = cpu_convex.find_start(*pair, hulls, SEARCH)
    return Contacts(start, *cpu_convex.collide_convex(*pair, hulls, margin, start, STEPS))


def random_shapes(rng: np.random.Generator, kinds: dict[str, float]) -> Shape:
    """Shapes of kinds in these shares within 0.15 m of the origin; a quarter of them stands along the axes."""
    vertices = load_hulls()
    kind = rng.choice([TYPES[name] for name in kinds], COUNT, p=list(kinds.values()))
    hull = np.where(kind == TYPES["mesh"], rng.integers(len(vertices), size=COUNT), 0)
    boxes = np.array([np.abs(v).max(0) for v in vertices])
    size = np.where(kind == TYPES["mesh"], boxes[hull].T, 10 ** rng.uniform(-2, -1, (3, COUNT)))
    free = Rotation.from_quat(rng.normal(size=(COUNT, 4))).as_matrix()
    along_axes = Rotation.create_group("O").as_matrix()[rng.integers(24, size=COUNT)]
    mat = np.where(rng.random((COUNT, 1, 1)) < 0.25, along_axes, free)
    return Shape(
        body=jnp.zeros((1, COUNT), jnp.int32),
        type=jnp.asarray(kind[None], jnp.int32),
        pos=jnp.asarray(rng.uniform(-0.15, 0.15, (3, 1, COUNT)), jnp.float32),
        mat=jnp.asarray(np.moveaxis(mat, 0, -1)[:, :, None], jnp.float32),
        size=jnp.asarray(size[:, None], jnp.float32),
        hull=jnp.asarray(hull[None], jnp.int32),
    )


@functools.cache
def random_pairs() -> tuple[Shape, Shape]:
    """From 5 mm apart to 10 mm deep."""
    rng = np.random.default_rng(0)
    shape1 = random_shapes(rng, {"sphere": 0.1, "capsule": 0.2, "cylinder": 0.2, "box": 0.25, "mesh": 0.25})
    shape2 = random_shapes(rng, {"cylinder": 0.25, "mesh": 0.75})
    points = by_python((shape1, shape2), metaworld_hulls(), ANY).points
    depth = rng.uniform(-0.005, 0.01, COUNT).astype(np.float32)
    return shape1.replace(pos=shape1.pos + points.normal[:, 0] * (points.dist[0] + depth)), shape2


@functools.cache
def expected() -> Contacts:
    return by_python(random_pairs(), metaworld_hulls(), MARGIN)


def check_contacts(ours: Contacts, theirs: Contacts) -> None:
    """The same from the same start, but where vertices tie: rounding chooses among them, and then steps part.

    Such steps end at other points of an edge or a face, or, as there are few of them, some micrometres from where
    others do. Compared with float64, the routines in float32 are off as much and as often in either language.
    """
    exists = theirs.points.dist[0] < NO_CONTACT
    # At the margin itself either is right.
    sure = np.abs(theirs.points.dist[0] - MARGIN) > 1e-5
    assert exists.mean() > 0.3
    np.testing.assert_array_equal((ours.points.dist[0] < NO_CONTACT)[sure], exists[sure])
    both = exists & (ours.points.dist[0] < NO_CONTACT)

    def error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs(a - b).reshape(-1, *both.shape).max(0)[both]

    dist, pos, normal = map(error, ours.points, theirs.points)
    assert np.quantile(dist, 0.5) < 1e-8
    assert np.quantile(dist, 0.97) < 1e-6
    assert dist.max() < 1e-3
    assert np.quantile(pos, 0.9) < 1e-6
    assert np.quantile(normal, 0.9) < 1e-5
    for name in ("normal", "first", "second", "weights"):
        after = [getattr(x.following, name) for x in (ours, theirs)]
        assert np.quantile(error(*after), 0.5) < 1e-6, name


def check_depths(depth: np.ndarray, other: np.ndarray) -> None:
    """The same but where rounding leads a search to another local minimum, as often to a better as to a worse one."""
    assert np.quantile(np.abs(depth - other), 0.5) < 3e-8
    assert np.quantile(np.abs(depth - other), 0.98) < 3e-6
    assert abs((depth - other > 1e-5).mean() - (other - depth > 1e-5).mean()) < 0.005


def test_contacts_from_the_same_start_are_pythons():
    start = expected().start
    check_contacts(by_kernel(random_pairs(), metaworld_hulls(), MARGIN, start), expected())


def test_searches_lead_to_the_same_depth():
    start = expected().start
    ours, theirs = (by_kernel(random_pairs(), metaworld_hulls(), ANY, s).points for s in (None, start))
    check_depths(-ours.dist, -theirs.dist)


def test_pairs_do_not_depend_on_their_neighbours():
    """Steps are left out where no lane needs them: a pair's contact is bit for bit the same among others."""
    pairs = random_pairs()
    order = np.random.default_rng(1).permutation(COUNT)
    mixed = jax.tree.map(lambda x: x[..., order], pairs)
    ours, among_others = (by_kernel(p, metaworld_hulls(), MARGIN) for p in (pairs, mixed))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[..., order], y), ours, among_others)


def test_a_pair_without_numbers_spoils_no_neighbour():
    shape1, shape2 = random_pairs()
    spoilt = shape1.replace(pos=shape1.pos.at[:, 0, 5].set(jnp.nan), mat=shape1.mat.at[:, :, 0, 9].set(jnp.nan))
    ours, others = (by_kernel((x, shape2), metaworld_hulls(), MARGIN) for x in (shape1, spoilt))
    kept = np.delete(np.arange(COUNT), [5, 9])
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[..., kept], y[..., kept]), ours, others)


@functools.cache
def with_faces() -> HullTable:
    """Metaworld's hulls, with faces that are tried."""
    found = [_faces_to_try(vertices) for vertices in load_hulls()]
    faces = np.zeros((len(found) + 1, max(map(len, found)), 3))
    for row, normals in zip(faces, found, strict=False):
        row[: len(normals)] = normals
    return dataclasses.replace(metaworld_hulls(), faces=faces)


def test_searches_are_no_deeper_than_along_any_face():
    """The overlap along every face's normal, by the vertices of all hulls, bounds the depth from above."""
    pairs, hulls, table = random_pairs(), load_hulls(), with_faces()
    faces = table.faces
    assert faces is not None
    is_mesh = [np.asarray(shape.type) == TYPES["mesh"] for shape in pairs]
    both = np.flatnonzero(is_mesh[0] & is_mesh[1])
    depth, plain = (-np.asarray(by_kernel(pairs, t, ANY).points.dist)[0, 0, both] for t in (table, metaworld_hulls()))

    def in_world(shape: Shape, lane: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and normals of a lane's hull."""
        row, mat = int(shape.hull[0, lane]), np.asarray(shape.mat)[:, :, 0, lane]
        normals = faces[row]
        return hulls[row] @ mat.T + np.asarray(shape.pos)[:, 0, lane], normals[normals.any(1)] @ mat.T

    least = []
    for lane in both:
        (vertices1, normals1), (vertices2, normals2) = (in_world(shape, lane) for shape in pairs)
        directions = np.concatenate([normals1, -normals2])
        least.append(((directions @ vertices1.T).max(1) - (directions @ vertices2.T).min(1)).min())
    least = np.array(least)
    assert len(both) > 200
    assert (depth - least).max() < 1e-4 < (plain - least).max()


@pytest.mark.full
def test_searches_with_faces_lead_to_the_same_depth():
    start = search(*random_pairs(), with_faces())
    ours, theirs = (by_kernel(random_pairs(), with_faces(), ANY, s).points for s in (None, start))
    check_depths(-ours.dist, -theirs.dist)


@functools.cache
def stones_on_a_table() -> tuple[tuple[Shape, Shape], HullTable]:
    """Hulls of few vertices, turned at random, whose lowest vertex is `SUNK` below the top of a wide box."""
    rng = np.random.default_rng(0)
    stones = [rng.normal(size=(count, 3)) for count in (5, 5, 6, 7, 9, 12)]
    stones = [0.03 * stone / np.linalg.norm(stone, axis=1, keepdims=True) for stone in stones]
    faces = np.zeros((len(stones) + 1, 20, 3))
    for row, normals in zip(faces, map(_faces_to_try, stones), strict=False):
        row[: len(normals)] = normals
    hull, half = rng.integers(len(stones), size=COUNT), np.array([0.7, 0.4, 0.03])
    mat = Rotation.from_quat(rng.normal(size=(COUNT, 4))).as_matrix()
    lowest = [(stones[i] @ turn[2]).min() for i, turn in zip(hull, mat, strict=True)]
    pos = np.stack([*rng.uniform(-0.3, 0.3, (2, COUNT)), half[2] - SUNK - np.array(lowest)])

    def shapes(kind: str, pos: np.ndarray, mat: np.ndarray, size: np.ndarray, hull: np.ndarray) -> Shape:
        whole, numbers = functools.partial(jnp.asarray, dtype=jnp.int32), functools.partial(jnp.asarray, dtype=float)
        body, kinds = np.zeros((1, COUNT)), np.full((1, COUNT), TYPES[kind])
        places = numbers(pos[:, None]), numbers(np.moveaxis(mat, 0, -1)[:, :, None]), numbers(size[:, None])
        return Shape(whole(body), whole(kinds), *places, whole(hull[None]))

    boxes = np.array([np.abs(stone).max(0) for stone in stones])
    table = shapes(
        "box", np.zeros_like(pos), np.tile(np.eye(3), (COUNT, 1, 1)), np.tile(half[:, None], COUNT), 0 * hull
    )
    hulls = dataclasses.replace(build_hulls(stones, finer=0), faces=faces)
    return (table, shapes("mesh", pos, mat, boxes[hull].T, hull)), hulls


def check_stones(contacts: Contacts) -> None:
    """All of them along the table's face, to float32's rounding of places on a table of 0.7 m."""
    np.testing.assert_allclose(contacts.points.dist[0, 0], -SUNK, atol=5e-7)
    np.testing.assert_allclose(contacts.points.normal[2, 0, 0], 1.0, atol=1e-6)


def test_a_face_that_is_found_stands_up_to_the_other_hulls_faces():
    check_stones(by_kernel(*stones_on_a_table(), MARGIN))


@pytest.mark.full
def test_a_face_that_is_found_stands_up_in_python():
    check_stones(by_python(*stones_on_a_table(), MARGIN))


@pytest.mark.full
def test_contacts_along_rollouts_are_pythons():
    """Of the pairs that the broad phase selects, padding included."""
    tasks, config = ("box-close-v3", "plate-slide-v3", "button-press-topdown-v3", "stick-push-v3"), EngineConfig()
    batch = states.to_batch([s for task in tasks for s in states.record(task, every=5)])

    @jax.jit
    def selected(row, kin) -> tuple[Shape, Shape]:
        candidates = broadphase(Geometry.of(batch.scenes, batch.hulls, row), kin, config, states.REACH)
        assert candidates.convex is not None
        layout = candidates.convex.layout
        first = layout.place_of(candidates.convex.pairs.margin)
        placed = place(candidates.convex.pairs, poses_for(layout, kin), layout)
        return jax.tree.map(lambda x: x[..., first : first + layout.blocks, :], placed)

    pairs = selected(batch.row, batch.kin)
    theirs = by_python(pairs, batch.hulls, ANY)
    check_contacts(by_kernel(pairs, batch.hulls, ANY, theirs.start), theirs)
    check_depths(-by_kernel(pairs, batch.hulls, ANY).points.dist, -theirs.points.dist)
