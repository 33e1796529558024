"""The settled states from which episodes start, and how a task finds its own.

In most tasks the hand settles alike whatever the goal, so one row serves every reset. In the tasks that settle against
their prop it does not: for those the bank holds many places of the prop, each with the state that settled for it. A
reset draws any goal vector and starts from the row whose prop stood nearest. On the host MuJoCo itself settles for the
very goal, as `reset_to` asks for: to the reference's own numbers, which float32 contact dynamics here would miss.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.build.settle import settle
from mjx_metaworld.tasks.spec import Settled, TaskSpec

_DRAWS = 128  # goal vectors of a task that settles against its prop
_SEED = 0

# How a reset finds the settled state of its goal, see `mw.make`.
Goals = Literal["nearest", "settled", "banked"]


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
        rows.append(_pad_points(settled, num_points))
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


def nearest_row(bank: SettledBank, task: Int[Array, ""], rand_vec: Float[Array, " rand"]) -> Int[Array, ""]:
    """The task's row whose prop stood nearest to where this goal vector puts it; its only row where it has one.

    Measured on the entries of the goal vector that move the prop, so that nothing is placed for it.
    """
    if len(bank.rand_vec) == len(bank.first):
        return jnp.asarray(bank.first)[task]
    first, count, pull = (jnp.asarray(column)[task] for column in (bank.first, bank.count, bank.pull))
    rows = jnp.arange(len(bank.rand_vec))
    offset = (jnp.asarray(bank.rand_vec, float) - rand_vec) * pull
    of_task = (rows >= first) & (rows < first + count)
    return jnp.argmin(jnp.where(of_task, jnp.sum(offset * offset, axis=-1), jnp.inf))


def random_row(bank: SettledBank, task: Int[Array, ""], key: Array) -> Int[Array, ""]:
    """A row of the task, each as likely."""
    first, count = (jnp.asarray(column)[task] for column in (bank.first, bank.count))
    return first + jax.random.randint(key, (), 0, count)


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
    """Goal vectors (count, rand) of a task, each time the same."""
    generator = np.random.RandomState(_SEED)
    accepted = []
    while len(accepted) < count:
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
    specs: Sequence[TaskSpec], task: Int[Array, ""], prop_pos: Float[Array, "3"], like: Settled, *, keep: bool = True
) -> Settled:
    """The settled state of a task for a place of its prop, by a callback to the host; `like` gives shapes and types.

    Tasks that do not settle against their prop get `like` back without simulating. With `keep` the outcome is kept in
    a file, for goals that come again in other processes; without it in memory, for a while.
    """
    find = settle if keep else _settle_in_memory

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
                settled = _pad_points(find(spec, places), flat.points.shape[1])
                for old, new in zip(jax.tree.leaves(flat), jax.tree.leaves(settled), strict=True):
                    old[of_task] = new[row_of.reshape(-1)]
        return jax.tree.map(lambda x: x.reshape(*lanes, *x.shape[1:]), flat)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    return jax.pure_callback(simulate, shapes, task, prop_pos, like, vmap_method="broadcast_all")


_RECENT = 4096  # states that are kept in memory, 2 kB each
_recent: OrderedDict[tuple[TaskSpec, bytes], Settled] = OrderedDict()
_recent_lock = threading.Lock()  # devices call back from threads of their own


def _settle_in_memory(spec: TaskSpec, prop_positions: np.ndarray) -> Settled:
    """Settled states for places (n, 3), those seen lately from memory.

    A batch restarts some environments at a time and fills up with one that is not done, so the same goal is asked for
    again and again.
    """
    keys = [(spec, position.tobytes()) for position in prop_positions]
    with _recent_lock:
        known = {key: _recent[key] for key in keys if key in _recent}
    missing = [i for i, key in enumerate(keys) if key not in known]
    if missing:
        fresh = settle(spec, prop_positions[missing], keep=False)
        known |= {keys[i]: jax.tree.map(lambda x, row=row: x[row], fresh) for row, i in enumerate(missing)}
    with _recent_lock:
        for key in keys:
            _recent[key] = known[key]
            _recent.move_to_end(key)
        while len(_recent) > _RECENT:
            _recent.popitem(last=False)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(known[key] for key in keys))
