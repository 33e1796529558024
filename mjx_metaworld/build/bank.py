"""The settled states from which episodes start.

In most tasks the hand settles alike whatever the goal, so one row serves every reset. In the tasks that settle against
their prop it does not: for those the bank holds many places of the prop, each with the state that settled for it.
`env.starts` finds the row of a goal.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.build.settle import settle
from mjx_metaworld.suites import draw_goal
from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.spec import Settled, TaskSpec

_DRAWS = 128  # goal vectors of a task that settles against its prop
_SEED = 0


class SettledBank(struct.PyTreeNode):
    """Rows of all tasks, one after the other."""

    settled: Settled  # leading axis rows; points padded
    rand_vec: Float[Array, "rows rand"]  # what the row settled for, padded; zero in tasks of one row
    first: Int[Array, " tasks"]
    count: Int[Array, " tasks"]  # 1 unless the task settles against its prop
    pull: Float[Array, "tasks rand"]  # metres that the prop moves by for a unit of each entry of the goal vector


def build_bank(specs: Sequence[TaskSpec], *, num_points: int, num_rand: int) -> SettledBank:
    """Settle all tasks on the host (numpy leaves); what did not come with the package is then read from the cache."""
    rows, rand_vecs, counts, pulls = [], [], [], []
    for spec in specs:
        settled, drawn = settle_task(spec)
        rows.append(pad_points(settled, num_points))
        rand_vecs.append(np.pad(drawn, ((0, 0), (0, num_rand - drawn.shape[1]))))
        counts.append(len(drawn))
        pulls.append(np.pad(_pull(drawn, np.asarray(settled.prop_pos)), (0, num_rand - drawn.shape[1])))
    return SettledBank(
        settled=jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows),
        rand_vec=np.concatenate(rand_vecs),
        first=np.cumsum([0, *counts[:-1]]).astype(np.int32),
        count=np.array(counts, np.int32),
        pull=np.array(pulls),
    )


def _pull(drawn: np.ndarray, prop_pos: np.ndarray) -> np.ndarray:
    """(rand,) lengths of the columns of the linear map from goal vectors (n, rand) to places of the prop (n, 3)."""
    columns, *_ = np.linalg.lstsq(drawn - drawn.mean(0), prop_pos - prop_pos.mean(0), rcond=1e-9)
    return np.linalg.norm(columns, axis=1)


def settle_task(spec: TaskSpec) -> tuple[Settled, np.ndarray]:
    """The settled states of a task, and the goal vectors (rows, rand) for which they settled."""
    settled = settle(spec)
    if not spec.settles_against_prop:
        return settled, np.zeros((1, len(spec.rand_low)))
    drawn = draw_goals(spec, _DRAWS)
    return settle(spec, _prop_positions(spec, drawn, settled)), drawn


def draw_goals(spec: TaskSpec, count: int) -> np.ndarray:
    """Goal vectors (count, rand) of a task, each time the same.

    Raises:
        ValueError: if it accepts none of very many.
    """
    generator = np.random.RandomState(_SEED)
    return np.array([draw_goal(generator, spec) for _ in range(count)])


def _prop_positions(spec: TaskSpec, rand_vecs: np.ndarray, settled: Settled) -> np.ndarray:
    """Positions of the task's prop for these goal vectors; the state it settled in has no part in that."""
    with jax.ensure_compile_time_eval():  # an environment may be built inside a function that is being traced
        one = jax.tree.map(lambda x: jnp.asarray(x[0]), settled)
        # One small program a task: one by one, and those whose result is not needed, operations compile for longer.
        place = jax.jit(jax.vmap(lambda rand_vec: placer(spec)(rand_vec, one).prop_pos))
        return np.asarray(place(jnp.asarray(rand_vecs)), float)


def pad_points(settled: Settled, num_points: int) -> Settled:
    """Settled states with rows of zeros after the task's points."""
    missing = num_points - settled.points.shape[1]
    return settled.replace(points=np.pad(settled.points, ((0, 0), (0, missing), (0, 0))))
