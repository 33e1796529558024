"""Suites of tasks, and the reference's frozen goals.

The suites are the installed metaworld package's own lists, the four difficulty groups into which Seo et al. divide
the tasks (Masked World Models for Visual Control, 2022; LeRobot evaluates by these groups), and suites of one's own.

MT1 and ML1 need no suite: both are one task, by its name, ML1 with `goal_observable=False`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from metaworld import env_dict

from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.tasks.registry import announce, find_task, registered, tagged, tags, take_suite_name

NUM_GOALS = 50  # frozen goals a task, metaworld's _N_GOALS
GOALS_SEED = 1  # of the frozen goals on which figures are reported
_MAX_DRAWS = 100_000  # of one goal vector, before its task counts as one that accepts none

Tasks: TypeAlias = str | TaskSpec | Sequence[str | TaskSpec]
"""A task or a suite by its name, a task's declaration, or several of these in any mix."""

_REFERENCE_SUITES = {"MT10": env_dict.MT10_V3, "MT25": env_dict.MT25_V3, "MT50": env_dict.MT50_V3} | {
    f"{name}-{split}": suite[split]
    for name, suite in (("ML10", env_dict.ML10_V3), ("ML25", env_dict.ML25_V3), ("ML45", env_dict.ML45_V3))
    for split in ("train", "test")
}
_DIFFICULTIES = {
    "easy": """
        button-press button-press-topdown button-press-topdown-wall button-press-wall coffee-button dial-turn
        door-close door-lock door-open door-unlock drawer-close drawer-open faucet-close faucet-open handle-press
        handle-press-side handle-pull handle-pull-side lever-pull plate-slide plate-slide-back plate-slide-back-side
        plate-slide-side reach reach-wall window-close window-open peg-unplug-side
    """,
    "medium": """
        basketball bin-picking box-close coffee-pull coffee-push hammer peg-insert-side push-wall soccer sweep
        sweep-into
    """,
    "hard": "assembly hand-insert pick-out-of-hole pick-place push push-back",
    "very_hard": "shelf-place disassemble stick-pull stick-push pick-place-wall",
}
# Suites with a list of tasks: of their names, so that a task that is declared again is found anew.
_listed: dict[str, tuple[str, ...]] = {name: tuple(tasks) for name, tasks in _REFERENCE_SUITES.items()} | {
    name: tuple(f"{task}-v3" for task in tasks.split()) for name, tasks in _DIFFICULTIES.items()
}
_OWN_FROM = len(_listed)  # suites of one's own come behind these
for _name in _listed:
    take_suite_name(_name)


def register_suite(name: str, tasks: Tasks) -> None:
    """Declare a suite of one's own: the tasks of these names, in this order.

    A suite that ends in "-train" or "-test" is one for meta-learning, as metaworld's "ML10-train". The same name may be
    given again, with other tasks. Tasks can also join a suite where they are declared, by `suites=("my-suite",)`.

    Args:
        name: of the suite.
        tasks: as `mw.make` takes them.

    Raises:
        ValueError: if the name is metaworld's, a task's or no name, or if a task is unknown, given twice, or has no
            name that it can be found by; and if there are none.
    """
    if name in list(_listed)[:_OWN_FROM]:
        raise ValueError(f"suite {name!r} is metaworld's, or one of the difficulty groups")
    specs = resolve(tasks)
    unregistered = [spec.name for spec in specs if spec not in registered()]
    if unregistered:
        raise ValueError(f"suite {name!r} takes declared tasks; declare {', '.join(unregistered)} with @task")
    take_suite_name(name)
    _listed[name] = tuple(spec.name for spec in specs)
    announce()


def list_tasks() -> list[str]:
    """The names of all tasks: metaworld's in its order, then those of one's own in order of declaration."""
    names = [spec.name for spec in registered()]
    order = list(env_dict.ALL_V3_ENVIRONMENTS)
    return [name for name in order if name in names] + [name for name in names if name not in order]


def list_suites() -> list[str]:
    """The names of all suites: metaworld's, the difficulty groups from easy to very_hard, then those of one's own."""
    return [*_listed, *tags()]


def own_suites() -> dict[str, tuple[str, ...]]:
    """The suites that `register_suite` declared, with the names of their tasks."""
    return {name: _listed[name] for name in list(_listed)[_OWN_FROM:]}


def resolve(tasks: Tasks) -> tuple[TaskSpec, ...]:
    """The tasks of names, suites (in their authors' order) and declarations, in the given order.

    A string may name several, separated by commas, as on a command line.

    Raises:
        ValueError: if a name is unknown, a task is given twice, or there are none.
        TypeError: if something is neither a name nor a declaration.
    """
    if isinstance(tasks, str):
        tasks = [name for name in (part.strip() for part in tasks.split(",")) if name] or tasks
    given = tuple(tasks) if isinstance(tasks, Iterable) and not isinstance(tasks, str) else (tasks,)
    specs = tuple(spec for item in given for spec in _find(item))
    if not specs:
        raise ValueError("no tasks given")
    names = [spec.name for spec in specs]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"a task is given twice: {', '.join(twice)}")
    return specs


def _find(item: str | TaskSpec) -> tuple[TaskSpec, ...]:
    if isinstance(item, TaskSpec):
        return (item,)
    if not isinstance(item, str):
        raise TypeError(f"tasks are names or TaskSpecs, got {item!r}")
    if item in _listed:
        return tuple(find_task(name) for name in _listed[item])
    return tagged(item) or (find_task(item, list_suites()),)


