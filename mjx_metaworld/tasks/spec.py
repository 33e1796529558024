"""Declaration of a task: frozen data plus two pure functions, `place` and `reward`.

A task sees physical quantities only, never the physics: `place` turns a goal vector into the state that an episode
starts from, `reward` (and `reward_v1`) turns `RewardInputs` into a `RewardOutput`. Shapes are those of one environment.

The reference throughout is metaworld 3.1.1. Its `init_left_pad` and `init_right_pad` need no field here: they are
views of `mjData.xpos`, so at every step they equal the current pads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from mjx_metaworld.inputs.checks import real_array
from mjx_metaworld.observation import GRIPPER, HAND, OBJECT, OBJECT_QUAT, OBJECT_Z, SECOND_OBJECT
from mjx_metaworld.physics.checks import as_integer, as_numbers, check_boolean
from mjx_metaworld.physics.copies import reduce_to_itself
from mjx_metaworld.physics.model import NQ, NV
from mjx_metaworld.scenes.catalog import SceneSpec, find_scene
from mjx_metaworld.types import Metrics

Vec3 = tuple[float, float, float]

ACTION_SCALE = 1.0 / 100.0  # metres that the mocap moves per unit of action, in every task
HAND_LOW: Vec3 = (-0.5, 0.40, 0.05)  # bounds of the mocap in most tasks
HAND_HIGH: Vec3 = (0.5, 1.0, 0.5)


def float32(x: float, y: float, z: float) -> Vec3:
    """A place that the reference stores in single precision, to the last bit."""
    return float(np.float32(x)), float(np.float32(y)), float(np.float32(z))


class Point(NamedTuple):
    """A place in the original scene: a body's, site's or geom's origin plus an offset in world axes.

    For a joint it is the place `local` in the frame of the body that it moves, which may be unnamed.
    """

    kind: Literal["body", "site", "geom", "joint"]
    name: str
    offset: Vec3 = (0.0, 0.0, 0.0)
    local: Vec3 = (0.0, 0.0, 0.0)  # of joints only


class Orientation(NamedTuple):
    """Convention by which the reference observes an object's orientation.

    `wxyz` is a body's `xquat`; `xyzw` is scipy's quaternion of the frame's rotation matrix; `identity` and `zero` are
    the constants (1, 0, 0, 0) and (0, 0, 0, 0), which name no frame.
    """

    convention: Literal["zero", "identity", "wxyz", "xyzw"]
    kind: Literal["body", "site", "geom"] | None = None
    name: str | None = None


UNOBSERVED = Orientation("zero")


class Observed(NamedTuple):
    """One of the at most two objects in the observation."""

    position: Point
    orientation: Orientation = UNOBSERVED


class Settled(struct.PyTreeNode):
    """The end of the reference's `_reset_hand`, before the task places its objects.

    `qpos` and `qvel` are the state proper. Everything measured is as `mjData` holds it at that moment, which is one
    substep behind `qpos`; the reference reads it so.
    """

    qpos: Float[Array, "19"]  # positions of the skeleton's joints
    qvel: Float[Array, "18"]  # velocities of its degrees of freedom
    qacc_warmstart: Float[Array, "18"]  # where the solver starts
    prop_pos: Float[Array, "3"]  # where the prop stood while the hand settled
    tcp: Float[Array, "3"]  # the reference's init_tcp
    frame: Float[Array, "18"]  # the observed frame: hand, gripper opening, objects
    points: Float[Array, "points 3"]  # the task's points

    @property
    def object_height(self) -> Float[Array, ""]:
        """Observed height of the first object."""
        return self.frame[OBJECT_Z]


class Placement(struct.PyTreeNode):
    """The state that an episode starts from, and what the reference remembers of it."""

    qpos: Float[Array, "19"]  # positions of the skeleton's joints
    qvel: Float[Array, "18"]  # velocities of its degrees of freedom
    prop_pos: Float[Array, "3"]  # where the prop stands
    goal: Float[Array, "3"]  # the reference's _target_pos
    object_init: Float[Array, "3"]  # the reference's obj_init_pos
    points_init: Float[Array, "points 3"]  # the task's points as the reference remembers them


class RewardInputs(struct.PyTreeNode):
    """The physical quantities of one transition, after the control step's final `mj_forward`."""

    obs: Float[Array, "39"]  # clipped to the observation bounds, as the reference passes it
    action: Float[Array, "4"]  # the caller's, unclipped
    tcp: Float[Array, "3"]  # midpoint of the finger tips
    left_tip: Float[Array, "3"]  # left finger tip
    left_pad: Float[Array, "3"]  # left finger's pad
    right_pad: Float[Array, "3"]  # right finger's pad
    points: Float[Array, "points 3"]  # the places named by the task's `points`, now
    part_qpos: Float[Array, "3"]  # the fixture's joints: slide, slide, hinge
    touching: Bool[Array, ""]  # both pads press on the main object
    goal: Float[Array, "3"]  # as `place` set it, not clipped
    object_init: Float[Array, "3"]  # as `place` set it
    tcp_init: Float[Array, "3"]  # `tcp` after the hand had settled
    points_init: Float[Array, "points 3"]  # as `place` left them
    first_distance: Float[Array, ""]  # of the object from the goal, after the episode's first step

    @property
    def hand(self) -> Float[Array, "3"]:
        """Observed position of the body `hand`."""
        return self.obs[HAND]

    @property
    def opening(self) -> Float[Array, ""]:
        """Observed gripper opening, 0 (closed) to 1."""
        return self.obs[GRIPPER]

    @property
    def object(self) -> Float[Array, "3"]:
        """Observed position of the first object."""
        return self.obs[OBJECT]

    @property
    def object_quat(self) -> Float[Array, "4"]:
        """Observed orientation of the first object, by its own convention."""
        return self.obs[OBJECT_QUAT]

    @property
    def second_object(self) -> Float[Array, "3"]:
        """Observed position of the second object."""
        return self.obs[SECOND_OBJECT]


