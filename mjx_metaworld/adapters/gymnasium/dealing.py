"""Sub-environments of a batch: which task, goals and seed each gets, as metaworld deals them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mjx_metaworld.adapters.gymnasium.sub_env import SubEnv, TaskSelect, check_seed
from mjx_metaworld.physics.checks import as_integer, check_integer
from mjx_metaworld.suites import NUM_GOALS
from mjx_metaworld.suites import goals as frozen_goals
from mjx_metaworld.tasks import TaskSpec

_META_BATCH_SIZE = 20  # metaworld's default


def deal_tasks(
    tasks: Sequence[TaskSpec],
    num_envs: int,
    *,
    seed: int | None,
    goals: Sequence[np.ndarray] | None = None,
    num_goals: int = NUM_GOALS,
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
        num_goals: frozen goals a task.
        task_select: see `SubEnv`.

    Raises:
        ValueError: if there are fewer sub-environments than tasks, or goals for another number of tasks.
    """
    num_tasks = len(tasks)
    seed = check_seed(seed)
    count = _number_of_lanes(num_envs, num_tasks)
    goals = _goals(tasks, seed, num_goals) if goals is None else goals
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
        for i in range(count)
    ]


def deal_list(
    tasks: Sequence[TaskSpec],
    num_envs: int,
    *,
    seed: int | None,
    num_goals: int = NUM_GOALS,
    task_select: TaskSelect = "random",
) -> list[SubEnv]:
    """Sub-environments for a list of tasks as metaworld's "custom-mt-envs" deals them.

    Each has the frozen goals of its own, where a suite's tasks draw theirs one after the other: entry `i` is seeded
    with `seed + i`, and a task may be given twice.

    Args:
        tasks: one sub-environment each, round-robin if there are to be more.
        num_envs: number of sub-environments; 1 stands for one an entry.
        seed: of the first one's frozen goals and of its choice among them.
        num_goals: frozen goals an entry.
        task_select: see `SubEnv`.

    Raises:
        ValueError: if there are fewer sub-environments than entries.
    """
    seed = check_seed(seed)
    seeds = [None if seed is None else seed + i for i in range(_number_of_lanes(num_envs, len(tasks)))]
    goals = [_goals([spec], seed, num_goals)[0] for spec, seed in zip(tasks, seeds, strict=False)]
    return [
        SubEnv(
            spec := tasks[i % len(tasks)],
            f"{spec.name}_{i}",
            goals[i % len(tasks)],
            seed=seed,
            task_select=task_select,
            one_hot_id=i % len(tasks),
        )
        for i, seed in enumerate(seeds)
    ]


def _number_of_lanes(num_envs: int, num_tasks: int) -> int:
    count = as_integer(num_envs)
    if count is None or (count != 1 and count < num_tasks):
        raise ValueError(f"num_envs must be 1 (one environment a task) or at least {num_tasks}, got {num_envs!r}")
    return num_tasks if count == 1 else count


def deal_goals(
    tasks: Sequence[TaskSpec],
    meta_batch_size: int | None,
    *,
    seed: int | None,
    goals_seed_offset: int = 0,
    goals_per_task: int | None = None,
    task_select: TaskSelect = "pseudorandom",
) -> list[SubEnv]:
    """Sub-environments for meta-learning, dealt as metaworld does: task by task, and a task's frozen goals to its own.

    Args:
        tasks: in the order of the suite.
        meta_batch_size: number of sub-environments; 1 stands for one a task, None for metaworld's default of 20 where
            this many can be dealt, else for one a task.
        seed: of the frozen goals and of the choice among them.
        goals_seed_offset: added to a seed that is given, for the frozen goals only.
        goals_per_task: use only the first so many goals of a task.
        task_select: see `SubEnv`.

    Raises:
        ValueError: if the sub-environments or the goals cannot be dealt evenly.
    """
    num_tasks = len(tasks)
    seed = check_seed(seed)
    goals_seed = None if seed is None else seed + goals_seed_offset
    if goals_per_task is not None:
        goals_per_task = check_integer("total_tasks_per_cls", goals_per_task)
    if meta_batch_size is None:
        envs_per_task, rest = divmod(_META_BATCH_SIZE, num_tasks)
        dealt = envs_per_task and not rest and min(goals_per_task or NUM_GOALS, NUM_GOALS) % envs_per_task == 0
        meta_batch_size = _META_BATCH_SIZE if dealt else num_tasks
    count = as_integer(meta_batch_size)
    envs_per_task, rest = divmod(num_tasks if count == 1 else count or 0, num_tasks)
    if rest or envs_per_task < 1:
        raise ValueError(f"meta_batch_size must be a multiple of the {num_tasks} tasks, got {meta_batch_size!r}")
    sub_envs = []
    for spec, goals in zip(tasks, _goals(tasks, goals_seed, NUM_GOALS), strict=True):
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


def _goals(tasks: Sequence[TaskSpec], seed: int | None, num_goals: int) -> Sequence[np.ndarray]:
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
    return frozen_goals([spec.name for spec in tasks], seed, check_integer("num_goals", num_goals))
