"""Boxes against boxes and cylinders in C++: the points of the routines in Python, pair by pair."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.cpu_collision import collide
from support.random_poses import MARGIN, TYPES, as_shape, random_rotation

from mjx_metaworld.parity.record import episode
from mjx_metaworld.physics.collision.box import collide_boxes
from mjx_metaworld.physics.collision.cylinder_box import collide_cylinder_boxes
from mjx_metaworld.physics.collision.points import NO_CONTACT, Points
from mjx_metaworld.physics.collision.shapes import Shape
from mjx_metaworld.processes.native import compiler
from mjx_metaworld.suites import goals

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no compiler of C++")

# Tasks in which pairs of a kind touch along the experts' ways.
TASKS = {
    "box": ("bin-picking-v3", "box-close-v3", "stick-push-v3", "plate-slide-v3"),
    "cylinder": ("hammer-v3", "door-open-v3", "coffee-pull-v3"),
}
COUNT = 2000


class Routine(NamedTuple):
    """A routine in both languages; its first shapes are of the kind that names it."""

    python: Callable[[Shape, Shape, jax.Array], Points]
    name: str  # of the one in C++
    points: int


ROUTINES = {
    "box": Routine(collide_boxes, "boxes", 16),
    "cylinder": Routine(collide_cylinder_boxes, "cylinder_boxes", 1),
}


class Pairs(NamedTuple):
    """Pairs of a kind with a box; rows are pairs."""

    pos: np.ndarray  # (2, n, 3)
    mat: np.ndarray  # (2, n, 3, 3)
    size: np.ndarray  # (2, n, 3)

    def shapes(self, kind: str) -> tuple[Shape, Shape]:
        first, second = (
            as_shape(name, (), self.pos[i], self.mat[i]).replace(size=jnp.asarray(self.size[i].T[:, None], jnp.float32))
            for i, name in enumerate((kind, "box"))
        )
        return first, second


def reach(kind: str, size: np.ndarray, mat: np.ndarray, direction: np.ndarray) -> np.ndarray:
    local = np.einsum("nij,ni->nj", mat, direction)
    if kind == "box":
        return (np.abs(local) * size).sum(1)
    return size[:, 0] * np.hypot(local[:, 0], local[:, 1]) + size[:, 1] * np.abs(local[:, 2])


def touching(kind: str, mat: np.ndarray, rng: np.random.Generator) -> Pairs:
    """Pairs between 2 mm apart and 10 mm deep along an axis of one of them or across an axis of each."""
    count = mat.shape[1]
    size = rng.uniform(0.01, 0.1, (2, count, 3))
    axis1, axis2 = (m[np.arange(count), :, rng.integers(0, 3, count)] for m in mat)
    across = np.cross(axis1, axis2)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.where(length > 0.1, across / np.maximum(length, 0.1), axis1)
    direction = np.choose(rng.integers(0, 3, count)[:, None], [axis1, axis2, across])
    aside = rng.normal(scale=0.03, size=(count, 3))
    aside -= direction * (aside * direction).sum(1, keepdims=True)
    apart = reach(kind, size[0], mat[0], direction) + reach("box", size[1], mat[1], direction)
    pos1 = rng.uniform(-0.3, 0.3, (count, 3))
    pos2 = pos1 + aside + direction * (apart - rng.uniform(-0.002, 0.01, count))[:, None]
    return Pairs(np.stack([pos1, pos2]), mat, size)


def quarter_turns(count: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) rotations that map the axes onto each other, without rounding."""
    turns = np.eye(3)[np.stack([rng.permutation(3) for _ in range(count)])]
    turns *= rng.choice((-1.0, 1.0), (count, 3, 1))
    turns[:, 0] *= np.linalg.det(turns)[:, None]
    return turns.round()