class RewardOutput(struct.PyTreeNode):
    """A task's reward and what the reference reports beside it; truth values may be booleans."""

    reward: Array
    success: Array
    near_object: Array
    grasp_success: Array
    grasp_reward: Array
    in_place_reward: Array
    obj_to_target: Array

    def metrics(self, dtype: Any = None) -> Metrics:
        """The reference's seven info entries, all in one dtype, by default the reward's."""
        reward = jnp.asarray(self.reward, dtype)
        dtype = reward.dtype
        return Metrics(
            success=jnp.asarray(self.success, dtype),
            near_object=jnp.asarray(self.near_object, dtype),
            grasp_success=jnp.asarray(self.grasp_success, dtype),
            grasp_reward=jnp.asarray(self.grasp_reward, dtype),
            in_place_reward=jnp.asarray(self.in_place_reward, dtype),
            obj_to_target=jnp.asarray(self.obj_to_target, dtype),
            unscaled_reward=reward,
        )


class Separation(struct.PyTreeNode):
    """Least distance in xy between two places of a goal vector, which the reference draws again where it is less."""

    square: Float[Array, ""]  # of the distance, m²; 0 accepts every goal vector
    holds_both: Float[Array, ""]  # 1 where entries 3 and 4 are the second place, 0 where that is fixed
    second: Float[Array, "2"]  # the second place where it is fixed, else zero; m

    def accepts(
        self, rand_vec: Float[Array | np.ndarray, "*draws rand"]
    ) -> Bool[Array | np.ndarray, "*draws"] | np.bool_:
        """True where the reference would keep goal vectors, padded or not; both numpy or both JAX."""
        first, both = rand_vec[..., 0:2], rand_vec[..., 3:5]
        if first.shape[-1] < 2:  # no place at all: none that could be apart
            return (0.0 * rand_vec).sum(-1) >= self.square
        second = self.second if both.shape[-1] < 2 else self.holds_both * both + self.second
        apart = first - second
        return (apart * apart).sum(-1) >= self.square


