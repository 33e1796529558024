"""Tasks and scenes from outside the package, checked before anything is built of them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjx_metaworld.inputs.faults import described, place_of
from mjx_metaworld.physics.model import FREE_DOFS, FREE_QPOS, NQ, NV, PART_DOFS, PART_QPOS
from mjx_metaworld.scenes.bodies import find_moving_bodies, part_joint_slots
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.scenes.colliders import MOCAP_HIGH, MOCAP_LOW
from mjx_metaworld.scenes.fit import problems
from mjx_metaworld.suites import no_goal, share_accepted
from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.registry import find_task, is_built_in
from mjx_metaworld.tasks.spec import Placement, Settled, TaskSpec

_KINDS = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "joint": mujoco.mjtObj.mjOBJ_JOINT,
}


GOAL_DRAWS = 64  # goal vectors that a reset draws at once, to take the first that the task accepts
_ROUNDING = 1e-6  # m, of a goal at the very bound in float32
_RARE = 1e-6  # probability of a reset that accepts none; metaworld's pickiest task is far below


class _Placed(NamedTuple):
    """Results of `place` at a goal vector, from two settled states that have no number in common, and from a third."""

    vector: tuple[float, ...]
    goals: np.ndarray  # (2, 3)
    props: np.ndarray  # (2, 3)
    moved: np.ndarray  # (19,) bool, the positions that it set, or whose velocities


class _Tried(NamedTuple):
    """A task, and what its `place` does at either bound of the goal vector."""

    spec: TaskSpec
    placed: list[_Placed]
    faults: list[str]  # of `place`, at most one


def check_tasks(specs: Sequence[TaskSpec]) -> None:
    """Refuse what does not fit among tasks that are not this package's.

    Raises:
        ValueError: with all that is wrong, scene by scene and task by task.
    """
    tried = [_try_place(spec) for spec in specs if not is_built_in(spec)]
    wrong = []
    for scene in dict.fromkeys(task.spec.scene_spec for task in tried):
        wrong += _wrong_in_scene(scene, [task for task in tried if task.spec.scene_spec == scene])
    if wrong:
        raise ValueError("\n".join(wrong))
    for task in tried:
        _check_separation(task.spec)
        _warn_of_clipped_goals(task)


def _wrong_in_scene(scene: SceneSpec, tasks: Sequence[_Tried]) -> list[str]:
    if scene.own is not None:
        try:
            lines = list(problems(load_scene(scene), scene.prop))
        except ValueError as error:
            return [str(error)]
        if lines:
            return [f"the scene {scene.file} does not fit:" + "".join(f"\n- {line}" for line in lines)]
    model = load_scene(scene)
    found = {task.spec.name: list(_problems(task, model)) for task in tasks}
    return [f"the task {name!r} does not fit:\n- " + "\n- ".join(lines) for name, lines in found.items() if lines]


def _problems(task: _Tried, model: mujoco.MjModel) -> Iterator[str]:
    spec = task.spec
    places = [observed.position for observed in spec.objects] + list(spec.points)
    named = [(place.kind, place.name) for place in places]
    named += [(o.orientation.kind, o.orientation.name) for o in spec.objects if o.orientation.kind is not None]
    if spec.main_geom is not None:
        named.append(("geom", spec.main_geom))
    for kind, name in dict.fromkeys(named):
        if kind not in _KINDS:
            yield f"a place is of kind {', '.join(_KINDS)}, got {kind!r}"
        elif name is None or mujoco.mj_name2id(model, _KINDS[kind], name) < 0:
            yield f"scene {spec.scene_name} has no {kind} {name!r}; it has {', '.join(_names(model, kind))}"
    if (np.array(spec.hand_low) < MOCAP_LOW).any() or (np.array(spec.hand_high) > MOCAP_HIGH).any():
        yield (
            f"hand_low and hand_high must lie within {MOCAP_LOW.tolist()} and {MOCAP_HIGH.tolist()}, beyond which the "
            f"hand's contacts are not computed; got {spec.hand_low} and {spec.hand_high}"
        )
    if spec.settles_against_prop and spec.scene_spec.prop is None:
        yield "settles_against_prop needs a scene with a prop"
    if isinstance(spec.expert, str):  # the task may be declared later than the one that names it
        try:
            find_task(spec.expert)
        except ValueError as error:
            yield f"expert must be a function (obs,) -> action, a task's name or None: {error}"
    yield from task.faults
    moves_prop = any(not np.array_equal(placed.props, [[0.0] * 3, [1.0] * 3]) for placed in task.placed)
    if spec.scene_spec.prop is None and moves_prop:
        yield "place moves the prop (put_prop), and the scene names none: SceneSpec(..., prop=body)"
    yield from _moved_what_is_not_there(task, model)


def _moved_what_is_not_there(task: _Tried, model: mujoco.MjModel) -> Iterator[str]:
    moved = np.any([placed.moved for placed in task.placed], axis=0) if task.placed else np.zeros(NQ, bool)
    bodies, scene = find_moving_bodies(model), task.spec.scene_name
    if bodies.free is None and moved[FREE_QPOS].any():
        yield f"place moves the free body (put_free_body), and scene {scene} has none"
    rows = () if bodies.part is None else tuple(row for _, row in part_joint_slots(model, bodies.part))
    wrong = [int(row) for row in np.flatnonzero(moved[PART_QPOS]) if row not in rows]
    if wrong:
        has = f"joints in the rows {list(rows)}" if rows else "no fixture that moves"
        yield f"place sets the joints in the rows {wrong} (set_part_joint), and scene {scene} has {has}"


def _warn_of_clipped_goals(task: _Tried) -> None:
    """Warn where goals are observed elsewhere than they are, as the reference does it in some tasks."""
    spec = task.spec
    low, high = (np.array(bound, np.float32) for bound in (spec.goal_low, spec.goal_high))
    for vector, (goal, other), *_ in task.placed:
        told = (goal == other) & np.isfinite(goal)  # by the vector alone, and not by what has settled
        if (told & ((goal < low - _ROUNDING) | (goal > high + _ROUNDING))).any():
            warnings.warn(
                f"task {spec.name!r}: at the goal vector {vector} the goal is {[round(float(x), 4) for x in goal]}, "
                f"which is observed as the nearest place within goal_low {spec.goal_low} and goal_high "
                f"{spec.goal_high}; widen these, unless that is meant",
                UserWarning,
                stacklevel=2,
            )
            return


def _check_separation(spec: TaskSpec) -> None:
    """Refuse a task that accepts no goal; warn of one that accepts so few that a reset may draw none of them.

    Raises:
        ValueError: for a task that accepts none.
    """
    share = share_accepted(spec)
    if share == 0.0:
        raise ValueError(no_goal(spec))
    missed = (1.0 - share) ** GOAL_DRAWS
    if missed > _RARE:
        warnings.warn(
            f"task {spec.name!r} accepts {share:.2g} of the goal vectors within its bounds: of the {GOAL_DRAWS} that a "
            f"reset draws it accepts none with probability {missed:.2g}, and the reset takes one that is closer than "
            f"min_separation {spec.min_separation}; lower that, or widen rand_low and rand_high",
            UserWarning,
            stacklevel=2,
        )


def _try_place(spec: TaskSpec) -> _Tried:
    placed = []
    for vector in (spec.rand_low, spec.rand_high):
        try:
            with jax.ensure_compile_time_eval():  # an environment may be built inside a function that is being traced
                place = functools.partial(placer(spec), jnp.asarray(vector, jnp.float32))
                both = [place(_settled(spec, fill)) for fill in (0.0, 1.0)]
                scattered = _scattered(spec)
                third = place(scattered)
        except Exception as error:  # a user's code may raise anything
            where = place_of(error, {spec.place.__module__.partition(".")[0]})
            return _Tried(spec, placed, [f"place fails at the goal vector {vector}: {described(error)}{where}"])
        for field in fields(third):
            if not np.isfinite(value := np.asarray(getattr(third, field.name))).all():
                fault = f"place gives {field.name} {value.tolist()} at the goal vector {vector}; it must be finite"
                return _Tried(spec, placed, [fault])
        goals, props = np.array([p.goal for p in both]), np.array([p.prop_pos for p in both])
        placed.append(_Placed(vector, goals, props, _moved(scattered, third)))
    return _Tried(spec, placed, [])


def _moved(settled: Settled, placement: Placement) -> np.ndarray:
    """The positions (19,) that a placement has set, or whose velocities."""
    moved = np.asarray(settled.qpos) != np.asarray(placement.qpos)
    stopped = np.asarray(settled.qvel) != np.asarray(placement.qvel)
    moved[FREE_QPOS] |= stopped[FREE_DOFS].any()
    moved[PART_QPOS] |= stopped[PART_DOFS]
    return moved


def _scattered(spec: TaskSpec) -> Settled:
    """A state without two equal numbers, so that a task may divide by distances in it."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(random.uniform(0.1, 0.9, x.shape), x.dtype), _settled(spec, 0.0))


def _settled(spec: TaskSpec, fill: float) -> Settled:
    """A state of which every number is the same."""
    shapes = {"qpos": NQ, "qvel": NV, "qacc_warmstart": NV, "prop_pos": 3, "tcp": 3, "frame": 18}
    points = jnp.full((max(1, len(spec.points)), 3), fill)
    return Settled(**{name: jnp.full(size, fill) for name, size in shapes.items()}, points=points)


def _names(model: mujoco.MjModel, kind: str) -> list[str]:
    count = {"body": model.nbody, "site": model.nsite, "geom": model.ngeom, "joint": model.njnt}[kind]
    names = (mujoco.mj_id2name(model, _KINDS[kind], i) for i in range(count))
    return [name for name in names if name]
