"""Meta-World for gymnasium: `gym.make_vec("mjx-metaworld/MT10", ...)` after importing this module.

Registered are, whether they are declared before or after the import, all suites (multi-task and difficulty suites,
"ML10-train" and so on), all tasks by their names, and "MT1", "ML1-train", "ML1-test", which take `env_name`. The
arguments are those of metaworld's own registrations, so "Meta-World/MT10" becomes "mjx-metaworld/MT10" and nothing else
changes. A task by its name is also a single environment, `gym.make("mjx-metaworld/reach-v3")`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.envs import registration
from gymnasium.vector import AutoresetMode

from mjx_metaworld.adapters.gymnasium_vector import RENDER_MODES, MetaWorldVectorEnv
from mjx_metaworld.adapters.sub_env import SubEnv, TaskSelect, deal_goals, deal_tasks
from mjx_metaworld.suites import Tasks, list_suites, list_tasks, resolve
from mjx_metaworld.tasks.registry import on_change
from mjx_metaworld.types import CONTROL_RATE

__all__ = ["NAMESPACE", "MetaWorldGymEnv", "MetaWorldVectorEnv", "SubEnv", "make_ml", "make_mt", "register"]

NAMESPACE = "mjx-metaworld"
VectorStrategy = Literal["sync", "async"]


def make_mt(
    env_name: Tasks,
    *,
    num_envs: int = 1,
    seed: int | None = None,
    task_select: TaskSelect = "random",
    vector_strategy: VectorStrategy = "sync",
    **options: Any,
) -> MetaWorldVectorEnv:
    """Environments for multi-task learning.

    Args:
        env_name: a suite, a task, or a list of tasks, as `mjx_metaworld.make` takes them.
        num_envs: at least the number of tasks, which are dealt round-robin; 1 stands for one environment a task.
        seed: of the frozen goals, and of the choice among them; None draws one.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        vector_strategy: accepted because metaworld's has it; "sync" and "async" mean the same here.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name or option.
    """
    _check_strategy(vector_strategy)
    tasks = resolve(env_name)
    return MetaWorldVectorEnv(tasks, deal_tasks(tasks, num_envs, seed=seed, task_select=task_select), **options)


def make_ml(
    env_name: str,
    split: Literal["train", "test"],
    *,
    num_envs: int = 1,
    meta_batch_size: int | None = None,
    total_tasks_per_cls: int | None = None,
    seed: int | None = None,
    task_select: TaskSelect = "pseudorandom",
    terminate_on_success: bool | None = None,
    vector_strategy: VectorStrategy = "sync",
    **options: Any,
) -> MetaWorldVectorEnv:
    """Environments for meta-learning; the goal is hidden, and `call("sample_tasks")` chooses new goals.

    Args:
        env_name: "ML10", "ML25", "ML45", or a task (that is ML1).
        split: which of the suite's tasks; of a task, which of its goals.
        num_envs: a multiple of the number of tasks; 1 stands for one environment a task.
        meta_batch_size: metaworld's name of `num_envs`.
        total_tasks_per_cls: use only the first so many goals of a task.
        seed: of the frozen goals, and of the choice among them; None draws one.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        terminate_on_success: end an episode at the first success; by default in the test split.
        vector_strategy: accepted because metaworld's has it; "sync" and "async" mean the same here.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name or option, or where goals cannot be dealt evenly.
    """
    _check_strategy(vector_strategy)
    one_task = env_name in list_tasks()
    tasks = resolve(env_name if one_task else f"{env_name}-{split}")
    if one_task and split == "test" and seed is not None:
        seed = seed + 1  # ML1's test goals
    lanes = deal_goals(
        tasks,
        num_envs if meta_batch_size is None else meta_batch_size,
        seed=seed,
        goals_per_task=total_tasks_per_cls,
        task_select=task_select,
    )
    terminate = split == "test" if terminate_on_success is None else terminate_on_success
    return MetaWorldVectorEnv(tasks, lanes, goal_observable=False, terminate_on_success=terminate, **options)


def _check_strategy(vector_strategy: str) -> None:
    if vector_strategy not in get_args(VectorStrategy):
        raise ValueError(f"vector_strategy must be sync or async, got {vector_strategy!r}")


class MetaWorldGymEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One environment, for debugging and for tools that know no vector environments.

    Args:
        env_name: the task.
        seed: of the frozen goals, and of the choice among them; None draws one.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        **options: see `MetaWorldVectorEnv`.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": CONTROL_RATE}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(
        self, env_name: str, *, seed: int | None = None, task_select: TaskSelect = "random", **options: Any
    ) -> None:
        if env_name not in list_tasks():
            resolve(env_name)  # names near matches
            raise ValueError(f"{env_name!r} is a suite; make it with gymnasium.make_vec")
        tasks = resolve(env_name)
        (self._lane,) = lanes = deal_tasks(tasks, 1, seed=seed, task_select=task_select)
        self._batch = MetaWorldVectorEnv(tasks, lanes, autoreset_mode=AutoresetMode.DISABLED, **options)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self.render_mode = self._batch.render_mode
        if seed is not None:
            super().reset(seed=seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; a seed restarts the choice of goals."""
        super().reset(seed=seed)
        self._lane.np_random = self.np_random  # one generator, gymnasium's
        obs, _ = self._batch.reset()
        return obs[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step, `action` (4,) within [-1, 1].

        Raises:
            ValueError: if `action` has the wrong shape.
            ResetNeeded: before the first reset and after an episode's end.
        """
        if np.shape(action) != self.action_space.shape:
            raise ValueError(f"action must have shape {self.action_space.shape}, got {np.shape(action)}")
        obs, reward, terminated, truncated, infos = self._batch.step(np.asarray(action)[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first_lane(infos)

    def render(self) -> np.ndarray:
        """A picture, uint8 (height, width, 3)."""
        return self._batch.render()[0]

    def close(self) -> None:
        """Close the environment; closing it again does nothing."""
        self._batch.close()


def _first_lane(infos: dict[str, Any]) -> dict[str, Any]:
    """The only lane's infos as Python values."""
    return {
        key: _first_lane(value) if isinstance(value, dict) else value[0].item()
        for key, value in infos.items()
        if not key.startswith("_")
    }


def register() -> None:
    """Register all names that there are; importing this module does it, and every later declaration."""
    here = "mjx_metaworld.adapters.gymnasium"
    vector = f"{here}:make_mt"
    for task in list_tasks():
        _register(task, f"{here}:MetaWorldGymEnv", vector, env_name=task)
    _register("MT1", f"{here}:MetaWorldGymEnv", vector)
    for suite in list_suites():
        name, _, split = suite.rpartition("-")
        if split in ("train", "test"):
            _register(suite, None, f"{here}:make_ml", env_name=name, split=split)
        else:
            _register(suite, None, vector, env_name=suite)
    for split in ("train", "test"):
        _register(f"ML1-{split}", None, f"{here}:make_ml", split=split)


def _register(name: str, single: str | None, vector: str, **kwargs: str) -> None:
    if f"{NAMESPACE}/{name}" not in registration.registry:
        gymnasium.register(f"{NAMESPACE}/{name}", entry_point=single, vector_entry_point=vector, kwargs=kwargs)


on_change(register)
