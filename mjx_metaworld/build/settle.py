"""The settled hand from which every episode starts, computed on the host with MuJoCo C and kept in files.

At a reset the reference holds the mocap at the task's start and simulates 50 control steps until the hand rests
there. The outcome depends on nothing but the task and where its prop stands, so it is computed once.
"""

from __future__ import annotations

import copy
import functools
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from mjx_metaworld.build.machine import cpu_cores, versions
from mjx_metaworld.build.readings import read_frame, read_point, read_skeleton, read_tcp
from mjx_metaworld.build.shipped import read_shipped
from mjx_metaworld.processes.cache import digest_of, read_arrays, write_arrays
from mjx_metaworld.scenes.bodies import BodyMap, map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene, scene_content
from mjx_metaworld.tasks.spec import Settled, TaskSpec

_FORMAT = 2  # raise it whenever this file computes something else
_CONTROL_STEPS = 50
_SUBSTEPS = 5
_MOCAP_QUAT = (1.0, 0.0, 1.0, 0.0)
_OPEN_GRIPPER = (-1.0, 1.0)


def settle(spec: TaskSpec, prop_positions: np.ndarray | None = None, *, keep: bool = True) -> Settled:
    """Let the hand of a task come to rest, or read the outcome from the cache.

    Args:
        spec: the task.
        prop_positions: (n, 3) places of the scene's prop to settle with; by default the one in the scene file. Only
            tasks with `settles_against_prop` come out differently for different places.
        keep: look into the cache, and write into it. Without, the scene is kept in memory for the next time.

    Returns:
        Settled states, float64 numpy leaves with a leading axis n (1 by default).
    """
    name = _cache_name(spec, prop_positions) if keep else ""
    settled = _read(name) if keep else None
    if settled is None:
        model = load_scene(spec.scene_spec) if keep else _kept_scene(spec.scene_spec)
        if prop_positions is None:
            prop = spec.scene_spec.prop
            prop_positions = np.zeros((1, 3)) if prop is None else np.array(model.body(prop).pos)[None]
        runs = _simulate_all(model, spec, prop_positions)
        settled = Settled(**{name: np.stack([getattr(run, name) for run in runs]) for name in _fields()})
        if keep:
            write_arrays(name, {field: getattr(settled, field) for field in _fields()})
    return settled


@functools.lru_cache(maxsize=16)  # 20 MB each; those of the nine tasks are eight
def _kept_scene(scene: SceneSpec) -> mujoco.MjModel:
    return load_scene(scene)


def _simulate_all(model: mujoco.MjModel, spec: TaskSpec, prop_positions: np.ndarray) -> list[Settled]:
    """One simulation a place of the prop, over threads: MuJoCo releases the interpreter while it steps."""
    bodies = map_bodies(model, spec.scene_spec.prop)
    threads = min(cpu_cores(), len(prop_positions))

    def simulate_share(first: int) -> list[Settled]:
        own_model = copy.copy(model)
        return [_simulate(own_model, bodies, spec, position) for position in prop_positions[first::threads]]

    runs: list[Settled] = [None] * len(prop_positions)  # type: ignore[list-item]
    with ThreadPoolExecutor(threads) as pool:
        for first, share in enumerate(pool.map(simulate_share, range(threads))):
            runs[first::threads] = share
    return runs


def _simulate(model: mujoco.MjModel, bodies: BodyMap, spec: TaskSpec, prop_pos: np.ndarray) -> Settled:
    """The reference's `_reset_hand` in a fresh simulation of the original scene."""
    prop = spec.scene_spec.prop
    if prop is not None:
        model.body(prop).pos = prop_pos
    data = mujoco.MjData(model)
    for _ in range(_CONTROL_STEPS):
        data.mocap_pos[0] = spec.hand_init
        data.mocap_quat[0] = _MOCAP_QUAT
        data.ctrl[:] = _OPEN_GRIPPER
        mujoco.mj_step(model, data, nstep=_SUBSTEPS)
    tcp = read_tcp(data)
    if spec.extra_substeps:
        mujoco.mj_step(model, data, nstep=spec.extra_substeps)
    state = read_skeleton(data, bodies)
    return Settled(
        qpos=state.qpos,
        qvel=state.qvel,
        qacc_warmstart=state.qacc_warmstart,
        prop_pos=prop_pos,
        tcp=tcp,
        frame=read_frame(data, spec),
        points=np.array([read_point(data, point) for point in spec.points]).reshape(-1, 3),
    )


# --- the cache ---


def _fields() -> tuple[str, ...]:
    return tuple(Settled.__dataclass_fields__)


def _cache_name(spec: TaskSpec, prop_positions: np.ndarray | None) -> str:
    """Name of the cached outcome: it tells versions and task, and by a digest all else that it depends on."""
    scene = spec.scene_spec
    described = scene if scene.own is None else (scene_content(load_scene(scene)), scene.prop)
    places = b"" if prop_positions is None else np.ascontiguousarray(prop_positions, float).tobytes()
    digest = digest_of(described, spec.hand_init, spec.extra_substeps, spec.objects, spec.points, _fields(), places)
    folder = f"settle{_FORMAT}-metaworld{versions('metaworld')['metaworld']}-mujoco{mujoco.__version__}"
    return f"{folder}/{spec.name}-{digest}"


def _read(name: str) -> Settled | None:
    """The outcome that came with the package or is in the cache; None where there is none."""
    arrays = read_shipped(name) or read_arrays(name)
    return Settled(**arrays) if arrays is not None and set(arrays) == set(_fields()) else None
