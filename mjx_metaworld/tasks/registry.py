"""The registry of tasks: `@task` declares one by a name, anywhere; whatever takes names finds it from then on."""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from mjx_metaworld.scenes.catalog import SceneSpec
from mjx_metaworld.tasks.spec import NAME, Observed, Place, Point, Reward, Script, TaskSpec, Vec3

# Names that mean something else to the command line or to the gymnasium adapter.
RESERVED = ("all", "MT1", "ML1", "ML1-train", "ML1-test")


class Origin(NamedTuple):
    """The code that declared something: the same code run again may declare it again."""

    module: str
    file: str
    function: str

    def is_rerun_of(self, earlier: Origin) -> bool:
        """True for the same function of the same module or file; a notebook's cells differ in their files."""
        return self.function == earlier.function and (self.module == earlier.module or self.file == earlier.file)


_tasks: dict[str, TaskSpec] = {}
_origins: dict[str, Origin] = {}
_listeners: list[Callable[[], None]] = []
_suites: set[str] = set()  # names of suites with a list of tasks
_NOT_GIVEN: Any = object()  # the other task's with `like`, else the default


def task(
    name: str,
    *,
    like: str | TaskSpec | None = None,
    scene: str | SceneSpec = _NOT_GIVEN,
    hand_init: Vec3 = _NOT_GIVEN,
    rand_low: tuple[float, ...] = _NOT_GIVEN,
    rand_high: tuple[float, ...] = _NOT_GIVEN,
    goal_low: Vec3 = _NOT_GIVEN,
    goal_high: Vec3 = _NOT_GIVEN,
    objects: tuple[Observed, ...] = _NOT_GIVEN,
    place: Place = _NOT_GIVEN,
    reward_v1: Reward | None = None,
    points: tuple[Point, ...] = _NOT_GIVEN,
    main_geom: str | None = _NOT_GIVEN,
    hand_low: Vec3 = _NOT_GIVEN,
    hand_high: Vec3 = _NOT_GIVEN,
    min_separation: float = _NOT_GIVEN,
    separate_from: tuple[float, float] | None = _NOT_GIVEN,
    stale_reset: bool = _NOT_GIVEN,
    extra_substeps: int = _NOT_GIVEN,
    settles_against_prop: bool = _NOT_GIVEN,
    goal_site: str | None = _NOT_GIVEN,
    goal_site_shift: Vec3 | None = _NOT_GIVEN,
    expert: Script | str | None = _NOT_GIVEN,
    suites: tuple[str, ...] = (),
) -> Callable[[Reward], Reward]:
    """Register a reward function, with the other fields of its `TaskSpec`, under a task name.

    The task can be made by its name at once. Running the same code again, as a notebook does, replaces the task;
    environments that were made before keep the old one.

    Args:
        name: of the task.
        like: a task, or its name, whose fields stand for those that are not given, and whose scripted policy serves.
            The rewards and `suites` are not taken over. Without it all fields of `TaskSpec` that have no default must
            be given.
        scene: this and all below are the fields of `TaskSpec`.
        hand_init: where the mocap stands while the hand settles.
        rand_low: lower bounds of the goal vector.
        rand_high: its upper bounds.
        goal_low: lower bounds that clip the observed goal.
        goal_high: its upper bounds.
        objects: what is observed, at most two.
        place: puts the objects at a goal vector.
        reward_v1: what `reward_version="v1"` selects.
        points: further places that the reward reads.
        main_geom: the geom of `RewardInputs.touching`.
        hand_low: lower bounds of the mocap.
        hand_high: its upper bounds.
        min_separation: smallest distance in xy of the goal vector's two places.
        separate_from: the second place, where the goal vector holds one.
        stale_reset: observe the reset as it was before the objects were placed.
        extra_substeps: simulated after the hand has settled.
        settles_against_prop: settle the hand anew for every place of the prop.
        goal_site: the site that marks the goal in pictures, None for no mark; with a `scene` "goal" by default.
        goal_site_shift: where the mark stands from where the object began, instead of at the goal.
        expert: a scripted policy `(obs,) -> action`, or the name of the task whose policy serves; None for none, also
            with `like`.
        suites: suites of one's own that the task joins.

    Raises:
        ValueError: if the name is taken, a field is missing, or one cannot be right.
        TypeError: if the name is no string, as where `@task` stands without parentheses.
    """
    if not isinstance(name, str):
        bare = inspect.isfunction(name)
        got = f"@task stands above {name.__qualname__} without parentheses" if bare else f"got {name!r}"
        raise TypeError(f'a task is declared with its name, a string, as in @task("my-task", ...); {got}')
    given = {key: value for key, value in locals().items() if value is not _NOT_GIVEN and key != "like"}
    caller = sys._getframe(1)
    module, file = str(caller.f_globals.get("__name__")), caller.f_code.co_filename

    def register(reward: Reward) -> Reward:
        base = find_task(like) if isinstance(like, str) else like
        inherited = {} if base is None else {field.name: getattr(base, field.name) for field in fields(TaskSpec)}
        if base is not None and base.expert is None and base.name in _tasks:
            inherited["expert"] = base.name  # metaworld's scripted policies are found by the task's name
        if "scene" in given:  # whose sites are others: the mark is "goal" unless it is said
            inherited = {key: value for key, value in inherited.items() if not key.startswith("goal_site")}
        # A partial's own docstring is its class's.
        described = "" if isinstance(reward, functools.partial) else " ".join((reward.__doc__ or "").split())
        description = described or inherited.get("description", "")
        values = inherited | given | {"reward": reward, "description": description}
        missing = [field.name for field in fields(TaskSpec) if field.default is MISSING and field.name not in values]
        if missing:
            raise ValueError(f"task {name!r} lacks the fields {', '.join(missing)}")
        _declare(TaskSpec(**values), Origin(module, file, getattr(reward, "__qualname__", "")))
        return reward

    return register