def check_output(task: str, output: object) -> RewardOutput:
    """Refuse what is no output of a reward of one environment.

    Raises:
        TypeError: if it is no `RewardOutput`, with the task's name.
        ValueError: if a field is no real number or has not shape (), with the task's and the field's names.
    """
    if not isinstance(output, RewardOutput):
        raise TypeError(f"the reward of task {task!r} must return a RewardOutput, got {type(output).__name__}")
    for field in fields(output):
        real_array(f"the reward of task {task!r}: {field.name}", getattr(output, field.name), ())
    return output


def check_placement(task: str, placement: object, num_points: int, dtype: Any) -> Placement:
    """Refuse what is no placement in one environment; sequences of numbers become arrays, all of one dtype.

    Shapes and types tell, so that a compiled program holds nothing of it.

    Args:
        task: the name of the task.
        placement: what its `place` returned.
        num_points: of the task.
        dtype: a float's.

    Raises:
        TypeError: if it is no `Placement`, with the task's name.
        ValueError: if a field is none of real numbers or has another shape, with the task's and the field's names.
    """
    if not isinstance(placement, Placement):
        raise TypeError(f"`place` of task {task!r} must return a Placement, got {type(placement).__name__}")
    shapes = {field.name: (3,) for field in fields(placement)}
    shapes |= {"qpos": (NQ,), "qvel": (NV,), "points_init": (num_points, 3)}
    return Placement(
        **{
            name: real_array(f"`place` of task {task!r}: {name}", getattr(placement, name), shape).astype(dtype)
            for name, shape in shapes.items()
        }
    )


Place = Callable[[Array, Settled], Placement]
Reward = Callable[[RewardInputs], RewardOutput]
Script = Callable[[Float[Array, "39"]], Float[Array, "4"]]  # a scripted policy of one task
RewardVersion = Literal["v1", "v2"]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # what file names, gymnasium's ids and command lines all take
_MAX_OBJECTS = 2  # that the observation has room for
_PLACES = ("hand_init", "hand_low", "hand_high", "goal_low", "goal_high")  # fields of three numbers
_NUMBERS = ("rand_low", "rand_high", "separate_from")  # of as many as the goal vector has, or two
# By an orientation's convention, the kinds of frames that it is read of; none where it is a constant.
_FRAMES = {"zero": (), "identity": (), "wxyz": ("body",), "xyzw": ("body", "site", "geom")}


def _is_several(value: object, kind: type) -> bool:
    """True of a tuple or list that holds nothing but values of a type."""
    return isinstance(value, tuple | list) and all(isinstance(item, kind) for item in value)


def _is_vec3(value: object) -> bool:
    return len(as_numbers(value) or ()) == 3


def _is_distance(value: object) -> bool:
    return (as_numbers([value]) or (-1.0,))[0] >= 0.0


