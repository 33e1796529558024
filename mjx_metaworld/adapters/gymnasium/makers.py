"""Vector environments as metaworld's registrations make them: suites, lists of tasks, and their splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn, get_args

from mjx_metaworld.adapters.gymnasium.dealing import deal_goals, deal_list, deal_tasks
from mjx_metaworld.adapters.gymnasium.sub_env import TaskSelect
from mjx_metaworld.adapters.gymnasium.vector import MetaWorldVectorEnv
from mjx_metaworld.physics.checks import check_boolean
from mjx_metaworld.suites import NUM_GOALS, Tasks, list_tasks, resolve
from mjx_metaworld.tasks import TaskSpec

VectorStrategy = Literal["sync", "async"]
Split = Literal["train", "test"]
_SUFFIXES = ("-goal-hidden", "-goal-observable")  # of metaworld's names for the ids "goal_hidden", "goal_observable"


def make_mt(
    env_name: Tasks,
    *,
    num_envs: int = 1,
    seed: int | None = None,
    num_goals: int = NUM_GOALS,
    task_select: TaskSelect = "random",
    vector_strategy: VectorStrategy = "sync",
    **options: Any,
) -> MetaWorldVectorEnv:
    """Environments for multi-task learning.

    Args:
        env_name: a suite, a task, or a list of tasks, as `mjx_metaworld.make` takes them.
        num_envs: at least the number of tasks, which are dealt round-robin; 1 stands for one environment a task.
        seed: of the frozen goals, and of the choice among them; None draws one.
        num_goals: number of frozen goals a task.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        vector_strategy: accepted because metaworld's has it; "sync" and "async" mean the same here.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name or a bad value.
        TypeError: for an unknown option.
    """
    check_strategy(vector_strategy)
    tasks = resolve(task_name(env_name))
    lanes = deal_tasks(tasks, num_envs, seed=seed, num_goals=num_goals, task_select=task_select)
    return MetaWorldVectorEnv(tasks, lanes, **options)


def make_custom_mt(
    envs_list: Tasks,
    *,
    num_envs: int = 1,
    seed: int | None = None,
    num_goals: int = NUM_GOALS,
    task_select: TaskSelect = "random",
    vector_strategy: VectorStrategy = "sync",
    **options: Any,
) -> MetaWorldVectorEnv:
    """Environments for multi-task learning of a list of tasks, each with the frozen goals of its own.

    Args:
        envs_list: tasks as `mjx_metaworld.make` takes them, but one that is listed twice has two environments.
        num_envs: as for `make_mt`.
        seed: of the first entry's goals and choice; the next has `seed + 1`, and so on.
        num_goals: as for `make_mt`.
        task_select: as for `make_mt`.
        vector_strategy: as for `make_mt`.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name, an empty list, or a bad value.
        TypeError: for an unknown option.
    """
    check_strategy(vector_strategy)
    listed = _listed("envs_list", envs_list)
    lanes = deal_list(listed, num_envs, seed=seed, num_goals=num_goals, task_select=task_select)
    return MetaWorldVectorEnv(list(dict.fromkeys(listed)), lanes, **options)


def make_ml(
    env_name: str,
    split: Split,
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
        num_envs: another name of `meta_batch_size`, if it is not 1, which `gymnasium.make_vec` gives by default.
        meta_batch_size: number of environments, a multiple of the number of tasks. By default metaworld's 20 where
            tasks and goals can be dealt to so many, else (where metaworld fails) one a task.
        total_tasks_per_cls: use only the first so many goals of a task.
        seed: of the frozen goals, and of the choice among them; None draws one.
        task_select: "random" or "pseudorandom", see `SubEnv`.
        terminate_on_success: end an episode at the first success; by default in the test split.
        vector_strategy: accepted because metaworld's has it; "sync" and "async" mean the same here.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name or a bad value, for two numbers of environments that differ, or where goals
            cannot be dealt evenly.
        TypeError: for an unknown option.
    """
    _check_split(split)
    _check_one_name(env_name)
    one_task = env_name in list_tasks()
    return _make_meta(
        resolve(env_name if one_task else f"{env_name}-{split}"),
        num_envs=num_envs,
        meta_batch_size=meta_batch_size,
        total_tasks_per_cls=total_tasks_per_cls,
        seed=seed,
        goals_seed_offset=int(one_task and split == "test"),  # of ML1's test goals
        task_select=task_select,
        vector_strategy=vector_strategy,
        terminate_on_success=split == "test" if terminate_on_success is None else terminate_on_success,
        **options,
    )


