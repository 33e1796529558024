"""Tables that an environment looks up by task: arrays with a leading task axis, built on the host."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.build.bank import SettledBank, build_bank
from mjx_metaworld.build.check import check_tasks
from mjx_metaworld.build.hulls import hulls_with
from mjx_metaworld.build.identity import all_built_in
from mjx_metaworld.build.machine import versions
from mjx_metaworld.build.points import point_table
from mjx_metaworld.observation import GOAL, observation_bounds
from mjx_metaworld.physics.collision.hull_support import HullTable
from mjx_metaworld.physics.model import Arm, Scene
from mjx_metaworld.processes.archive import describe, rebuild
from mjx_metaworld.processes.cache import digest_of, read_arrays, source_digest, write_arrays
from mjx_metaworld.processes.code import digest_of_code
from mjx_metaworld.processes.programs import machine_digest
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, compile_ahead, load_scene
from mjx_metaworld.scenes.hulls import NAMES as HULL_NAMES
from mjx_metaworld.scenes.hulls import keep_hulls
from mjx_metaworld.scenes.project import load_arm
from mjx_metaworld.scenes.stack import build_scene, own_hulls, stack_scenes
from mjx_metaworld.tasks.points import PointTable
from mjx_metaworld.tasks.spec import Separation, TaskSpec

UNBOUNDED = float(np.finfo(np.float32).max)


class TaskTable(struct.PyTreeNode):
    """Data of all tasks of an environment; a step gathers its task's row."""

    scene: Int[Array, " tasks"]  # row of the stacked scenes
    points: PointTable
    rand_low: Float[Array, "tasks rand"]  # padded with zeros
    rand_high: Float[Array, "tasks rand"]
    separation: Separation  # of the goal vectors that a reset draws
    hand_init: Float[Array, "tasks 3"]
    hand_low: Float[Array, "tasks 3"]
    hand_high: Float[Array, "tasks 3"]
    # Bounds of an observation that shows the goal, see `hidden_goals`.
    obs_low: Float[Array, "tasks 39"]  # at most float32's largest: `jax_debug_infs` stops at infinity
    obs_high: Float[Array, "tasks 39"]
    stale_reset: Bool[Array, " tasks"]


class Tables(NamedTuple):
    """All data that an environment is made of (numpy leaves, float64)."""

    arm: Arm
    scenes: Scene  # the distinct scenes, with a leading scene axis
    hulls: HullTable  # of the meshes that the scenes' colliders refer to
    tasks: TaskTable
    bank: SettledBank


def build_tables(specs: Sequence[TaskSpec]) -> Tables:
    """Project the scenes of some tasks and stack everything; of this package's tasks it is kept for the next process.

    Raises:
        ValueError: if a task or a scene from outside this package does not fit; the message lists all that is wrong.
    """
    if not all_built_in(specs):
        return _build(specs)
    return _of_built_in(tuple(specs))


@functools.lru_cache(maxsize=8)  # 3 MB each at most; whoever changes one replaces it
def _of_built_in(specs: tuple[TaskSpec, ...]) -> Tables:
    made_of = versions("metaworld", "mujoco", "numpy"), source_digest(), digest_of_code(), machine_digest()
    name = f"tables/{digest_of(made_of, [spec.name for spec in specs])}"
    tables = _read(name)
    if tables is None:
        tables = _build(specs)
        leaves: list[np.ndarray] = []
        text = json.dumps(describe(tables, leaves)).encode()
        arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)}
        write_arrays(name, arrays | {"description": np.frombuffer(text, np.uint8)})
    return tables


def _read(name: str) -> Tables | None:
    arrays = read_arrays(name)
    try:
        if arrays is not None:
            leaves = [arrays[str(i)] for i in range(len(arrays) - 1)]
            return rebuild(json.loads(arrays["description"].tobytes()), leaves)
    except (KeyError, ValueError):
        pass  # of another kind: then they are built
    return None


def _build(specs: Sequence[TaskSpec]) -> Tables:
    check_tasks(specs)
    num_points = num_padded_points(specs)
    num_objects = max(1, *(len(spec.objects) for spec in specs))  # a task may observe none
    num_rand = max(len(spec.rand_low) for spec in specs)
    scenes: dict[tuple[SceneSpec, str | None], Scene] = {}
    hulls: list[np.ndarray] = []  # of meshes that are not metaworld's
    rows: dict[str, TaskTable] = {}
    # Scene by scene, because compiling one takes longest.
    by_scene: dict[SceneSpec, list[TaskSpec]] = {}
    for spec in sorted(specs, key=lambda spec: spec.scene_name):
        by_scene.setdefault(spec.scene_spec, []).append(spec)
    model = None
    for scene in compile_ahead(list(by_scene)):
        model = load_scene(scene)
        keep_hulls(scene.name)
        bodies = map_bodies(model, scene.prop)
        for spec in by_scene[scene]:
            place = (scene, spec.main_geom)
            if place not in scenes:
                scenes[place] = build_scene(*place, first_hull=len(HULL_NAMES) + len(hulls))
                hulls += own_hulls(scene)
            rows[spec.name] = _row(
                spec,
                scene=list(scenes).index(place),
                points=point_table(spec, model, bodies, num_objects=num_objects, num_points=num_points),
                num_rand=num_rand,
            )
    assert model is not None, "there is a task, and it has a scene"
    table = jax.tree.map(lambda *leaves: np.stack(leaves), *(rows[spec.name] for spec in specs))
    bank = build_bank(specs, num_points=num_points, num_rand=num_rand)
    return Tables(load_arm(model), stack_scenes(list(scenes.values())), hulls_with(hulls), table, bank)


def hidden_goals(table: TaskTable) -> TaskTable:
    """The same table with the bounds of observations in which the goal is hidden: zeros."""

    def hide(bounds: Array) -> np.ndarray:
        hidden = np.array(bounds)
        hidden[:, GOAL] = 0.0
        return hidden

    return table.replace(obs_low=hide(table.obs_low), obs_high=hide(table.obs_high))


def num_padded_points(specs: Sequence[TaskSpec]) -> int:
    """Rows of points to which all tasks are padded; at least one: orbax cannot save arrays of size zero."""
    return max(1, *(len(spec.points) for spec in specs))


def _row(spec: TaskSpec, *, scene: int, points: PointTable, num_rand: int) -> TaskTable:
    pad = (0, num_rand - len(spec.rand_low))
    obs_low, obs_high = observation_bounds(spec.goal_low, spec.goal_high, goal_observable=True)
    return TaskTable(
        scene=np.int32(scene),
        points=points,
        rand_low=np.pad(np.asarray(spec.rand_low, float), pad),
        rand_high=np.pad(np.asarray(spec.rand_high, float), pad),
        separation=spec.separation,
        hand_init=np.asarray(spec.hand_init, float),
        hand_low=np.asarray(spec.hand_low, float),
        hand_high=np.asarray(spec.hand_high, float),
        obs_low=np.maximum(obs_low, -UNBOUNDED),
        obs_high=np.minimum(obs_high, UNBOUNDED),
        stale_reset=np.bool_(spec.stale_reset),
    )
