"""LeRobot's names, groups and texts of the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from mjx_metaworld.suites import resolve
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.tasks.registry import is_built_in, registered

TaskTexts = Literal["lerobot", "corrected"]

_PREFIX = "metaworld-"  # LeRobot accepts it before a task's name
# LeRobot gives push-back-v3 the text of push-v3, and so do the datasets made with it: 49 texts for 50 tasks.
_CORRECTIONS = {"push-back-v3": "Pull the puck back to a goal"}


def task_groups(task: str) -> dict[str, tuple[TaskSpec, ...]]:
    """The groups that a `--env.task` asks for, in its order.

    Args:
        task: comma-separated names, each a task (a group of its own), a difficulty group such as "easy", or a suite
            such as "MT50".

    Returns:
        The tasks of each group; a task's index there is LeRobot's task id.

    Raises:
        ValueError: if there is no name, an unknown one, or one given twice.
    """
    names = [name.strip().removeprefix(_PREFIX) for name in task.split(",") if name.strip()]
    if not names:
        raise ValueError(f"task must name at least one task, group or suite, got {task!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"a task or group is given twice: {task!r}")
    return {name: resolve(name) for name in names}


def distinct_tasks(groups: Mapping[str, tuple[TaskSpec, ...]]) -> tuple[str, ...]:
    """The names of all tasks of some groups, each once."""
    return tuple(dict.fromkeys(spec.name for group in groups.values() for spec in group))


def task_texts(which: TaskTexts, lerobot_texts: Mapping[str, str]) -> dict[str, str]:
    """Each task in words; one that LeRobot does not have by its own description.

    Args:
        which: "lerobot", as the installed LeRobot has them and its checkpoints were trained on, or "corrected", where
            every task has a text of its own.
        lerobot_texts: `lerobot.envs.metaworld.TASK_DESCRIPTIONS`.

    Raises:
        ValueError: for any other `which`.
    """
    if which not in get_args(TaskTexts):
        raise ValueError(f"unknown task_texts {which!r}; available: {', '.join(get_args(TaskTexts))}")
    own = {spec.name: spec.description.split(". ")[0] for spec in registered() if not is_built_in(spec)}
    return {**own, **lerobot_texts, **(_CORRECTIONS if which == "corrected" else {})}
