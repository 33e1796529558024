"""Tasks in scenes of one's own against the slots of an accuracy, from the states in which their episodes start."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.build.bank import draw_goals
from mjx_metaworld.build.readings import SkeletonState, write_skeleton
from mjx_metaworld.build.settle import settle
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import load_scene
from mjx_metaworld.scenes.slots import Need, Reach, Start, need_of, shortage_of
from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.spec import TaskSpec

_GOALS = 3  # from which a task is simulated


def check_slots(specs: Sequence[TaskSpec], physics: PhysicsConfig) -> None:
    """Warn of contacts that scenes of one's own lose for want of slots.

    Raises:
        ValueError: where they are lost at rest.
    """
    own = [spec for spec in specs if spec.scene_spec.own is not None]
    needs = {f"the scene {spec.scene_name} of {spec.name}": _need(spec) for spec in own}
    shortage = shortage_of(needs, physics)
    if shortage is None:
        return
    if shortage.at_rest:
        raise ValueError(shortage.text)
    warnings.warn(shortage.text, UserWarning, stacklevel=4)


def _need(spec: TaskSpec) -> Need:
    model, scene = load_scene(spec.scene_spec), spec.scene_spec
    bodies, data = map_bodies(model, scene.prop), mujoco.MjData(model)
    settled = jax.tree.map(lambda x: x[0], settle(spec))
    starts = []
    with jax.ensure_compile_time_eval():  # an environment may be built inside a function that is being traced
        for rand_vec in draw_goals(spec, _GOALS):
            placed = placer(spec)(jnp.asarray(rand_vec, jnp.float32), jax.tree.map(jnp.asarray, settled))
            qpos, qvel = np.asarray(placed.qpos, float), np.asarray(placed.qvel, float)
            write_skeleton(data, bodies, SkeletonState(qpos, qvel, settled.qacc_warmstart))
            starts.append(Start(data.qpos.copy(), data.qvel.copy(), np.asarray(placed.prop_pos, float)))
    return need_of(scene, starts, Reach(spec.hand_init, spec.hand_low, spec.hand_high))
