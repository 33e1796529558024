"""Slots of the narrow phase, and contacts, that a scene needs: counted in simulations of it in MuJoCo C.

The engine tests the nearest pairs of each kind, as many as `PhysicsConfig` has slots, and keeps the deepest contacts; a
scene where more touch loses contacts. It is simulated from some states, first with the hand at rest, then with the hand
led to what moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics.config import CONTACTS_PER_GROUP, PhysicsConfig, changed_fields
from mjx_metaworld.physics.model import PAIR_KINDS
from mjx_metaworld.processes.cache import digest_of, read_arrays, write_arrays
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene, scene_content
from mjx_metaworld.scenes.colliders import find_pairs, pair_kind
from mjx_metaworld.scenes.lead import HAND_HIGH, HAND_INIT, HAND_LOW, hold_hand, lead_hand

_FORMAT = 1  # raise it whenever this file counts something else
_REST, _LED = 25, 75  # control steps from each state
_SUBSTEPS = PhysicsConfig().substeps
_ROUNDING = 1e-6  # m; of pairs that are as near as each other either may come first in float32
_CAPSULE, _PLANE = mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_PLANE
FIELDS = (*(f"{kind}_pairs" for kind in PAIR_KINDS), "max_contacts")  # of `PhysicsConfig`, in the order of `Need`


class Start(NamedTuple):
    """State of an original scene from which it is simulated."""

    qpos: np.ndarray  # (nq,)
    qvel: np.ndarray  # (nv,)
    prop_pos: np.ndarray | None  # (3,) None for the file's


class Reach(NamedTuple):
    """Places of the mocap (3,): the one at rest, and bounds."""

    rest: tuple[float, ...] = HAND_INIT
    low: tuple[float, ...] = HAND_LOW
    high: tuple[float, ...] = HAND_HIGH


_REACH = Reach()


class Need(NamedTuple):
    """Numbers of `FIELDS` that a scene needs."""

    resting: np.ndarray  # (7,) int, at the end of its rest
    ever: np.ndarray  # (7,) int, at any time


def need_of(spec: SceneSpec, starts: Sequence[Start] = (), reach: Reach = _REACH) -> Need:
    """Slots and contacts that a scene needs, from simulations of 1.25 s each, or from the cache.

    Args:
        spec: the scene, which fits.
        starts: the states from which it is simulated; by default the file's.
        reach: of the mocap.
    """
    model = load_scene(spec)
    digest = digest_of(scene_content(model), spec.prop, *_bytes(starts), reach)
    name = f"slots{_FORMAT}-mujoco{mujoco.__version__}/{digest}"
    kept = read_arrays(name)
    if kept is not None and set(kept) == set(Need._fields):
        return Need(**kept)
    counter = _Counter(model, spec.prop)
    needs = [_simulate(model, counter, spec.prop, start, reach) for start in starts or [None]]
    need = Need(*(np.max(numbers, axis=0) for numbers in zip(*needs, strict=True)))
    write_arrays(name, need._asdict())
    return need


class Shortage(NamedTuple):
    """Loss of contacts for want of slots."""

    at_rest: bool  # already where nothing moves
    text: str


def shortage_of(needs: Mapping[str, Need], physics: PhysicsConfig) -> Shortage | None:
    """Compare what scenes need, by their names, with an accuracy; None where it has slots for all."""
    lines, wanted, at_rest = [], {}, False
    for name, need in needs.items():
        resting, ever = _lacking(need.resting, physics), _lacking(need.ever, physics)
        moving = {field: number for field, number in ever.items() if number > resting.get(field, 0)}
        times = {"at rest": resting, "when the hand is led to what moves": moving}
        lines += [f"{name} loses contacts {when}: {_in_words(lack, physics)}" for when, lack in times.items() if lack]
        wanted |= {field: max(number, wanted.get(field, 0)) for field, number in ever.items()}
        at_rest |= bool(resting)
    if not lines:
        return None
    enlarged = changed_fields(dataclasses.replace(physics, **wanted)).items()
    arguments, words = (sep.join(f"{name}={value!r}" for name, value in enlarged) for sep in (", ", " "))
    lines.append(f"physics=mw.PhysicsConfig({arguments}) has room for them (in commands --physics {words})")
    return Shortage(at_rest, ".\n".join(lines))


def _lacking(numbers: np.ndarray, physics: PhysicsConfig) -> dict[str, int]:
    """Fields of an accuracy that are too small for numbers (7,) of a `Need`, with what would do."""
    wanted = dict(zip(FIELDS, numbers.tolist(), strict=True))
    wanted["max_contacts"] += -wanted["max_contacts"] % CONTACTS_PER_GROUP
    return {name: number for name, number in wanted.items() if number > getattr(physics, name)}


def _in_words(lacking: Mapping[str, int], physics: PhysicsConfig) -> str:
    words = []
    for name, number in lacking.items():
        kind = name.removesuffix("_pairs")
        found = f"the {kind} pairs that touch are among the nearest {number}" if kind != name else f"{number} at once"
        words.append(f"{found}, {name} is {getattr(physics, name)}")
    return "; ".join(words)


def _bytes(starts: Sequence[Start]) -> list[bytes]:
    return [b"" if part is None else np.ascontiguousarray(part, float).tobytes() for start in starts for part in start]


def _simulate(model: mujoco.MjModel, counter: _Counter, prop: str | None, start: Start | None, reach: Reach) -> Need:
    data = mujoco.MjData(model)
    if start is not None:
        if prop is not None and start.prop_pos is not None:
            model.body(prop).pos = start.prop_pos
        data.qpos[:], data.qvel[:] = start.qpos, start.qvel
    hold_hand(data, reach.rest)
    ever = resting = np.zeros(len(FIELDS), int)
    for _ in range(_REST):
        resting = counter.step(data)
        ever = np.maximum(ever, resting)
    for _ in lead_hand(model, data, np.random.default_rng(0), _LED, reach.low, reach.high):
        ever = np.maximum(ever, counter.step(data))
    return Need(resting, ever)


class _Counter:
    """Counts what control steps of a scene need."""

    def __init__(self, model: mujoco.MjModel, prop: str | None) -> None:
        pairs = find_pairs(model, map_bodies(model, prop))
        kinds = np.array([PAIR_KINDS.index(pair_kind(model, pair)) for pair in pairs], int)
        self._model = model
        self._geoms = np.array(pairs, int).reshape(-1, 2)
        self._of_kind = [np.flatnonzero(kinds == kind) for kind in range(len(PAIR_KINDS))]
        self._row = np.full((model.ngeom, model.ngeom), -1)
        for first, second in ((0, 1), (1, 0)):
            self._row[self._geoms[:, first], self._geoms[:, second]] = np.arange(len(pairs))
        aabb = np.abs(model.geom_aabb)
        self._extent = aabb[:, :3] + aabb[:, 3:]

    def step(self, data: mujoco.MjData) -> np.ndarray:
        """Simulate a control step; the numbers (7,) of `FIELDS` that it needs."""
        touching, most, gaps = np.zeros(len(self._geoms), bool), 0, np.zeros(0)
        for substep in range(_SUBSTEPS):
            mujoco.mj_step(self._model, data)  # its poses and contacts are those before it moved
            if substep == 0:
                gaps = self._gaps(data)  # the engine selects pairs once in a control step
            contact = data.contact
            rows = self._row[contact.geom[:, 0], contact.geom[:, 1]]
            rows = rows[(contact.dist < contact.includemargin) & (rows >= 0)]
            touching[rows] = True
            most = max(most, len(rows))
        return np.array([*(self._needed(gaps[kind], touching[kind]) for kind in self._of_kind), most], int)

    def _needed(self, gaps: np.ndarray, touching: np.ndarray) -> int:
        """Nearest pairs of a kind up to the last that touches."""
        return int(np.sum(gaps <= gaps[touching].max() + _ROUNDING)) if touching.any() else 0

    def _gaps(self, data: mujoco.MjData) -> np.ndarray:
        """(P,) gaps between the world-aligned bounding boxes of the pairs, by which the engine orders them."""
        turn = np.abs(data.geom_xmat.reshape(-1, 3, 3))
        half = np.einsum("gij,gj->gi", turn, self._extent)
        radius, length = self._extent[:, :1], self._extent[:, 2:] - self._extent[:, :1]
        half = np.where((self._model.geom_type == _CAPSULE)[:, None], radius + turn[:, :, 2] * length, half)
        first, second = self._geoms.T
        offset = data.geom_xpos[second] - data.geom_xpos[first]
        gaps = (np.abs(offset) - half[first] - half[second]).max(1)
        normal = data.geom_xmat.reshape(-1, 3, 3)[first, :, 2]
        heights = np.sum(normal * offset - np.abs(normal) * half[second], axis=1)
        return np.where(self._model.geom_type[first] == _PLANE, heights, gaps)
