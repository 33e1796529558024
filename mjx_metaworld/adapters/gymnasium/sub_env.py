"""Sub-environments of a batch as gymnasium users know them: a task, its goals, and the choice of the next one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.utils import seeding
from metaworld import env_dict

from mjx_metaworld.physics.checks import as_integer, as_numbers, check_boolean, check_integer
from mjx_metaworld.tasks import TaskSpec

TaskSelect = Literal["random", "pseudorandom"]
UNKNOWN_SEED = -1  # gymnasium's, of a generator that a user has put in place of the seeded one
_SETTABLE = ("terminate_on_success", "sample_tasks_on_reset", "update_running_mean")
_ROUNDING = 1e-6  # by which a goal may be beyond its bounds


class SubEnv:
    """One sub-environment's choice of goals and its switches, under metaworld's names.

    Args:
        spec: the task.
        name: tells sub-environments apart in checkpoints.
        goals: (n, rand) goal vectors to choose from.
        seed: of the choice; None draws one.
        task_select: "random" draws one of the goals at every reset. "pseudorandom" goes through all of them in an order
            that is shuffled every time round, and only when `sample_tasks` is called.
        one_hot_id: place of the one in its one-hot vector; by default the task's among those of the batch.

    Attributes:
        task_name: metaworld's class name of the task, such as "SawyerReachEnvV3"; of a task of one's own its name.
        terminate_on_success: whether a success ends the episode.
        sample_tasks_on_reset: whether a reset chooses a goal anew.
        restarts: number of episodes since the last seed; with the seed it tells what an episode draws beside its goal.
        update_running_mean: whether its statistics, if it normalises by any, go on; False for an evaluation.
    """

    def __init__(
        self,
        spec: TaskSpec,
        name: str,
        goals: np.ndarray,
        *,
        seed: int | None,
        task_select: TaskSelect = "random",
        one_hot_id: int | None = None,
    ) -> None:
        if task_select not in get_args(TaskSelect):
            raise ValueError(f"task_select must be one of {', '.join(get_args(TaskSelect))}, got {task_select!r}")
        if goals.ndim != 2 or goals.shape[1] != len(spec.rand_low) or not len(goals):
            raise ValueError(f"goals of {spec.name} must have shape (n, {len(spec.rand_low)}), got {goals.shape}")
        self.spec = spec
        self.env_id = name
        self.one_hot_id = one_hot_id
        reference = env_dict.ALL_V3_ENVIRONMENTS.get(spec.name)
        self.task_name = spec.name if reference is None else reference.__name__
        self.goals = goals
        self.terminate_on_success = False
        self.sample_tasks_on_reset = task_select == "random"
        self.update_running_mean = True
        self.current_task_idx = -1  # into `goals`; -1 before the first choice
        self._order = list(range(len(goals)))
        self._position = -1
        self._pseudorandom = task_select == "pseudorandom"
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Restart the sequence of choices."""
        self.np_random, self.np_random_seed = seeding.np_random(check_seed(seed))
        self.restarts = 0

    def choose(self) -> int:
        """Draw the next goal like the reference's task-select wrappers, from the same generator; its index."""
        if self._pseudorandom:
            self._position = (self._position + 1) % len(self._order)
            if self._position == 0:
                self.np_random.shuffle(self._order)
            self.current_task_idx = self._order[self._position]
        else:
            self.current_task_idx = int(self.np_random.choice(len(self.goals)))
        return self.current_task_idx

    def choose_for_reset(self) -> int:
        """The goal of an episode that starts now."""
        return self.choose() if self.sample_tasks_on_reset or self.current_task_idx < 0 else self.current_task_idx

    # --- what metaworld calls by name ---

    def toggle_terminate_on_success(self, on: bool) -> None:
        """Let a success end the episode, or not.

        Raises:
            ValueError: if `on` is neither True nor False.
        """
        self.terminate_on_success = check_switch("terminate_on_success", on)

    def toggle_sample_tasks_on_reset(self, on: bool) -> None:
        """Let a reset choose a goal anew, or keep the last one.

        Raises:
            ValueError: if `on` is neither True nor False.
        """
        self.sample_tasks_on_reset = check_switch("sample_tasks_on_reset", on)

    def get_checkpoint(self) -> tuple[str, dict[str, Any]]:
        """The sub-environment's name, and its goals and the state of its choice as values that JSON can hold."""
        return self.env_id, {
            "goals": self.goals.tolist(),
            "order": list(self._order),
            "position": self._position,
            "current_task_idx": self.current_task_idx,
            "sample_tasks_on_reset": self.sample_tasks_on_reset,
            "rng_state": self.np_random.bit_generator.state,
            "seed": self.np_random_seed,
            "restarts": self.restarts,
        }

    def load_checkpoint(self, checkpoints: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Take up this sub-environment's entry among those of all, from the next reset on.

        Raises:
            ValueError: if it has none, or one that `get_checkpoint` did not make; then nothing changes.
        """
        load_checkpoints([self], checkpoints)

    def _take_up(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a checkpoint that has been checked."""
        self.goals = checkpoint["goals"]
        self._order = checkpoint["order"]
        self._position = checkpoint["position"]
        self.current_task_idx = checkpoint["current_task_idx"]
        self.sample_tasks_on_reset = checkpoint["sample_tasks_on_reset"]
        self.np_random.bit_generator.state = checkpoint["rng_state"]
        self.np_random_seed, self.restarts = checkpoint["seed"], checkpoint["restarts"]

    # --- by name ---

    def invoke(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Read an attribute, or call a method, of this name.

        Raises:
            AttributeError: if there is none; it lists those that there are.
        """
        if name.startswith("_") or not hasattr(self, name):
            known = ", ".join(key for key, _ in inspect.getmembers(self) if not key.startswith("_"))
            raise AttributeError(f"sub-environments have no {name!r}; they have {known}")
        value = getattr(self, name)
        return value(*args, **kwargs) if callable(value) else value


def load_checkpoints(lanes: Sequence[SubEnv], checkpoints: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Let each sub-environment take up its entry; all of them are checked before any does.

    Raises:
        ValueError: if one has none, or one that `get_checkpoint` did not make; then nothing changes.
    """
    try:
        by_name = dict(checkpoints)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"checkpoints must be a list of what get_checkpoint gives, (name, checkpoint), got {checkpoints!r}"
        ) from error
    checked = [_own_checkpoint(lane, by_name) for lane in lanes]
    for lane, checkpoint in zip(lanes, checked, strict=True):
        lane._take_up(checkpoint)


def _own_checkpoint(lane: SubEnv, by_name: Mapping[str, Any]) -> dict[str, Any]:
    """A sub-environment's entry among those of all, as it is kept."""
    if lane.env_id not in by_name:
        raise ValueError(f"no checkpoint of {lane.env_id!r}, only of {', '.join(map(str, by_name))}")
    try:
        return _checked_checkpoint(by_name[lane.env_id], lane)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"this is no checkpoint of {lane.env_id!r}: {reason}") from error


