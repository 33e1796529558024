"""Suites of tasks, and the reference's frozen goals.

The suites are the installed metaworld package's own lists, and the four difficulty groups into which Seo et al. divide
the tasks (Masked World Models for Visual Control, 2022); LeRobot evaluates by these groups.

MT1 and ML1 need no suite: both are one task, by its name, ML1 with `goal_observable=False`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from metaworld import env_dict

from mjx_metaworld.tasks import TASKS, TaskSpec

NUM_GOALS = 50  # frozen goals a task, metaworld's _N_GOALS
GOALS_SEED = 1  # of the frozen goals on which figures are reported

_BY_NAME = {spec.name: spec for spec in TASKS}
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
_SUITES = {name: tuple(_BY_NAME[task] for task in tasks) for name, tasks in _REFERENCE_SUITES.items()} | {
    name: tuple(_BY_NAME[f"{task}-v3"] for task in tasks.split()) for name, tasks in _DIFFICULTIES.items()
}


def list_tasks() -> list[str]:
    """The names of all tasks, in metaworld's order."""
    return [name for name in env_dict.ALL_V3_ENVIRONMENTS if name in _BY_NAME]


def list_suites() -> list[str]:
    """The names of all suites: metaworld's, then the difficulty groups from easy to very_hard."""
    return list(_SUITES)


def resolve(tasks: str | Sequence[str]) -> tuple[TaskSpec, ...]:
    """The tasks of a suite (in its authors' order), of one name, or of several names in the given order.

    Raises:
        ValueError: if a name is unknown, given twice, or if there are none.
    """
    if isinstance(tasks, str):
        return _SUITES[tasks] if tasks in _SUITES else (_find(tasks),)
    specs = tuple(_find(name) for name in tasks)
    if not specs:
        raise ValueError("no tasks given")
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError(f"a task is given twice: {', '.join(tasks)}")
    return specs


def _find(name: str) -> TaskSpec:
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, [*_BY_NAME, *_SUITES], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(f"unknown task or suite {name!r}{hint} See list_tasks() and list_suites().")


def goals(tasks: str | Sequence[str], seed: int) -> tuple[np.ndarray, ...]:
    """The reference's frozen goal vectors, `(50, rand)` float64 a task, in the order of `resolve(tasks)`.

    They equal the `rand_vec`s in `metaworld.MT10(seed=seed).train_tasks` and so on; for one task those of
    `metaworld.MT1(name, seed=seed)` and `ML1(name, seed=seed).train_tasks`, whose test tasks have `seed + 1`. The
    reference draws all tasks of a suite from one generator, so a task's goals depend on the tasks before it. A reset
    there prepares the episode twice and only the second draw is kept.
    """
    generator = np.random.RandomState(seed)
    suite = []
    for spec in resolve(tasks):
        kept = []
        for _ in range(NUM_GOALS):
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
    """
    indices = np.arange(len(rand_vecs)) if tasks is None else np.asarray(tasks)
    task = np.repeat(indices.astype(np.int32), [len(vectors) for vectors in rand_vecs])
    return task, np.concatenate([np.pad(v, ((0, 0), (0, size - np.shape(v)[1]))) for v in rand_vecs])


def draw_goal(generator: np.random.RandomState, spec: TaskSpec) -> np.ndarray:
    """One goal vector as a reset of the reference draws it: again until the task accepts it."""
    while True:
        rand_vec = generator.uniform(spec.rand_low, spec.rand_high)
        if spec.accepts(rand_vec):
            return rand_vec
