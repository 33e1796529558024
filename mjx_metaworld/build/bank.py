"""The settled states from which episodes start, and how a task finds its own.

In most tasks the hand settles alike whatever the goal, so one row serves every reset. In the tasks that settle against
their prop it does not: for those the bank holds many goal vectors, each with the state that settled for it, and a
reset draws a row. A goal vector that the bank does not hold, given to `reset_to`, is settled on the host by MuJoCo
itself: to the reference's own numbers, which float32 contact dynamics here would miss.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.build.settle import settle
from mjx_metaworld.tasks.spec import Settled, TaskSpec

_DRAWS = 128  # goal vectors of a task that settles against its prop
_SEED = 0


class SettledBank(struct.PyTreeNode):
    """Rows of all tasks, one after the other."""

    settled: Settled  # leading axis rows; points padded
    rand_vec: Float[Array, "rows rand"]  # what the row settled for, padded; zero in tasks of one row
    first: Int[Array, " tasks"]
    count: Int[Array, " tasks"]  # 1 unless the task settles against its prop


def build_bank(specs: Sequence[TaskSpec], *, num_points: int, num_rand: int) -> SettledBank:
    """Settle all tasks on the host (numpy leaves); what did not come with the package is then read from the cache."""
    rows, rand_vecs, counts = [], [], []
    for spec in specs:
        settled, drawn = settle_task(spec)
        rows.append(_pad_points(settled, num_points))
        rand_vecs.append(np.pad(drawn, ((0, 0), (0, num_rand - drawn.shape[1]))))
        counts.append(len(drawn))
    return SettledBank(
        settled=jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows),
        rand_vec=np.concatenate(rand_vecs),
        first=np.cumsum([0, *counts[:-1]]).astype(np.int32),
        count=np.array(counts, np.int32),
    )


def settle_task(spec: TaskSpec) -> tuple[Settled, np.ndarray]:
    """The settled states of a task, and the goal vectors (rows, rand) for which they settled."""
    settled = settle(spec)
    if not spec.settles_against_prop:
        return settled, np.zeros((1, len(spec.rand_low)))
    drawn = _draw(spec)
    return settle(spec, _prop_positions(spec, drawn, settled)), drawn


def _draw(spec: TaskSpec) -> np.ndarray:
    generator = np.random.RandomState(_SEED)
    accepted = []
    while len(accepted) < _DRAWS:
        rand_vec = generator.uniform(spec.rand_low, spec.rand_high)
        if spec.accepts(rand_vec):
            accepted.append(rand_vec)
    return np.array(accepted)


def _prop_positions(spec: TaskSpec, rand_vecs: np.ndarray, settled: Settled) -> np.ndarray:
    """Positions of the task's prop for these goal vectors; the state it settled in has no part in that."""
    with jax.ensure_compile_time_eval():  # an environment may be built inside a function that is being traced
        one = jax.tree.map(lambda x: jnp.asarray(x[0]), settled)
        # One small program a task: one by one, and those whose result is not needed, operations compile for longer.
        place = jax.jit(jax.vmap(lambda rand_vec: spec.place(rand_vec, one).prop_pos))
        return np.asarray(place(jnp.asarray(rand_vecs)), float)


def _pad_points(settled: Settled, num_points: int) -> Settled:
    missing = num_points - settled.points.shape[1]
    return settled.replace(points=np.pad(settled.points, ((0, 0), (0, missing), (0, 0))))


def settle_on_host(
    specs: Sequence[TaskSpec], task: Int[Array, ""], prop_pos: Float[Array, "3"], like: Settled
) -> Settled:
    """The settled state of a task for a place of its prop, by a callback to the host; `like` gives shapes and types.

    Tasks that do not settle against their prop get `like` back without simulating.
    """

    def simulate(task: np.ndarray, prop_pos: np.ndarray, like: Settled) -> Settled:
        lanes = task.shape
        count = task.size
        flat = jax.tree.map(lambda x: np.array(x).reshape(count, *x.shape[len(lanes) :]), like)
        task, prop_pos = np.asarray(task).reshape(count), np.asarray(prop_pos, float).reshape(count, 3)
        task = np.where(np.isfinite(prop_pos).all(1), task, -1)  # a goal of NaN is nobody's
        for index in np.unique(task[task >= 0]):
            spec = specs[index]
            if spec.settles_against_prop:
                of_task = np.flatnonzero(task == index)
                places, row_of = np.unique(prop_pos[of_task], axis=0, return_inverse=True)
                settled = _pad_points(settle(spec, places), flat.points.shape[1])
                for old, new in zip(jax.tree.leaves(flat), jax.tree.leaves(settled), strict=True):
                    old[of_task] = new[row_of.reshape(-1)]
        return jax.tree.map(lambda x: x.reshape(*lanes, *x.shape[1:]), flat)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    return jax.pure_callback(simulate, shapes, task, prop_pos, like, vmap_method="broadcast_all")