def _checked_checkpoint(checkpoint: Any, lane: SubEnv) -> dict[str, Any]:
    """A checkpoint whose parts are all what a sub-environment can take up."""
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"it must be a dict, got {checkpoint!r}")
    goals = _checked_goals(checkpoint["goals"], lane)
    last = len(goals) - 1
    type(lane.np_random.bit_generator)().state = checkpoint["rng_state"]  # raises for what is none
    return {
        "goals": goals,
        "order": _checked_order(checkpoint["order"], len(goals)),
        "position": check_integer("position", checkpoint["position"], -1, last),
        "current_task_idx": check_integer("current_task_idx", checkpoint["current_task_idx"], -1, last),
        "sample_tasks_on_reset": check_switch("sample_tasks_on_reset", checkpoint["sample_tasks_on_reset"]),
        "rng_state": checkpoint["rng_state"],
        "seed": _checked_seed(checkpoint["seed"]),
        "restarts": check_integer("restarts", checkpoint["restarts"], 0),
    }


def _checked_goals(given: Any, lane: SubEnv) -> np.ndarray:
    """Goals (n, rand) of a checkpoint, within the task's bounds; a lane's own may go beyond these."""
    goals = np.asarray(given)
    allowed = f"goals must be finite numbers of shape (n, {lane.goals.shape[1]})"
    if goals.ndim != 2 or not len(goals) or goals.shape[1:] != lane.goals.shape[1:]:
        raise ValueError(f"{allowed}, got {goals.shape}")
    for row in goals:
        if as_numbers(row) is None:
            raise ValueError(f"{allowed}, got {row.tolist()}")
    low = np.minimum(lane.spec.rand_low, lane.goals.min(axis=0))
    high = np.maximum(lane.spec.rand_high, lane.goals.max(axis=0))
    outside = ((goals < low - _ROUNDING) | (goals > high + _ROUNDING)).any(axis=1)
    if outside.any():
        raise ValueError(f"goals must be from {low.tolist()} to {high.tolist()}, got {goals[outside][0].tolist()}")
    return goals.astype(float)


def _checked_order(given: Any, count: int) -> list[int]:
    """Order in which the goals come."""
    if isinstance(given, Sequence | np.ndarray):
        order = [number for entry in given if (number := as_integer(entry)) is not None]
        if len(order) == len(given) and sorted(order) == list(range(count)):
            return order
    raise ValueError(f"order must hold each number below {count} once, got {given!r}")


def _checked_seed(given: Any) -> int:
    """Seed of a sub-environment as it is kept, where gymnasium says -1 if it does not know it."""
    seed = as_integer(given)
    if seed is None or seed < UNKNOWN_SEED:
        raise ValueError(f"seed must be an integer >= 0, or {UNKNOWN_SEED} for an unknown one, got {given!r}")
    return seed


def check_switch(name: str, value: object) -> bool:
    """A switch of a sub-environment as it is kept.

    Raises:
        AttributeError: if none has this name.
        ValueError: if the value is neither True nor False.
    """
    if name not in _SETTABLE:
        raise AttributeError(f"cannot set {name!r} of sub-environments, only {', '.join(_SETTABLE)}")
    return check_boolean(name, value)


def check_seed(seed: object) -> int | None:
    """A seed as an `int`, or None.

    Raises:
        ValueError: if it is negative or no integer.
    """
    return None if seed is None else check_integer("seed", seed, 0)
