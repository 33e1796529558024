"""The 36 original scenes in MuJoCo C, at random states without contact, beside their projections on the skeleton."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout
from mjx_metaworld.physics.model import Arm, Scene
from mjx_metaworld.scenes.bodies import BodyMap, map_bodies
from mjx_metaworld.scenes.catalog import SCENES, SceneSpec, load_scene
from mjx_metaworld.scenes.project import load_arm, project


class Original(NamedTuple):
    """An original scene and its projection, without colliders."""

    spec: SceneSpec
    model: mujoco.MjModel  # with constraints disabled
    body_map: BodyMap
    scene: Scene


class Sample(NamedTuple):
    """One random state, in C and on the skeleton."""

    index: int  # of the scene
    data: mujoco.MjData  # after mj_forward
    prop_pos: np.ndarray  # (3,) where the prop was then
    qpos: np.ndarray  # (19,)
    qvel: np.ndarray  # (18,)


@functools.cache
def originals() -> tuple[Original, ...]:
    out = []
    for spec in SCENES:
        model = load_scene(spec)
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
        body_map = map_bodies(model, spec.prop)
        out.append(Original(spec, model, body_map, project(model, body_map, None, None)))
    return tuple(out)


def original_of(spec: SceneSpec) -> Original:
    return originals()[SCENES.index(spec)]


@functools.cache
def arm() -> Arm:
    return load_arm(originals()[0].model)


@functools.cache
def samples(per_scene: int, seed: int = 0) -> tuple[Sample, ...]:
    """Joints anywhere in their range, the free body and the prop anywhere near, unit normal velocities."""
    rng = np.random.default_rng(seed)
    return tuple(_sample(i, rng) for i in range(len(SCENES)) for _ in range(per_scene))


def _sample(index: int, rng: np.random.Generator) -> Sample:
    original = originals()[index]
    model, body_map = original.model, original.body_map
    prop_pos = np.zeros(3)
    if original.spec.prop is not None:
        prop_pos = original.scene.prop_pos + rng.normal(scale=0.1, size=3)
        model.body(original.spec.prop).pos = prop_pos
    data = mujoco.MjData(model)
    for joint in range(model.njnt):
        adr = model.jnt_qposadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            data.qpos[adr : adr + 3] += rng.normal(scale=0.3, size=3)
            quat = rng.normal(size=4)
            data.qpos[adr + 3 : adr + 7] = quat / np.linalg.norm(quat)
        else:
            data.qpos[adr] = rng.uniform(*model.jnt_range[joint])
    data.qvel[:] = rng.normal(size=model.nv)
    data.ctrl[:] = rng.uniform(-1.5, 1.5, size=2)  # some beyond the range, to be clamped
    qpos, qvel = np.zeros(layout.NQ), np.zeros(layout.NV)
    qpos[layout.FREE_QPOS.start + 3] = 1.0
    qpos[body_map.qpos], qvel[body_map.dofs] = data.qpos, data.qvel
    mujoco.mj_forward(model, data)
    return Sample(index, data, prop_pos, qpos, qvel)


def as_lanes(leaves: list, dtype: jnp.dtype) -> jax.Array:
    """Stack pytrees of numpy leaves along a lane axis at the end, floats in the given dtype."""
    return jax.tree.map(
        lambda *x: jnp.asarray(np.stack(x, -1), dtype if np.asarray(x[0]).dtype == float else None), *leaves
    )


def spread(body_map: BodyMap, values: np.ndarray) -> np.ndarray:
    """Values per original dof as values per skeleton dof, zero where the scene has none."""
    out = np.zeros(layout.NV)
    out[body_map.dofs] = values
    return out
