"""Observations of a batch as metaworld's wrappers give them: with a one-hot id, recurrent info, normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium.spaces import Box

from mjx_metaworld.adapters.gymnasium.normalization import ObservationNormalizer
from mjx_metaworld.env import ACTION_SIZE
from mjx_metaworld.observation import OBSERVATION_SIZE, observation_bounds
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.tasks import TaskSpec

_RECURRENT_SIZE = ACTION_SIZE + 2  # and the reward, and whether the episode has ended
_LARGEST_REWARD = 10.0


class ObservationMaker:
    """Observations of a batch, of which the environment computes 39 numbers.

    Args:
        tasks: of the batch.
        one_hot: (lanes, n) one-hot vectors to append; n may be 0.
        goal_observable: whether observations hold the goal.
        recurrent: append the last action, the last reward and whether the episode ended there, or zeros at its start.
        normalize_recurrent_reward: a tenth of the reward there.
        normalize: see `ObservationNormalizer`.

    Attributes:
        space: of one lane's observations.
        normalizer: None without.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        one_hot: np.ndarray,
        *,
        goal_observable: bool,
        recurrent: bool,
        normalize_recurrent_reward: bool,
        normalize: bool,
    ) -> None:
        num_envs, num_one_hot = one_hot.shape
        size = OBSERVATION_SIZE + num_one_hot + recurrent * _RECURRENT_SIZE
        self._one_hot = one_hot
        self._recurrent = recurrent
        self._reward_unit = _LARGEST_REWARD if normalize_recurrent_reward else 1.0
        self.normalizer = ObservationNormalizer(num_envs, size) if normalize else None
        if recurrent or normalize:
            self.space = Box(-np.inf, np.inf, (size,), np.float32)
        else:
            self.space = _bounded_space(tasks, goal_observable, num_one_hot)

    def first(self, obs: np.ndarray, lanes: np.ndarray, updated: np.ndarray) -> np.ndarray:
        """First observations of episodes, (lanes, size).

        Args:
            obs: (lanes, 39).
            lanes: mask of those that start; the rows of others mean nothing.
            updated: mask of those whose statistics go on.
        """
        recurrent = np.zeros((len(obs), _RECURRENT_SIZE))
        return self._made(obs, recurrent, lanes, updated)

    def next(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        ended: np.ndarray,
        lanes: np.ndarray,
        updated: np.ndarray,
    ) -> np.ndarray:
        """Observations after a step, (lanes, size).

        Args:
            obs: (lanes, 39).
            action: (lanes, 4), as it was given.
            reward: (lanes,) before it is normalised.
            ended: mask of lanes whose episode ends here.
            lanes: mask of those that took the step; the rows of others mean nothing.
            updated: mask of those whose statistics go on.
        """
        recurrent = np.column_stack([action, reward / self._reward_unit, ended])
        return self._made(obs, recurrent, lanes, updated)

    def _made(self, obs: np.ndarray, recurrent: np.ndarray, lanes: np.ndarray, updated: np.ndarray) -> np.ndarray:
        parts = [obs, self._one_hot] + [recurrent] * self._recurrent
        full = np.concatenate(parts, axis=1, dtype=np.float64)
        return full if self.normalizer is None else self.normalizer(full, lanes, updated)


def one_id(ids: np.ndarray, env_id: int) -> np.ndarray:
    """One-hot ids (lanes,) that are all `env_id`, in place of those within the batch.

    Raises:
        ValueError: if the batch has several, which would no longer be told apart, or `env_id` is no id.
    """
    if (own := len(np.unique(ids))) > 1:
        raise ValueError(f"env_id is for one task, got {env_id!r} in place of the {own} one-hot ids of several tasks")
    return np.full_like(ids, check_integer("env_id", env_id, 0))


def one_hot_vectors(ids: np.ndarray, num_own: int, num_tasks: int | None) -> np.ndarray:
    """One-hot vectors (lanes, num_tasks).

    Args:
        ids: (lanes,) place of each one.
        num_own: number of the batch's tasks.
        num_tasks: length of the vectors; None for the least that has room for these tasks and all ids.

    Raises:
        ValueError: if an id has no place, or the length is no positive integer.
    """
    if num_tasks is None:
        num_tasks = max(num_own, int(ids.max()) + 1)
    num_tasks = check_integer("num_tasks", num_tasks)
    if not 0 <= ids.min() <= ids.max() < num_tasks:
        raise ValueError(f"one-hot ids must be below num_tasks, {num_tasks}, got {int(ids.max())}")
    return np.eye(num_tasks)[ids]


def _bounded_space(tasks: Sequence[TaskSpec], goal_observable: bool, num_one_hot: int) -> Box:
    bounds = [observation_bounds(spec.goal_low, spec.goal_high, goal_observable=goal_observable) for spec in tasks]
    low, high = np.min([low for low, _ in bounds], axis=0), np.max([high for _, high in bounds], axis=0)
    # Observations are clipped in float32, where a bound may be rounded to a place beyond itself.
    low, high = np.minimum(low, low.astype(np.float32)), np.maximum(high, high.astype(np.float32))
    if not num_one_hot:
        return Box(low, high, dtype=np.float64)
    low, high = np.append(low, np.zeros(num_one_hot)), np.append(high, np.ones(num_one_hot))
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
