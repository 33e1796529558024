"""Contacts of MuJoCo C in states along the reference's scripted experts, beside those of the stages."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.build.hulls import hulls_with
from mjx_metaworld.parity.record import episode
from mjx_metaworld.physics.collision import Geometry, broadphase, find_points
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.collision.points import Points
from mjx_metaworld.physics.collision.shapes import NearPairs, Shape, Slots, sides
from mjx_metaworld.physics.config import EngineConfig
from mjx_metaworld.physics.model import NUM_BODIES, Colliders, Kinematics, Scene
from mjx_metaworld.scenes.bodies import BodyMap, map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.colliders import find_pairs
from mjx_metaworld.scenes.contacts import contact_parameters, explicit_pairs
from mjx_metaworld.scenes.hulls import NAMES as HULL_NAMES
from mjx_metaworld.scenes.stack import build_scene, own_hulls, stack_scenes
from mjx_metaworld.suites import goals, list_tasks, resolve

TASKS: tuple[str, ...] = tuple(list_tasks())
# The scenes of the ten MT10 tasks, and two with meshes on both sides and many contacts.
QUICK_TASKS = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "door-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "peg-insert-side-v3",
    "window-close-v3",
    "plate-slide-v3",
    "box-close-v3",
)
TYPE_NAMES = {0: "plane", 2: "sphere", 3: "capsule", 5: "cylinder", 6: "box", 7: "mesh"}
GeomPair = tuple[int, int]


class Contact(NamedTuple):
    """One contact point."""

    dist: float
    pos: np.ndarray  # (3,)
    normal: np.ndarray  # (3,)


class Snapshot(NamedTuple):
    """A state of an original scene with the contacts that MuJoCo C finds in it."""

    task: str
    scene: SceneSpec
    xpos: np.ndarray  # (14, 3) skeleton bodies
    xmat: np.ndarray  # (14, 3, 3)
    contacts: dict[GeomPair, list[Contact]]  # by original geoms, in narrow-phase order


def record(task: str, episodes: int = 1, steps: int = 120, every: int = 10, noise: float = 0.1) -> list[Snapshot]:
    """Roll the scripted expert out, with noise on its actions, and keep the state after every `every`-th step."""
    rng, snapshots = np.random.default_rng(0), []
    for rand_vec in goals(task, seed=0)[0][:episodes]:
        for turn in episode(task, rand_vec, "noisy", steps, rng=rng, wander=noise):
            if turn.index % every == every - 1:
                turn.take()
                snapshots.append(snapshot(task, turn.cpu_env))
    return snapshots


def snapshot(task: str, cpu_env: SawyerXYZEnv) -> Snapshot:
    """The state that a live metaworld environment of the task is in."""
    scene = resolve(task)[0].scene_spec
    xpos, xmat = skeleton_poses(cpu_env.model, cpu_env.data, map_bodies(cpu_env.model, scene.prop))
    return Snapshot(task, scene, xpos, xmat, contacts_of(cpu_env.data))


def skeleton_poses(model: mujoco.MjModel, data: mujoco.MjData, body_map: BodyMap) -> tuple[np.ndarray, np.ndarray]:
    """World poses (14, 3), (14, 3, 3) of the skeleton's bodies from those of the original ones."""
    xpos, xmat = np.zeros((NUM_BODIES, 3)), np.tile(np.eye(3), (NUM_BODIES, 1, 1))
    for body in range(model.nbody):
        if body_map.body[body]:
            local = np.zeros(9)
            mujoco.mju_quat2Mat(local, body_map.quat[body])
            mat = data.xmat[body].reshape(3, 3) @ local.reshape(3, 3).T
            xmat[body_map.body[body]] = mat
            xpos[body_map.body[body]] = data.xpos[body] - mat @ body_map.pos[body]
    return xpos, xmat


def contacts_of(data: mujoco.MjData) -> dict[GeomPair, list[Contact]]:
    """The active contacts of MuJoCo C by geom pair."""
    found = defaultdict(list)
    for contact in data.contact:
        if contact.dist < contact.includemargin:
            pair = (int(contact.geom[0]), int(contact.geom[1]))
            found[pair].append(Contact(contact.dist, contact.pos.copy(), contact.frame[:3].copy()))
    return dict(found)


class Batch(NamedTuple):
    """Snapshots as lanes of the stages."""

    snapshots: list[Snapshot]
    scenes: Scene  # stacked
    hulls: HullTable
    row: jax.Array  # (L,) int32 of the lanes' scenes
    kin: Kinematics
    geoms: list[list[int]]  # per lane, the original geom of every collider row
    colliders: list[Colliders]  # per lane


def to_batch(snapshots: Sequence[Snapshot], dtype=np.float32) -> Batch:
    """Project the snapshots' scenes and lay the snapshots out as lanes."""
    specs = list(dict.fromkeys(s.scene for s in snapshots))
    built: list[Scene] = []
    hulls: list[np.ndarray] = []
    for spec in specs:
        built.append(build_scene(spec, None, first_hull=len(HULL_NAMES) + len(hulls)))
        hulls += own_hulls(spec)
    row = np.array([specs.index(s.scene) for s in snapshots])
    kin = Kinematics(
        xpos=jnp.asarray(np.stack([s.xpos for s in snapshots], -1), dtype),
        xmat=jnp.asarray(np.stack([s.xmat for s in snapshots], -1), dtype),
        ang=None,
        lin=None,
        anchor=None,
        hand_pos=None,
        hand_quat=None,
    )
    geoms = [_collider_geoms(spec) for spec in specs]
    return Batch(
        list(snapshots),
        stack_scenes(built),
        hulls_with(hulls),
        jnp.asarray(row, jnp.int32),
        kin,
        [geoms[r] for r in row],
        [built[r].colliders for r in row],
    )