def in_metaworld(spec: TaskSpec) -> bool:
    """True if the reference has a task of this name."""
    return spec.name in env_dict.ALL_V3_ENVIRONMENTS


def require_metaworld(tasks: Sequence[TaskSpec], purpose: str) -> None:
    """Refuse tasks that the reference does not have where it is run beside.

    Raises:
        ValueError: if there is one; the message tells what can be had instead.
    """
    missing = [spec.name for spec in tasks if not in_metaworld(spec)]
    if missing:
        raise ValueError(
            f"{purpose} compares with metaworld, which has no {', '.join(missing)}. `mjx-metaworld eval` without "
            f"--reference evaluates such tasks here; `mjx-metaworld parity --tasks {','.join(missing)}` compares the "
            "physics of their scenes with MuJoCo C"
        )


def goals(tasks: Tasks, seed: int, num_goals: int = NUM_GOALS) -> tuple[np.ndarray, ...]:
    """The reference's frozen goal vectors, `(num_goals, rand)` float64 a task, in the order of `resolve(tasks)`.

    They equal the `rand_vec`s in `metaworld.MT10(seed=seed).train_tasks` and so on; for one task those of
    `metaworld.MT1(name, seed=seed)` and `ML1(name, seed=seed).train_tasks`, whose test tasks have `seed + 1`. The
    reference draws all tasks of a suite from one generator, so a task's goals depend on the tasks before it, and on how
    many goals these have. A reset there prepares the episode twice and only the second draw is kept.

    A task that metaworld does not have gets goals drawn the same way, uniformly within its own bounds.

    Args:
        tasks: as `mw.make` takes them.
        seed: of NumPy's older generator, which the reference uses.
        num_goals: a task.

    Raises:
        ValueError: for unknown tasks, a task that accepts no goal within its bounds, or a bad seed or number.
    """
    seed, num_goals = check_integer("seed", seed, 0, 2**32 - 1), check_integer("num_goals", num_goals)
    generator = np.random.RandomState(seed)
    suite = []
    for spec in resolve(tasks):
        kept = []
        for _ in range(num_goals):
            draw_goal(generator, spec)
            kept.append(draw_goal(generator, spec))
        suite.append(np.stack(kept))
    return tuple(suite)


def goal_batch(
    rand_vecs: Sequence[np.ndarray], size: int, tasks: Sequence[int] | np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Goals of several tasks as a batch for `jax.vmap(env.reset_to)`, in the given order.

    Args:
        rand_vecs: (n, rand) goal vectors of each task; n and rand may differ from task to task.
        size: length to which the vectors are padded, `env.rand_vec_size`.
        tasks: index into `env.tasks` of each entry of `rand_vecs`; by default 0, 1, 2, ...

    Returns:
        Task indices (goals,) int32, and goal vectors (goals, size) float64.

    Raises:
        ValueError: if an entry is no (n, rand) array of at most `size` columns, if a goal vector has NaN or infinite
            entries, or if there are none, or not as many entries as `tasks`.
    """
    indices = np.arange(len(rand_vecs)) if tasks is None else np.asarray(tasks)
    if not len(rand_vecs) or len(rand_vecs) != len(indices):
        needed = "those of at least one task" if tasks is None else f"one entry for each of {len(indices)} tasks"
        raise ValueError(f"goal vectors must be {needed}, got {len(rand_vecs)} entries")
    padded = [_padded_goals(vectors, size, row) for row, vectors in enumerate(rand_vecs)]
    return np.repeat(indices.astype(np.int32), [len(vectors) for vectors in padded]), np.concatenate(padded)


def _padded_goals(vectors: np.ndarray, size: int, row: int) -> np.ndarray:
    """Goal vectors (n, size) of one entry."""
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] > size:
        raise ValueError(
            f"the goal vectors of a task must have shape (n, rand), rand at most {size}, got {vectors.shape} as entry "
            f"{row}; those of one task alone go into a list: [vectors]"
        )
    if not np.isfinite(vectors).all():
        bad = vectors[~np.isfinite(vectors).all(axis=1)][0]
        raise ValueError(f"goal vectors must be finite, got {bad.tolist()} among those of entry {row}")
    return np.pad(vectors, ((0, 0), (0, size - vectors.shape[1])))


def draw_goal(generator: np.random.RandomState | np.random.Generator, spec: TaskSpec) -> np.ndarray:
    """One goal vector as a reset of the reference draws it: again until the task accepts it.

    Raises:
        ValueError: if it accepts none of very many.
    """
    accepts = spec.separation.accepts
    for _ in range(_MAX_DRAWS):
        rand_vec = generator.uniform(spec.rand_low, spec.rand_high)
        if accepts(rand_vec):
            return rand_vec
    raise ValueError(no_goal(spec))


def no_goal(spec: TaskSpec) -> str:
    """Words for a task that accepts none of very many goal vectors."""
    return f"task {spec.name!r} accepts no goal within its bounds: min_separation is {spec.min_separation}"


def share_accepted(spec: TaskSpec) -> float:
    """Share of the goal vectors within a task's bounds that it accepts, from as many as `draw_goal` tries."""
    if not spec.min_separation:
        return 1.0
    rand_vecs = np.random.RandomState(0).uniform(spec.rand_low, spec.rand_high, (_MAX_DRAWS, len(spec.rand_low)))
    return float(np.mean(spec.accepts(rand_vecs)))
