"""Starts of episodes: goal vectors as a reset draws them, settled states for these, and objects placed at them.

A reset draws any goal vector and starts from the row of the bank whose prop stood nearest. On the host MuJoCo itself
settles for the very goal, as `reset_to` asks for: to the reference's own numbers, which float32 contact dynamics here
would miss. Shapes are those of one environment.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mjx_metaworld.build.bank import SettledBank, pad_points
from mjx_metaworld.build.check import GOAL_DRAWS
from mjx_metaworld.build.settle import settle
from mjx_metaworld.build.tables import TaskTable
from mjx_metaworld.inputs.keys import PRNGKey, as_words
from mjx_metaworld.physics.model import ARM_DOFS, PhysicsState
from mjx_metaworld.tasks.branches import switch
from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.spec import Placement, Settled, TaskSpec
from mjx_metaworld.types import NO_DISTANCE, Episode

# How a reset finds the settled state of its goal, see `mw.make`.
Goals = Literal["nearest", "settled", "banked"]

_RECENT = 4096  # states that are kept in memory, 2 kB each
_recent: OrderedDict[tuple[TaskSpec, bytes], Settled] = OrderedDict()
_recent_lock = threading.Lock()  # devices call back from threads of their own


def draw_goal(table: TaskTable, key: PRNGKey) -> Float[Array, " rand"]:
    """Goal vector of a task, uniform among those that the reference would keep.

    Args:
        table: the task's row.
        key: the only source of randomness.
    """
    uniform = jax.random.uniform(key, (GOAL_DRAWS, table.rand_low.shape[-1]))
    candidates = table.rand_low + uniform * (table.rand_high - table.rand_low)
    return candidates[jnp.argmax(table.separation.accepts(candidates))]


def find_settled(
    bank: SettledBank, goals: Goals, task: Int[Array, ""], rand_vec: Float[Array, " rand"], key: PRNGKey
) -> tuple[Settled, Float[Array, " rand"]]:
    """The row of the bank from which a reset starts: its settled state, and the goal vector that the reset then has.

    That is the one that was drawn, but for "banked" goals, which are the row's own.

    Args:
        bank: of the environment's tasks.
        goals: how the row is found.
        task: index into these tasks, of one that there is.
        rand_vec: the goal vector that was drawn, padded.
        key: chooses the row of "banked" goals.
    """
    if goals == "banked":
        row = random_row(bank, task, key)
        banked = jnp.asarray(bank.rand_vec, float)[row]
        rand_vec = jnp.where(jnp.asarray(bank.count)[task] > 1, banked, rand_vec)
    else:
        row = nearest_row(bank, task, rand_vec)
    return _settled_at(bank, row), rand_vec


def first_settled(bank: SettledBank, task: Int[Array, ""]) -> Settled:
    """The first settled state of a task, in most tasks the only one."""
    return _settled_at(bank, jnp.asarray(bank.first)[task])


def _settled_at(bank: SettledBank, row: Int[Array, ""]) -> Settled:
    return jax.tree.map(lambda x: jnp.asarray(x, float)[row], bank.settled)


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
    square = jnp.sum(offset * offset, axis=-1)
    return jnp.argmin(jnp.where(of_task, square, jnp.finfo(square.dtype).max))  # `jax_debug_infs` stops at infinity


def random_row(bank: SettledBank, task: Int[Array, ""], key: Array) -> Int[Array, ""]:
    """A row of the task, each as likely."""
    first, count = (jnp.asarray(column)[task] for column in (bank.first, bank.count))
    return first + jax.random.randint(key, (), 0, count)


def settle_for_goal(
    specs: Sequence[TaskSpec],
    task: Int[Array, ""],
    rand_vec: Float[Array, " rand"],
    settled: Settled,
    *,
    keep: bool,
) -> Settled:
    """The settled state for the very goal, from the host; what is given where no task settles against its prop.

    Args:
        specs: the environment's tasks.
        task: index into these, of one that there is.
        rand_vec: the goal vector, padded.
        settled: a settled state of the task.
        keep: see `settle_on_host`.
    """
    if not any(spec.settles_against_prop for spec in specs):
        return settled
    prop_pos = place_objects(specs, task, rand_vec, settled).prop_pos
    return settle_on_host(specs, task, prop_pos, settled, keep=keep)


def place_objects(
    specs: Sequence[TaskSpec], task: Int[Array, ""], rand_vec: Float[Array, " rand"], settled: Settled
) -> Placement:
    """Placement by the task's `place`, with goal vector and points padded to the longest of the environment's tasks."""
    return switch(task, [placer(spec) for spec in specs], rand_vec, settled)


def first_physics(
    placement: Placement,
    settled: Settled,
    hand_init: Float[Array, "3"],
    joint_offset: Float[Array, "7"] | None,
) -> PhysicsState:
    """Physics at an episode's start.

    Args:
        placement: of the task's objects.
        settled: the state that they were placed in.
        hand_init: where the mocap stands, m.
        joint_offset: what is added to the arm's joints, rad; None for nothing.
    """
    qpos = placement.qpos
    if joint_offset is not None:
        qpos = qpos.at[ARM_DOFS].add(joint_offset.astype(qpos.dtype))
    return PhysicsState(
        qpos=qpos,
        qvel=placement.qvel,
        mocap_pos=hand_init,
        prop_pos=placement.prop_pos,
        qacc_warmstart=settled.qacc_warmstart,
    )


def first_episode(
    rand_vec: Float[Array, " rand"],
    placement: Placement,
    tcp: Float[Array, "3"],
    frame: Float[Array, "18"],
    next_key: PRNGKey,
) -> Episode:
    """Constants of an episode that starts.

    Args:
        rand_vec: the goal vector, padded.
        placement: of the task's objects.
        tcp: midpoint of the finger tips that rewards refer to, m.
        frame: the observed one.
        next_key: draws the episode after this one.
    """
    words, key_impl = as_words(next_key)
    return Episode(
        next_key=words,
        rand_vec=rand_vec,
        goal=placement.goal,
        object_init=placement.object_init,
        points_init=placement.points_init,
        tcp_init=tcp,
        first_distance=jnp.full((), NO_DISTANCE, frame.dtype),
        previous_frame=frame,
        step=jnp.zeros((), jnp.int32),
        invalid_action=jnp.zeros((), bool),
        key_impl=key_impl,
    )


def first_distance(episode: Episode, distance: Float[Array, ""]) -> Float[Array, ""]:
    """Distance of the object from the goal after the episode's first step.

    The counter does not tell that step: whoever spreads the ends of first episodes over time sets it.

    Args:
        episode: before the present step.
        distance: after it.
    """
    known = episode.first_distance
    # In states that were kept before `NO_DISTANCE` was, 0 stands for it.
    is_first = (known < 0.0) | ((episode.step == 0) & (known == 0.0))
    return jnp.where(is_first, distance, known)


def key_of_goal(rand_vec: Float[Array, " rand"]) -> PRNGKey:
    """Key of an episode for whose goal no key is given: the same for the same goal vector."""
    bits = jax.lax.bitcast_convert_type(rand_vec.astype(jnp.float32), jnp.uint32)
    return jax.random.fold_in(jax.random.key(0), jnp.sum(bits))


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
                settled = pad_points(find(spec, places), flat.points.shape[1])
                for old, new in zip(jax.tree.leaves(flat), jax.tree.leaves(settled), strict=True):
                    old[of_task] = new[row_of.reshape(-1)]
        return jax.tree.map(lambda x: x.reshape(*lanes, *x.shape[1:]), flat)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    return jax.pure_callback(simulate, shapes, task, prop_pos, like, vmap_method="broadcast_all")


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
