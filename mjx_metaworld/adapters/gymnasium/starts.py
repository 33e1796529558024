"""First states of a batch's episodes: those of all goals computed once, or drawn anew where physics is randomised."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from mjx_metaworld.adapters.compiled import Programs
from mjx_metaworld.adapters.gymnasium.sub_env import UNKNOWN_SEED, SubEnv
from mjx_metaworld.suites import goal_batch
from mjx_metaworld.types import State


class Starts:
    """First states of the lanes, by the goal that each has chosen.

    Without `randomise` a goal has one first state, and a restart only picks rows of a batch of them. With it every
    restart is computed, since its episode draws parameters of its own.

    Args:
        programs: of the batch.
        lanes: the sub-environments, whose goals are taken as they are now.
        task: (lanes,) each one's index into the environment's tasks.
    """

    def __init__(self, programs: Programs, lanes: Sequence[SubEnv], task: Int[np.ndarray, " lanes"]) -> None:
        self._programs, self._lanes = programs, lanes
        goals = [lane.goals for lane in lanes]
        wanted = np.column_stack(goal_batch(goals, programs.env.rand_vec_size, task))
        self._goals, rows = np.unique(wanted, axis=0, return_inverse=True)
        self._rows = np.split(rows.reshape(-1), np.cumsum([len(own) for own in goals])[:-1])
        self._row = np.array([own[0] for own in self._rows])
        self._states = None if programs.env.randomise is not None else self._compute(self._goals, None)

    def first(self) -> State:
        """State (lanes,) of each lane's first goal, for lanes that were never reset."""
        if self._states is None:
            return self._drawn()
        return self._programs.pick(self._states, jnp.asarray(self._row))

    def restart(self, state: State, chosen: Bool[np.ndarray, " lanes"]) -> State:
        """State (lanes,) in which the chosen lanes are at the start of an episode with their current goal.

        Args:
            state: (lanes,).
            chosen: mask of lanes.
        """
        for lane in np.flatnonzero(chosen).tolist():
            self._row[lane] = self._rows[lane][self._lanes[lane].current_task_idx]
            self._lanes[lane].restarts += 1
        states, row = self._states, self._row
        if states is None:
            states, row = self._drawn(), np.arange(len(self._lanes))
        return self._programs.restart(state, states, jnp.asarray(row), jnp.asarray(chosen))

    def _drawn(self) -> State:
        """First states with each lane's current goal, and with parameters by its seed and number of restarts."""
        entropy = [[_seed_of(lane), lane.restarts] for lane in self._lanes]
        seeds = np.array([np.random.SeedSequence(pair).generate_state(1)[0] for pair in entropy])
        return self._compute(self._goals[self._row], jax.vmap(jax.random.key)(seeds))

    def _compute(self, goals: np.ndarray, keys: jax.Array | None) -> State:
        task, rand_vec = jnp.asarray(goals[:, 0], jnp.int32), jnp.asarray(goals[:, 1:], float)
        return self._programs.start(task, rand_vec, keys)


def _seed_of(lane: SubEnv) -> int:
    """The lane's seed; of a generator without a known one what it would draw next, which checkpoints hold, too."""
    if lane.np_random_seed != UNKNOWN_SEED:
        return lane.np_random_seed
    return int(copy.deepcopy(lane.np_random).integers(2**63))  # of a copy: goals are those without `randomise`