def tilts(angles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) rotations by small angles."""
    axis = rng.normal(size=(len(angles), 3))
    x, y, z = (axis / np.linalg.norm(axis, axis=1, keepdims=True)).T
    o = np.zeros_like(x)
    turn = np.moveaxis(np.array([[o, -z, y], [z, o, -x], [-y, x, o]]), -1, 0)
    angles = angles[:, None, None]
    return np.eye(3) + np.sin(angles) * turn + (1 - np.cos(angles)) * turn @ turn


def of_states(kind: str) -> Pairs:
    """Pairs of bodies that move, near each other in states of metaworld along the experts' ways."""
    rows = []
    for task in TASKS[kind]:
        for turn in episode(task, goals(task, seed=0)[0][0], "expert", 60):
            model, data = turn.cpu_env.model, turn.cpu_env.data
            firsts, boxes = (np.flatnonzero(model.geom_type == TYPES[name]) for name in (kind, "box"))
            for i, j in ((i, j) for i in firsts for j in boxes if turn.index % 6 == 0):
                moves = model.body_weldid[model.geom_bodyid[[i, j]]]
                gap = np.linalg.norm(data.geom_xpos[i] - data.geom_xpos[j]) - model.geom_rbound[[i, j]].sum()
                if moves[0] != moves[1] and gap < 0:
                    ids = [i, j]
                    rows.append((data.geom_xpos[ids], data.geom_xmat[ids].reshape(2, 3, 3), model.geom_size[ids]))
            turn.take()
    return Pairs(*(np.stack(column, axis=1) for column in zip(*rows, strict=True)))


class Found(NamedTuple):
    """Points of the same pairs."""

    python: Points
    kernel: Points
    touching: np.ndarray  # (n,) bool: both have points

    @classmethod
    def of(cls, python: Points, kernel: Points) -> Found:
        return cls(python, kernel, ((python.dist < NO_CONTACT) & (kernel.dist < NO_CONTACT)).any((0, 1)))

    def depths(self) -> tuple[np.ndarray, np.ndarray]:
        """Least distances (n,) of the pairs' points."""
        python, kernel = (np.asarray(points.dist).min((0, 1)) for points in (self.python, self.kernel))
        return python, kernel

    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors of distances, positions and normals of the pairs that touch; the first two infinite where not the same
        points exist.
        """
        exists = self.python.dist < NO_CONTACT
        other = (exists != (self.kernel.dist < NO_CONTACT)).any((0, 1))
        dist, pos = (
            np.where(exists, np.abs(x - y), 0.0).reshape(-1, len(other)).max(0)
            for x, y in ((self.python.dist, self.kernel.dist), (self.python.pos, self.kernel.pos))
        )
        normal = np.abs(self.python.normal - self.kernel.normal).max((0, 1, 2))
        dist, pos = (np.where(other, np.inf, x)[self.touching] for x in (dist, pos))
        return dist, pos, normal[self.touching]


@functools.cache
def pairs_of(kind: str) -> dict[str, Pairs]:
    """Pairs in all manners."""
    rng = np.random.default_rng(0)
    some, other = np.array([[random_rotation(rng) for _ in range(COUNT)] for _ in range(2)])
    turns, others = quarter_turns(COUNT, rng), quarter_turns(COUNT, rng)

    def tilted(least: float, most: float) -> np.ndarray:
        angles = 10.0 ** rng.uniform(least, most, COUNT)
        return np.stack([some, some @ turns @ tilts(angles, rng)])

    return {
        "in any orientation": touching(kind, np.stack([some, other]), rng),
        "along the same axes": touching(kind, np.stack([turns, others]), rng),
        "tilted": touching(kind, tilted(-4, -2), rng),
        "parallel to rounding": touching(kind, tilted(-9, -5), rng),
        "in states": of_states(kind),
    }


def joined(kind: str) -> tuple[Shape, Shape, np.ndarray]:
    """Shapes and margins of all pairs of a kind."""
    pairs = Pairs(*(np.concatenate(column, axis=1) for column in zip(*pairs_of(kind).values(), strict=True)))
    shapes = pairs.shapes(kind)
    return *shapes, np.full(shapes[0].type.shape, MARGIN, np.float32)


def by_kernel(kind: str, first: Shape, second: Shape, margin: np.ndarray) -> Points:
    return collide(ROUTINES[kind].name, first, second, margin, ROUTINES[kind].points, 1)


@functools.cache
def found(kind: str) -> dict[str, Found]:
    """Points of pairs in all manners, in Python by one program."""
    (first, second, margin), pairs = joined(kind), pairs_of(kind)
    ends = np.cumsum([part.pos.shape[1] for part in pairs.values()])[:-1]
    expected = jax.jit(ROUTINES[kind].python)(first, second, margin)
    both = jax.tree.map(np.asarray, expected), by_kernel(kind, first, second, margin)
    parts = ([Points(*part) for part in zip(*(np.split(x, ends, -1) for x in p), strict=True)] for p in both)
    return {manner: Found.of(*part) for manner, part in zip(pairs, zip(*parts, strict=True), strict=True)}


def worst(errors: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.max(errors, axis=0)


@pytest.mark.ci
@pytest.mark.parametrize("kind", ROUTINES)
def test_nothing_rounds_along_the_same_axes(kind):
    """So that ties, of which there are many, have to be decided alike."""
    pairs = found(kind)["along the same axes"]
    assert pairs.touching.mean() > 0.5
    assert worst(pairs.errors()).max() < 1e-6


@pytest.mark.ci
def test_points_of_boxes():
    """A face and a pair of edges that tie, or a point at the very margin, can come out otherwise in one of 200."""
    for manner in ("in any orientation", "tilted"):
        pairs = found("box")[manner]
        assert pairs.touching.mean() > 0.5
        assert (worst(pairs.errors()) < 1e-6).mean() > 0.995


def test_depths_of_boxes_that_are_parallel_to_rounding():
    """Rounding decides which corner of a level face is the lowest, of which MuJoCo takes a point in any case: so points
    differ in a quarter of the pairs, at the same depth. Where a face ties with a pair of edges, which rounding keeps
    from being parallel, the edges' depth is whole and the face's half.
    """
    pairs = found("box")["parallel to rounding"]
    ours, theirs = pairs.depths()
    ours, theirs = np.minimum(ours, MARGIN), np.minimum(theirs, MARGIN)
    same = np.abs(ours - theirs) < 1e-6
    assert same.mean() > 0.97
    low, high = np.sort(np.abs([ours, theirs])[:, ~same], axis=0)
    assert (np.abs(high - np.minimum(2 * low, np.where(ours[~same] > 0, MARGIN, np.inf))) < 1e-5).all()
    assert (worst(pairs.errors()) < 1e-6).mean() > 0.65


def test_boxes_in_states():
    """Fixtures' boxes are parallel, with the ties of the test above."""
    pairs = found("box")["in states"]
    assert pairs.touching.sum() > 100
    ours, theirs = pairs.depths()
    assert np.abs(np.minimum(ours, MARGIN) - np.minimum(theirs, MARGIN)).max() < 1e-6
    _, pos, normal = pairs.errors()
    assert normal.max() < 1e-6
    assert (pos < 1e-6).mean() > 0.6


