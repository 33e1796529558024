"""Sub-environments of a batch as gymnasium users know them: a task, its goals, and the choice of the next one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.utils import seeding
from metaworld import env_dict

from mjx_metaworld.physics.checks import as_integer
from mjx_metaworld.suites import goals as frozen_goals
from mjx_metaworld.tasks import TaskSpec

TaskSelect = Literal["random", "pseudorandom"]
_SETTABLE = ("terminate_on_success", "sample_tasks_on_reset")


class SubEnv:
    """One sub-environment's choice of goals and its switches, under metaworld's names.

    Args:
        spec: the task.
        name: tells sub-environments apart in checkpoints.
        goals: (n, rand) goal vectors to choose from.
        seed: of the choice; None draws one.
        task_select: "random" draws one of the goals at every reset. "pseudorandom" goes through all of them in an order
            that is shuffled every time round, and only when `sample_tasks` is called.

    Attributes:
        task_name: metaworld's class name of the task, such as "SawyerReachEnvV3"; of a task of one's own its name.
        terminate_on_success: whether a success ends the episode.
        sample_tasks_on_reset: whether a reset chooses a goal anew.
    """

    def __init__(
        self, spec: TaskSpec, name: str, goals: np.ndarray, *, seed: int | None, task_select: TaskSelect = "random"
    ) -> None:
        if task_select not in get_args(TaskSelect):
            raise ValueError(f"task_select must be one of {', '.join(get_args(TaskSelect))}, got {task_select!r}")
        if goals.ndim != 2 or goals.shape[1] != len(spec.rand_low) or not len(goals):
            raise ValueError(f"goals of {spec.name} must have shape (n, {len(spec.rand_low)}), got {goals.shape}")
        self.spec = spec
        self.env_id = name
        reference = env_dict.ALL_V3_ENVIRONMENTS.get(spec.name)
        self.task_name = spec.name if reference is None else reference.__name__
        self.goals = goals
        self.terminate_on_success = False
        self.sample_tasks_on_reset = task_select == "random"
        self.current_task_idx = -1  # into `goals`; -1 before the first choice
        self._order = list(range(len(goals)))
        self._position = -1
        self._pseudorandom = task_select == "pseudorandom"
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Restart the sequence of choices."""
        self.np_random, self.np_random_seed = seeding.np_random(seed)

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
        """Let a success end the episode, or not."""
        self.terminate_on_success = bool(on)

    def toggle_sample_tasks_on_reset(self, on: bool) -> None:
        """Let a reset choose a goal anew, or keep the last one."""
        self.sample_tasks_on_reset = bool(on)

    def get_checkpoint(self) -> tuple[str, dict[str, Any]]:
        """The sub-environment's name, and its goals and the state of its choice as values that JSON can hold."""
        return self.env_id, {
            "goals": self.goals.tolist(),
            "order": list(self._order),
            "position": self._position,
            "current_task_idx": self.current_task_idx,
            "sample_tasks_on_reset": self.sample_tasks_on_reset,
            "rng_state": self.np_random.bit_generator.state,
        }

    def load_checkpoint(self, checkpoints: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Take up this sub-environment's entry among those of all, from the next reset on.

        Raises:
            ValueError: if it has none.
        """
        by_name = dict(checkpoints)
        if self.env_id not in by_name:
            raise ValueError(f"no checkpoint of {self.env_id!r}, only of {', '.join(by_name)}")
        checkpoint = by_name[self.env_id]
        self.goals = np.array(checkpoint["goals"])
        self._order = list(checkpoint["order"])
        self._position = checkpoint["position"]
        self.current_task_idx = checkpoint["current_task_idx"]
        self.sample_tasks_on_reset = checkpoint["sample_tasks_on_reset"]
        self.np_random.bit_generator.state = checkpoint["rng_state"]

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

    def assign(self, name: str, value: Any) -> None:
        """Set one of the switches.

        Raises:
            AttributeError: if it is none.
        """
        if name not in _SETTABLE:
            raise AttributeError(f"cannot set {name!r} of sub-environments, only {', '.join(_SETTABLE)}")
        setattr(self, name, bool(value))


def deal_tasks(
    tasks: Sequence[TaskSpec],
    num_envs: int,
    *,
    seed: int | None,
    goals: Sequence[np.ndarray] | None = None,
    task_select: TaskSelect = "random",
) -> list[SubEnv]:
    """Sub-environments for multi-task learning: tasks round-robin, each with all frozen goals of its task.

    Those of the same task choose differently: the first is seeded with `seed`, as all of metaworld's are, the next
    with `seed + 1`, and so on.

    Args:
        tasks: in the order of the suite.
        num_envs: number of sub-environments; 1 stands for one a task.
        seed: of the frozen goals and of the choice among them.
        goals: (n, rand) goal vectors a task instead of the frozen ones.
        task_select: see `SubEnv`.

    Raises:
        ValueError: if there are fewer sub-environments than tasks, or goals for another number of tasks.
    """
    num_tasks = len(tasks)
    count = as_integer(num_envs)
    if count is None or (count != 1 and count < num_tasks):
        raise ValueError(f"num_envs must be 1 (one environment a task) or at least {num_tasks}, got {num_envs!r}")
    goals = _goals(tasks, seed) if goals is None else goals
    if len(goals) != num_tasks:
        raise ValueError(f"goals must be given for each of the {num_tasks} tasks, got {len(goals)}")
    return [
        SubEnv(
            tasks[i % num_tasks],
            f"{tasks[i % num_tasks].name}_{i}",
            np.asarray(goals[i % num_tasks]),
            seed=None if seed is None else seed + i // num_tasks,
            task_select=task_select,
        )
        for i in range(num_tasks if count == 1 else count)
    ]


def deal_goals(
    tasks: Sequence[TaskSpec],
    meta_batch_size: int,
    *,
    seed: int | None,
    goals_per_task: int | None = None,
    task_select: TaskSelect = "pseudorandom",
) -> list[SubEnv]:
    """Sub-environments for meta-learning, dealt as metaworld does: task by task, and a task's frozen goals to its own.

    Args:
        tasks: in the order of the suite.
        meta_batch_size: number of sub-environments; 1 stands for one a task.
        seed: of the frozen goals and of the choice among them.
        goals_per_task: use only the first so many goals of a task.
        task_select: see `SubEnv`.

    Raises:
        ValueError: if the sub-environments or the goals cannot be dealt evenly.
    """
    num_tasks = len(tasks)
    count = as_integer(meta_batch_size)
    envs_per_task, rest = divmod(num_tasks if count == 1 else count or 0, num_tasks)
    if rest or envs_per_task < 1:
        raise ValueError(f"meta_batch_size must be a multiple of the {num_tasks} tasks, got {meta_batch_size!r}")
    sub_envs = []
    for spec, goals in zip(tasks, _goals(tasks, seed), strict=True):
        used = goals[:goals_per_task]
        if len(used) % envs_per_task:
            raise ValueError(
                f"{len(used)} goals a task cannot be dealt evenly to {envs_per_task} environments; choose another "
                "meta_batch_size or total_tasks_per_cls"
            )
        sub_envs += [
            SubEnv(spec, f"{spec.name}_{share}", used[share::envs_per_task], seed=seed, task_select=task_select)
            for share in range(envs_per_task)
        ]
    return sub_envs


def _goals(tasks: Sequence[TaskSpec], seed: int | None) -> Sequence[np.ndarray]:
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
    return frozen_goals([spec.name for spec in tasks], seed)