@dataclass(frozen=True)
class TaskSpec:
    """A task: its scene, bounds and randomisation, what is observed, and the two functions.

    Raises:
        ValueError: for a field that cannot be right, with the task's name and all that is wrong.
    """

    name: str  # the first argument of `@task`
    description: str  # docstring of the reward function, no argument: what to do, what is randomised, what counts
    scene: str | SceneSpec  # one of metaworld's by the name of its file, or a file of one's own
    hand_init: Vec3  # where the mocap stands while the hand settles
    rand_low: tuple[float, ...]  # bounds of the goal vector, the reference's _random_reset_space
    rand_high: tuple[float, ...]
    goal_low: Vec3  # bounds that clip the observed goal, the reference's goal_space
    goal_high: Vec3
    objects: tuple[Observed, ...]  # the observed objects, at most two
    place: Place  # (rand_vec, Settled) -> Placement: puts the objects at a goal vector
    reward: Reward  # (RewardInputs) -> RewardOutput: the function under `@task`
    reward_v1: Reward | None = None  # the reference's first reward
    points: tuple[Point, ...] = ()  # further places that the task refers to, by position in this tuple
    main_geom: str | None = None  # the geom of `RewardInputs.touching`, None where no reward asks for it
    hand_low: Vec3 = HAND_LOW
    hand_high: Vec3 = HAND_HIGH
    min_separation: float = 0.0  # goal vectors whose two places are closer in xy than this are drawn again
    separate_from: tuple[float, float] | None = None  # the second place where the goal vector holds only one
    stale_reset: bool = False  # the reference observes reset without forwarding what it placed, see `reset_frame`
    extra_substeps: int = 0  # substeps after the hand has settled and `tcp` is read, before anything is placed
    settles_against_prop: bool = False  # the settled state depends on where the prop stands
    goal_site: str | None = "goal"  # the site that marks the goal in pictures; None, or one the scene lacks: no mark
    goal_site_shift: Vec3 | None = None  # puts the mark at this distance from the object's start, not at the goal
    expert: Script | str | None = None  # a scripted policy, or the task whose policy serves; metaworld's are by name
    suites: tuple[str, ...] = ()  # suites of one's own that the task belongs to

    def __hash__(self) -> int:
        return hash(self.name)  # of all fields it takes longer than what it is asked for

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_to_itself(self, type(self), *(getattr(self, field.name) for field in fields(self)))

    def __post_init__(self) -> None:
        wrong = [*self._wrong_names(), *self._wrong_numbers()]
        if wrong:
            raise ValueError(f"task {self.name!r}: " + "; ".join(wrong))
        # As values that compare and hash, whatever sequences were given.
        for name in _PLACES + _NUMBERS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_numbers(value))
        for name in ("objects", "points", "suites"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.goal_site_shift is not None:
            object.__setattr__(self, "goal_site_shift", as_numbers(self.goal_site_shift))
        object.__setattr__(self, "min_separation", float(self.min_separation))
        object.__setattr__(self, "extra_substeps", as_integer(self.extra_substeps))

    def _wrong_names(self) -> list[str]:
        wrong = []
        rewards = {"reward": self.reward, "place": self.place, "reward_v1": self.reward_v1}
        for field, function in rewards.items():
            if not callable(function) and not (field == "reward_v1" and function is None):
                wrong.append(f"{field} must be a function, got {function!r}")
        if not (self.expert is None or isinstance(self.expert, str) or callable(self.expert)):
            wrong.append(f"expert must be a function (obs,) -> action, a task's name or None, got {self.expert!r}")
        if not isinstance(self.goal_site, str | None):
            wrong.append(f"goal_site must be the name of a site or None, got {self.goal_site!r}")
        if not NAME.fullmatch(self.name):
            wrong.append("a name is made of letters, digits, '-', '_' and '.'")
        if not _is_several(self.suites, str) or not all(NAME.fullmatch(suite) for suite in self.suites):
            wrong.append(f"suites must be a tuple of names, got {self.suites!r}")
        if isinstance(self.scene, str | SceneSpec):
            try:
                _ = self.scene_spec
            except ValueError as error:
                wrong.append(str(error))
        else:
            wrong.append(f"scene must be the name of one of metaworld's or SceneSpec(path), got {self.scene!r}")
        return wrong + self._wrong_places()

    def _wrong_places(self) -> list[str]:
        wrong, places = [], []
        for field, kind in (("objects", Observed), ("points", Point)):
            given = getattr(self, field)
            if isinstance(given, kind):  # itself a tuple, of the fields
                name = kind.__name__
                wrong.append(f"{field} must be a tuple of {name}, got one alone: write ({name}(...),), with the comma")
            elif not _is_several(given, kind):
                wrong.append(f"{field} must be a tuple of {kind.__name__}, got {given!r}")
        if wrong:
            return wrong
        if len(self.objects) > _MAX_OBJECTS:
            wrong.append(f"objects must be at most {_MAX_OBJECTS}, got {len(self.objects)}")
        for place, orientation in self.objects:
            if not isinstance(place, Point) or not isinstance(orientation, Orientation):
                wrong.append(f"Observed takes a Point and an Orientation, got {place!r} and {orientation!r}")
                continue
            places.append(place)
            kinds = _FRAMES.get(orientation.convention)
            if kinds is None:
                wrong.append(f"an orientation's convention is {', '.join(_FRAMES)}, got {orientation.convention!r}")
            elif kinds and orientation.kind not in kinds:
                given = f"{orientation.convention!r} is of a {' or '.join(kinds)}, got {orientation.kind!r}"
                wrong.append(f"an orientation {given}")
        for place in (*places, *self.points):
            for part in ("offset", "local"):
                if not _is_vec3(getattr(place, part)):
                    wrong.append(f"a Point's {part} must be three numbers, got {getattr(place, part)!r}")
        return wrong

    def _wrong_numbers(self) -> list[str]:
        wrong = [
            f"{name} must be three numbers, got {getattr(self, name)!r}"
            for name in _PLACES
            if not _is_vec3(getattr(self, name))
        ]
        for name in ("rand_low", "rand_high"):
            if as_numbers(getattr(self, name)) is None:
                wrong.append(f"{name} must be a tuple of finite numbers, got {getattr(self, name)!r}")
        if self.separate_from is not None and len(as_numbers(self.separate_from) or ()) != 2:
            wrong.append(f"separate_from must be two numbers or None, got {self.separate_from!r}")
        if self.goal_site_shift is not None and not _is_vec3(self.goal_site_shift):
            wrong.append(f"goal_site_shift must be three numbers or None, got {self.goal_site_shift!r}")
        if not _is_distance(self.min_separation):
            wrong.append(f"min_separation must be a finite number >= 0, got {self.min_separation!r}")
        if (substeps := as_integer(self.extra_substeps)) is None or substeps < 0:
            wrong.append(f"extra_substeps must be an integer >= 0, got {self.extra_substeps!r}")
        for name in ("stale_reset", "settles_against_prop"):
            try:
                check_boolean(name, getattr(self, name))
            except ValueError as error:
                wrong.append(str(error))
        if wrong:
            return wrong
        for kind in ("rand", "goal", "hand"):
            low, high = getattr(self, f"{kind}_low"), getattr(self, f"{kind}_high")
            if len(low) != len(high) or not all(a <= b for a, b in zip(low, high, strict=True)):
                wrong.append(f"{kind}_low must be as long as {kind}_high and nowhere above it, got {low} and {high}")
        if self.min_separation and len(self.rand_low) < (5 if self.separate_from is None else 2):
            wrong.append("min_separation needs a goal vector of two places, or of one and separate_from")
        return wrong

    def reward_of(self, version: RewardVersion) -> Reward:
        """The reward function that the reference selects by `reward_function_version`.

        Raises:
            ValueError: if the task has none of that version.
        """
        reward = self.reward if version == "v2" else self.reward_v1
        if reward is None:
            raise ValueError(f"task {self.name!r} has no reward of version {version!r}; declare it with reward_v1=...")
        return reward

    @property
    def scene_spec(self) -> SceneSpec:
        """The scene's file and prop."""
        return self.scene if isinstance(self.scene, SceneSpec) else find_scene(self.scene)

    @property
    def scene_name(self) -> str:
        """The name of the scene's file, without folder and suffix."""
        return self.scene_spec.name

    def accepts(self, rand_vec: Array | np.ndarray) -> Array | np.ndarray | np.bool_ | bool:
        """True if the reference would keep this goal vector `(rand,)` (numpy or JAX), not draw another."""
        return self.separation.accepts(rand_vec)

    @property
    def separation(self) -> Separation:
        """`min_separation` and `separate_from` as numbers (numpy, float64)."""
        holds_both = self.min_separation > 0.0 and self.separate_from is None
        return Separation(
            square=np.float64(self.min_separation**2),
            holds_both=np.float64(holds_both),
            second=np.asarray(self.separate_from or (0.0, 0.0), float),
        )
