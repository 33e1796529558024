"""Infos as gymnasium's SyncVectorEnv gathers them: every key beside its mask of lanes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from mjx_metaworld.types import Metrics

Infos = dict[str, Any]


def with_mask(key: str, value: Any, mask: np.ndarray) -> Infos:
    """A key of an info and its mask of lanes; both are new arrays."""
    return {key: value, f"_{key}": mask.copy()}


def metric_infos(metrics: Metrics, mask: np.ndarray) -> Infos:
    """The reference's seven entries for some lanes; nothing if there is no lane."""
    infos: Infos = {}
    if mask.any():
        for field in fields(metrics):
            value = np.where(mask, getattr(metrics, field.name), 0.0).astype(np.float64)
            infos |= with_mask(field.name, value, mask)
    return infos


def finite_infos(finite: np.ndarray, running: np.ndarray) -> Infos:
    """`finite`, which metaworld does not know: only at a step at which it is False for some lane."""
    return {} if finite[running].all() else with_mask("finite", finite | ~running, running)


class EpisodeStatistics:
    """Return, length and seconds of every lane's episode, as gymnasium's RecordEpisodeStatistics around each lane.

    Attributes:
        length: (lanes,) steps of the episode so far.
    """

    def __init__(self, num_envs: int) -> None:
        self.length = np.zeros(num_envs, np.int64)
        self._return = np.zeros(num_envs)
        self._started = np.zeros(num_envs)

    def start(self, lanes: np.ndarray) -> None:
        """Begin anew for the lanes of a mask."""
        self._return[lanes] = 0.0
        self.length[lanes] = 0
        self._started[lanes] = time.perf_counter()

    def add(self, reward: np.ndarray, lanes: np.ndarray) -> None:
        """Count a step of the lanes of a mask; the reward (lanes,) of others is zero."""
        self._return += reward
        self.length += lanes

    def infos(self, ended: np.ndarray) -> Infos:
        """The statistics of ended episodes; nothing if there is none."""
        if not ended.any():
            return {}
        seconds = np.round(time.perf_counter() - self._started, 6)
        columns = {"r": self._return, "l": self.length, "t": seconds}
        episode: Infos = {}
        for name, column in columns.items():
            episode |= with_mask(name, np.where(ended, column, 0).astype(column.dtype), ended)
        return with_mask("episode", episode, ended)


def final_infos(
    observed: Callable[[int], Any], metrics: Metrics, statistics: EpisodeStatistics, ended: np.ndarray
) -> Infos:
    """`final_obs` and `final_info`, in which the ends of episodes go under SameStep; nothing if none has ended.

    Args:
        observed: last observation of a lane's episode.
        metrics: (lanes,) of the step.
        statistics: of the episodes.
        ended: mask of the lanes whose episode ended.
    """
    if not ended.any():
        return {}
    final = np.full(len(ended), None, object)
    for lane in np.flatnonzero(ended).tolist():
        final[lane] = observed(lane)
    last = metric_infos(metrics, ended) | statistics.infos(ended)
    return with_mask("final_obs", final, ended) | with_mask("final_info", last, ended)


def first_lane(infos: Infos) -> Infos:
    """The only lane's infos as Python values."""
    return {
        key: first_lane(value) if isinstance(value, dict) else value[0].item()
        for key, value in infos.items()
        if not key.startswith("_")
    }