@pytest.mark.parametrize("manner", ["in any orientation", "tilted", "parallel to rounding", "in states"])
def test_contacts_of_cylinders(manner):
    """The depth is a minimum and hardly depends on where the search ends; the point follows from angles between bodies,
    over the full half-length at 5e-5 rad, and what is parallel to rounding has some of 1e-7.
    """
    pairs = found("cylinder")[manner]
    assert pairs.touching.sum() > 50
    ours, theirs = pairs.depths()
    error = np.abs(np.minimum(ours, MARGIN) - np.minimum(theirs, MARGIN)).max()
    assert error < (5e-5 if manner == "tilted" else 1e-6)  # a rim's search from nearly the wrong side of a kink
    dist, pos, normal = pairs.errors()
    assert np.quantile(dist, 0.98) < 1e-6
    assert np.quantile(normal, 0.95) < 1e-5
    level = manner in ("tilted", "parallel to rounding")
    assert np.quantile(pos, 0.9) < (1e-4 if level else 1e-6)


def bits(points: Points, lanes=slice(None)) -> list[np.ndarray]:
    """What points are, where they exist."""
    exists = np.asarray(points.dist) < NO_CONTACT
    pos, normal = np.where(exists, points.pos, 0.0), np.where(exists.any(0), points.normal, 0.0)
    return [x[..., lanes] for x in (np.asarray(points.dist), pos, normal)]


@pytest.mark.parametrize("kind", ROUTINES)
def test_a_pair_is_collided_alike_among_any_others(kind):
    """To the last bit, and what is no number stays with its pair."""
    operands = joined(kind)
    together = by_kernel(kind, *operands)
    chosen = np.random.default_rng(1).permutation(operands[2].shape[1])[:1003]
    apart = by_kernel(kind, *jax.tree.map(lambda x: x[..., chosen], operands))
    for one, other in zip(bits(together, chosen), bits(apart), strict=True):
        np.testing.assert_array_equal(one, other)

    first, second, margin = operands
    poisoned = by_kernel(kind, first.replace(pos=first.pos.at[..., ::5].set(jnp.nan)), second, margin)
    assert (poisoned.dist[..., ::5] == NO_CONTACT).all()
    others = np.delete(np.arange(margin.shape[1]), slice(None, None, 5))
    for one, other in zip(bits(together, others), bits(poisoned, others), strict=True):
        np.testing.assert_array_equal(one, other)