def make_custom_ml(
    train_envs: Tasks,
    test_envs: Tasks,
    *,
    split: Split = "train",
    num_envs: int = 1,
    meta_batch_size: int | None = None,
    total_tasks_per_cls: int | None = None,
    seed: int | None = None,
    task_select: TaskSelect = "random",
    vector_strategy: VectorStrategy = "sync",
    **options: Any,
) -> MetaWorldVectorEnv:
    """Environments for meta-learning of two lists of tasks; the goal is hidden.

    As in metaworld goals are chosen at random at every reset, and no success ends an episode, unless told otherwise.

    Args:
        train_envs: the tasks to learn from, as `mjx_metaworld.make` takes them.
        test_envs: the others.
        split: which of the two lists.
        num_envs: as for `make_ml`.
        meta_batch_size: as for `make_ml`.
        total_tasks_per_cls: as for `make_ml`.
        seed: as for `make_ml`.
        task_select: as for `make_ml`.
        vector_strategy: as for `make_ml`.
        **options: see `MetaWorldVectorEnv`.

    Raises:
        ValueError: for an unknown name, an empty list, a task in both lists, a bad value, two numbers of environments
            that differ, or where goals cannot be dealt evenly.
        TypeError: for an unknown option.
    """
    _check_split(split)
    train, test = _listed("train_envs", train_envs), _listed("test_envs", test_envs)
    tasks: dict[Split, tuple[TaskSpec, ...]] = {"train": resolve(train), "test": resolve(test)}
    if both := [spec.name for spec in tasks["train"] if spec in tasks["test"]]:
        raise ValueError(f"test_envs must have no task of train_envs, got {', '.join(both)} in both")
    return _make_meta(
        tasks[split],
        num_envs=num_envs,
        meta_batch_size=meta_batch_size,
        total_tasks_per_cls=total_tasks_per_cls,
        seed=seed,
        goals_seed_offset=0,
        task_select=task_select,
        vector_strategy=vector_strategy,
        **options,
    )


def _make_meta(
    tasks: Sequence[TaskSpec],
    *,
    num_envs: int,
    meta_batch_size: int | None,
    total_tasks_per_cls: int | None,
    seed: int | None,
    goals_seed_offset: int,
    task_select: TaskSelect,
    vector_strategy: VectorStrategy,
    **options: Any,
) -> MetaWorldVectorEnv:
    check_strategy(vector_strategy)
    if check_boolean("goal_observable", options.pop("goal_observable", False)):
        raise ValueError("goal_observable must be False, or left out: the goal is hidden in meta-learning; got True")
    if num_envs not in (None, 1):  # the defaults of metaworld and of gymnasium.make_vec: no number was given
        if meta_batch_size not in (None, num_envs):
            raise ValueError(
                f"num_envs is another name of meta_batch_size; give one of them, got {num_envs!r} and "
                f"{meta_batch_size!r}"
            )
        meta_batch_size = num_envs
    lanes = deal_goals(
        tasks,
        meta_batch_size,
        seed=seed,
        goals_seed_offset=goals_seed_offset,
        goals_per_task=total_tasks_per_cls,
        task_select=task_select,
    )
    return MetaWorldVectorEnv(tasks, lanes, goal_observable=False, **options)


def _check_split(split: object) -> None:
    if not isinstance(split, str) or split not in get_args(Split):
        raise ValueError(f"split must be train or test, got {split!r}")


def _check_one_name(env_name: object) -> None:
    """Check that a suite or task of meta-learning is given by one name, which its split is then put behind."""
    if not isinstance(env_name, str) or "," in env_name:
        got = f"the declaration of {env_name.name!r}" if isinstance(env_name, TaskSpec) else repr(env_name)
        raise ValueError(f'env_name must be one name, such as "ML10" or "reach-v3", got {got}')


def _listed(name: str, tasks: Tasks) -> list[TaskSpec]:
    """Tasks of an argument, in which one may be listed twice; the name of the argument is for the message."""
    entries = tasks if isinstance(tasks, Iterable) and not isinstance(tasks, str) else [tasks]
    specs = [spec for entry in entries for spec in resolve(entry)]
    if not specs:
        raise ValueError(f"no tasks given in {name}")
    return specs


def refuse_single(**_: Any) -> NoReturn:
    """Entry point of what `gymnasium.make` cannot make.

    Raises:
        ValueError: always; it says what can.
    """
    raise ValueError(
        "a suite is a batch of environments: make it with gymnasium.make_vec, without vectorization_mode; "
        "gymnasium.make is for single tasks, such as mjx-metaworld/reach-v3"
    )


def task_name(env_name: Tasks) -> Tasks:
    """A task's name without the suffix that metaworld's goal-hidden and goal-observable environments have."""
    if isinstance(env_name, str):
        for suffix in _SUFFIXES:
            env_name = env_name.removesuffix(suffix)
    return env_name


def check_strategy(vector_strategy: str) -> None:
    """Check the name of metaworld's vectorisation, which makes no difference here.

    Raises:
        ValueError: for another name.
    """
    if vector_strategy not in get_args(VectorStrategy):
        raise ValueError(f"vector_strategy must be sync or async, got {vector_strategy!r}")
