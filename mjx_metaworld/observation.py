"""The observation of 39 numbers: names of its entries, bounds, and how frames are stacked.

| entries | name | holds |
| --- | --- | --- |
| 0..2 | `HAND` | position of the hand, m |
| 3 | `GRIPPER` | opening of the gripper, 0 (closed) to 1 |
| 4..6, 7..10 | `OBJECT`, `OBJECT_QUAT` | the first object's position, m, and orientation |
| 11..13, 14..17 | `SECOND_OBJECT`, `SECOND_OBJECT_QUAT` | the second object's, zero where there is none |
| 18..35 | `PREVIOUS_FRAME` | the same 18 numbers, the `FRAME`, one step before |
| 36..38 | `GOAL` | the goal, m; zero where it is hidden |

What an environment appends follows, see `Appended`. Shapes are those of one environment, batch with `jax.vmap`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

HAND = slice(0, 3)
GRIPPER = 3
OBJECT = slice(4, 7)
OBJECT_Z = 6
OBJECT_QUAT = slice(7, 11)
SECOND_OBJECT = slice(11, 14)
SECOND_OBJECT_QUAT = slice(14, 18)
FRAME = slice(0, 18)
PREVIOUS_FRAME = slice(18, 36)
GOAL = slice(36, 39)
FRAMES = slice(0, 36)  # both
HAND_AND_GRIPPER = slice(0, 4)
OBSERVATION = slice(0, 39)  # without what is appended

FRAME_SIZE = FRAME.stop
OBSERVATION_SIZE = OBSERVATION.stop
_HAND_SPACE = ((-0.525, 0.348, -0.0525), (0.525, 1.025, 0.7))


def observation_bounds(
    goal_low: tuple[float, ...], goal_high: tuple[float, ...], *, goal_observable: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (39,) to which a step's observation is clipped; a hidden goal's are zero.

    Args:
        goal_low: the task's lower bounds of an observed goal, m.
        goal_high: the upper ones.
        goal_observable: whether the goal is observed.
    """
    unbounded = np.full(FRAME_SIZE - HAND_AND_GRIPPER.stop, np.inf)
    low = np.concatenate([_HAND_SPACE[0], [-1.0], -unbounded])
    high = np.concatenate([_HAND_SPACE[1], [1.0], unbounded])
    if not goal_observable:
        goal_low = goal_high = (0.0, 0.0, 0.0)
    return np.concatenate([low, low, goal_low]), np.concatenate([high, high, goal_high])


def stack_frames(
    frame: Float[Array, "18"], previous: Float[Array, "18"], goal: Float[Array, "3"], *, goal_observable: bool
) -> Float[Array, "39"]:
    """The unclipped observation.

    A step's is clipped to the bounds before anything reads it, but the next step's `previous` is the unclipped frame;
    a reset's shows its frame twice and is not clipped at all.
    """
    return jnp.concatenate([frame, previous, goal if goal_observable else jnp.zeros_like(goal)])


def reset_frame(
    fresh: Float[Array, "18"], settled: Float[Array, "18"], prop_shift: Float[Array, "3"], stale: Bool[Array, ""]
) -> Float[Array, "18"]:
    """The frame that the reference observes at reset.

    Where the task moves its prop or its fixture without forwarding the simulation (`TaskSpec.stale_reset`), the
    reference still sees what the last settling substep left: the hand one substep ago, the fixture where the prop now
    stands, but not as the task then set its joint. Elsewhere it sees the placed state.

    Args:
        fresh: the frame of the placed state.
        settled: the frame that the last settling substep left.
        prop_shift: by how much the task moved its prop after that, m.
        stale: whether the simulation was not forwarded.
    """
    return jnp.where(stale, settled.at[OBJECT].add(prop_shift), fresh)


class Appended(NamedTuple):
    """Numbers that an environment appends to the 39: the episode's parameters, then the task's one-hot vector."""

    num_parameters: int = 0
    num_tasks: int = 0  # the one-hot vector's length; 0 without one

    @property
    def size(self) -> int:
        """Number of them."""
        return self.num_parameters + self.num_tasks

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (39 + size,) of an observation with them; parameters have none.

        Args:
            low: (39,) of the observation without them.
            high: (39,) likewise.
        """
        unbounded = np.full(self.num_parameters, np.inf)
        one_hot_low, one_hot_high = np.zeros(self.num_tasks), np.ones(self.num_tasks)
        return np.concatenate([low, -unbounded, one_hot_low]), np.concatenate([high, unbounded, one_hot_high])

    def to(
        self, obs: Float[Array, "39"], parameters: Float[Array, " parameters"] | None, task: Int[Array, ""]
    ) -> Float[Array, " obs"]:
        """An observation with them.

        Args:
            obs: its 39 numbers.
            parameters: (num_parameters,) of the episode; None without.
            task: index into the environment's tasks.
        """
        parts = [obs]
        if parameters is not None:
            parts.append(parameters.astype(obs.dtype))
        if self.num_tasks:
            parts.append(jax.nn.one_hot(task, self.num_tasks, dtype=obs.dtype))
        return jnp.concatenate(parts) if len(parts) > 1 else obs