@functools.cache
def _collider_geoms(spec: SceneSpec) -> list[int]:
    """The original geom of every collider row of a scene."""
    model = load_scene(spec)
    return sorted({geom for pair in find_pairs(model, map_bodies(model, spec.prop)) for geom in pair})


# What a control step adds to a pair's margin at the least, in m: some routines, MuJoCo's and ours alike, underestimate
# the distance of bodies that are apart, so that pairs touch whose bounding boxes are not quite as near as the margin.
REACH = 0.01


def collide_batch(batch: Batch, config: EngineConfig) -> list[dict[GeomPair, list[Contact]]]:
    """The contact points of the narrow phase before the reduction, per lane and geom pair."""

    @jax.jit
    def run(row, kin):
        geometry = Geometry.of(batch.scenes, batch.hulls, row)
        return find_points(broadphase(geometry, kin, config, REACH), kin, config)[0]

    found: list[dict[GeomPair, list[Contact]]] = [defaultdict(list) for _ in batch.snapshots]
    for slots, points in jax.tree.map(np.asarray, run(batch.row, batch.kin)):
        _sort_points(batch, slots, points, found)
    return found


def _sort_points(batch: Batch, slots: Slots, points: Points, found: list[dict[GeomPair, list[Contact]]]) -> None:
    layout = slots.layout
    first = layout.place_of(slots.pairs.margin)
    pairs = NearPairs(slots.pairs.data[..., first : first + layout.blocks, :])
    both = sides(pairs.colliders())
    active = (np.arange(len(pairs.margin))[:, None] < layout.near) & (points.dist < pairs.margin)
    shared = points.normal.shape[1] == 1
    for n, s, lane in zip(*np.nonzero(active), strict=True):
        pair = tuple(_geom(batch, side, s, lane) for side in both)
        pos, normal = points.pos[:, n, s, lane], points.normal[:, 0 if shared else n, s, lane]
        found[lane][pair].append(Contact(float(points.dist[n, s, lane]), np.asarray(pos), np.asarray(normal)))


def _geom(batch: Batch, shape: Shape, slot: int, lane: int) -> int:
    """The original geom of a selected shape: the collider with its body, pose and size."""
    c = batch.colliders[lane]
    difference = (
        np.abs(c.pos - shape.pos[:, slot, lane]).sum(1)
        + np.abs(c.size - shape.size[:, slot, lane]).sum(1)
        + 10 * np.abs(c.body - shape.body[slot, lane])
    )
    return batch.geoms[lane][int(difference.argmin())]


class Comparison(NamedTuple):
    """A geom pair that touches in MuJoCo C or here."""

    task: str
    kind: str
    pair: GeomPair
    theirs: list[Contact]
    ours: list[Contact]
    margin: float = 0.0  # m, of the pair

    @property
    def depth_error(self) -> float:
        """Difference of the deepest points' depths."""
        return abs(min(c.dist for c in self.theirs) - min(c.dist for c in self.ours))

    @property
    def normal_error(self) -> float:
        """Distance of the normals of the deepest points."""
        deepest = [min(side, key=lambda c: c.dist) for side in (self.theirs, self.ours)]
        return float(np.linalg.norm(deepest[0].normal - deepest[1].normal))

    @property
    def position_error(self) -> float:
        """Largest distance from a point of MuJoCo C to the nearest here."""
        return max(min(float(np.linalg.norm(a.pos - b.pos)) for b in self.ours) for a in self.theirs)

    @property
    def touching_depth(self) -> float:
        """Depth of the side that touches."""
        return -min(c.dist for c in self.theirs + self.ours)


def compare(batch: Batch, found: Iterable[dict[GeomPair, list[Contact]]]) -> list[Comparison]:
    """Set both sides' contacts against each other."""
    comparisons = []
    for snapshot, ours in zip(batch.snapshots, found, strict=True):
        model_types = _geom_types(snapshot.scene)
        for pair in sorted(set(snapshot.contacts) | set(ours)):
            kind = "-".join(TYPE_NAMES[model_types[geom]] for geom in pair)
            comparisons.append(
                Comparison(
                    snapshot.task,
                    kind,
                    pair,
                    snapshot.contacts.get(pair, []),
                    ours.get(pair, []),
                    _margin(snapshot.scene, pair),
                )
            )
    return comparisons


@functools.cache
def _margin(scene: SceneSpec, pair: GeomPair) -> float:
    model = load_scene(scene)
    return contact_parameters(model, pair, explicit_pairs(model).get(pair)).margin


@functools.cache
def _geom_types(scene: SceneSpec) -> list[int]:
    return load_scene(scene).geom_type.tolist()