def _declare(spec: TaskSpec, origin: Origin) -> None:
    _check_name(spec.name, "task")
    if spec.name in _suites or spec.name in tags():
        raise ValueError(f"task {spec.name!r}: a suite has this name")
    for suite in spec.suites:
        _check_name(suite, "suite")
        if suite in _suites:
            raise ValueError(f"task {spec.name!r} cannot join {suite!r}, whose tasks are listed where it is declared")
        if suite in _tasks or suite == spec.name:
            raise ValueError(f"task {spec.name!r} cannot join {suite!r}: a task has this name")
    earlier = _origins.get(spec.name)
    if earlier is not None and not origin.is_rerun_of(earlier):
        raise ValueError(
            f"task {spec.name!r} is declared twice: by {earlier.function} ({earlier.file}) and by {origin.function} "
            f"({origin.file}). Only the same function of the same file may declare it again"
        )
    _tasks[spec.name], _origins[spec.name] = spec, origin
    announce()


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: a name is made of letters, digits, '-', '_' and '.'")
    if name in RESERVED:
        raise ValueError(f"{what} {name!r}: the name has another meaning; reserved are {', '.join(RESERVED)}")


def take_suite_name(name: str) -> None:
    """Keep a name for a suite.

    Raises:
        ValueError: if a task or a suite by tags has it, or it is none.
    """
    _check_name(name, "suite")
    if name in _tasks:
        raise ValueError(f"suite {name!r}: a task has this name")
    if name in tags():
        raise ValueError(f"suite {name!r}: the tasks {', '.join(spec.name for spec in tagged(name))} join it by name")
    _suites.add(name)


def tags() -> tuple[str, ...]:
    """The suites that tasks join by `TaskSpec.suites`, in order of appearance."""
    return tuple(dict.fromkeys(suite for spec in _tasks.values() for suite in spec.suites))


def tagged(suite: str) -> tuple[TaskSpec, ...]:
    """The tasks that join a suite, in order of declaration."""
    return tuple(spec for spec in _tasks.values() if suite in spec.suites)


def registered() -> tuple[TaskSpec, ...]:
    """All declared tasks, in order of declaration."""
    return tuple(_tasks.values())


def is_built_in(spec: TaskSpec) -> bool:
    """True if a task is one that this package declares."""
    return _tasks.get(spec.name) is spec and _origins[spec.name].module.startswith(f"{__package__}.")


def find_task(name: str, others: Iterable[str] = ()) -> TaskSpec:
    """The task of this name.

    Args:
        name: of the task.
        others: names of what else was asked for, to be suggested too.

    Raises:
        ValueError: if there is none, with near matches.
    """
    if name in _tasks:
        return _tasks[name]
    near = difflib.get_close_matches(name, [*_tasks, *others], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(
        f"unknown task or suite {name!r}{hint} See list_tasks() and list_suites(). A file that declares tasks of your "
        "own must be imported first, on the command line by --import FILE.py"
    )


def on_change(listener: Callable[[], None]) -> None:
    """Call a function now and after every declaration of a task or suite."""
    _listeners.append(listener)
    listener()


def announce() -> None:
    """Tell the listeners that the names have changed."""
    for listener in _listeners:
        listener()
