"""What an environment looks up by task: every task's data as arrays with a leading task axis, built on the host."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.physics.model import Arm, Scene
from mjx_metaworld.robot import PointTable, observation_bounds, point_table
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import load_scene
from mjx_metaworld.scenes.project import load_arm
from mjx_metaworld.scenes.settle import settle
from mjx_metaworld.scenes.stack import build_scene, stack_scenes
from mjx_metaworld.tasks.spec import Settled, TaskSpec


@struct.dataclass
class TaskTable:
    """Data of all tasks of an environment; a step gathers its task's row."""

    scene: Int[Array, " tasks"]  # row of the stacked scenes
    settled: Settled  # points padded to the longest
    points: PointTable
    rand_low: Float[Array, "tasks rand"]  # padded with zeros
    rand_high: Float[Array, "tasks rand"]
    hand_init: Float[Array, "tasks 3"]
    hand_low: Float[Array, "tasks 3"]
    hand_high: Float[Array, "tasks 3"]
    obs_low: Float[Array, "tasks 39"]
    obs_high: Float[Array, "tasks 39"]
    stale_reset: Bool[Array, " tasks"]


def build_tables(specs: Sequence[TaskSpec], *, goal_observable: bool) -> tuple[Arm, Scene, TaskTable]:
    """Project the scenes of some tasks and stack everything (numpy leaves, float64).

    Returns:
        The robot's constants, the distinct scenes with a leading scene axis, and the tasks' table.
    """
    places = list(dict.fromkeys((spec.scene_spec, spec.main_geom) for spec in specs))
    models = {scene_spec: load_scene(scene_spec) for scene_spec, _ in places}
    scenes = stack_scenes([build_scene(scene_spec, main_geom) for scene_spec, main_geom in places])
    num_points = max(len(spec.points) for spec in specs)
    num_objects = max(len(spec.objects) for spec in specs)
    rows = [
        _row(
            spec,
            scene=places.index((spec.scene_spec, spec.main_geom)),
            points=point_table(
                spec,
                models[spec.scene_spec],
                map_bodies(models[spec.scene_spec], spec.scene_spec.prop),
                num_objects=num_objects,
                num_points=num_points,
            ),
            num_points=num_points,
            num_rand=max(len(s.rand_low) for s in specs),
            goal_observable=goal_observable,
        )
        for spec in specs
    ]
    table = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    return load_arm(models[places[0][0]]), scenes, table


def _row(
    spec: TaskSpec, *, scene: int, points: PointTable, num_points: int, num_rand: int, goal_observable: bool
) -> TaskTable:
    settled = jax.tree.map(lambda x: x[0], settle(spec))
    missing = num_points - len(spec.points)
    settled = settled.replace(points=np.pad(settled.points, ((0, missing), (0, 0))))
    pad = (0, num_rand - len(spec.rand_low))
    obs_low, obs_high = observation_bounds(spec, goal_observable=goal_observable)
    return TaskTable(
        scene=np.int32(scene),
        settled=settled,
        points=points,
        rand_low=np.pad(np.asarray(spec.rand_low, float), pad),
        rand_high=np.pad(np.asarray(spec.rand_high, float), pad),
        hand_init=np.asarray(spec.hand_init, float),
        hand_low=np.asarray(spec.hand_low, float),
        hand_high=np.asarray(spec.hand_high, float),
        obs_low=obs_low,
        obs_high=obs_high,
        stale_reset=np.bool_(spec.stale_reset),
    )
