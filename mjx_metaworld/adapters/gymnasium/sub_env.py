"""Sub-environments of a batch as gymnasium users know them: a task, its goals, and the choice of the next one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.utils import seeding
from metaworld import env_dict

from mjx_metaworld.physics.checks import check_boolean, check_integer
from mjx_metaworld.tasks import TaskSpec

TaskSelect = Literal["random", "pseudorandom"]
_SETTABLE = ("terminate_on_success", "sample_tasks_on_reset", "update_running_mean")


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
        by_name = dict(checkpoints)
        if self.env_id not in by_name:
            raise ValueError(f"no checkpoint of {self.env_id!r}, only of {', '.join(by_name)}")
        checkpoint = by_name[self.env_id]
        try:
            _check_checkpoint(checkpoint, self)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"this is no checkpoint of {self.env_id!r}: {reason}") from error
        self.goals = np.array(checkpoint["goals"])
        self._order = list(checkpoint["order"])
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


def _check_checkpoint(checkpoint: dict[str, Any], sub_env: SubEnv) -> None:
    """Check that each part of a checkpoint is what a sub-environment can take up."""
    goals = np.array(checkpoint["goals"], float)
    if goals.ndim != 2 or not len(goals) or goals.shape[1:] != sub_env.goals.shape[1:] or not np.isfinite(goals).all():
        raise ValueError(f"goals must be finite numbers of shape (n, {sub_env.goals.shape[1]}), got {goals.shape}")
    if sorted(checkpoint["order"]) != list(range(len(goals))):
        raise ValueError(f"order must hold each number below {len(goals)} once, got {checkpoint['order']}")
    for name in ("position", "current_task_idx"):
        check_integer(name, checkpoint[name], -1, len(goals) - 1)
    check_switch("sample_tasks_on_reset", checkpoint["sample_tasks_on_reset"])
    check_seed(checkpoint["seed"])
    check_integer("restarts", checkpoint["restarts"], 0)
    type(sub_env.np_random.bit_generator)().state = checkpoint["rng_state"]  # raises for what is none


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
