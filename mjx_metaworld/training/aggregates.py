"""Aggregates of scores over runs and tasks, with intervals by stratified bootstrap.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021), whose
library `rliable` brings pandas, seaborn, statsmodels and arch along for these few lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 2_000  # of the runs; an end of a 95 % interval then varies by some hundredths of the interval
_COVERED = 0.95  # of the resampled statistics lie in an interval
_TRIMMED = 0.25  # of the scores at either end do not count in an interquartile mean

Statistic = Callable[[Float[np.ndarray, "... runs tasks"]], Float[np.ndarray, "..."]]


@dataclass(frozen=True)
class Estimate:
    """A statistic of some runs, and its interval; a single run has none, since nothing is known of the others."""

    value: float
    low: float | None = None
    high: float | None = None


def mean(scores: Float[np.ndarray, "... runs tasks"]) -> Float[np.ndarray, "..."]:
    """Mean over runs and tasks."""
    return scores.mean((-2, -1))


def interquartile_mean(scores: Float[np.ndarray, "... runs tasks"]) -> Float[np.ndarray, "..."]:
    """Mean of the middle half of all scores, whichever run and task they are of."""
    every = np.sort(scores.reshape(*scores.shape[:-2], -1), -1)
    trimmed = int(_TRIMMED * every.shape[-1])
    return every[..., trimmed : every.shape[-1] - trimmed].mean(-1)


def estimate(scores: Float[np.ndarray, "*points runs tasks"], statistic: Statistic = mean) -> list[Estimate]:
    """A statistic at every point of a curve, with intervals where there are several runs.

    Runs are drawn anew with replacement, for each task by itself, and alike at all points. The draws are the same at
    every call, so that a table is written again as it was.

    Args:
        scores: with one leading axis of points.
        statistic: of runs and tasks.
    """
    points, runs, tasks = scores.shape
    values = statistic(scores)
    if runs == 1:
        return [Estimate(float(value)) for value in values]
    drawn = np.random.default_rng(0).integers(runs, size=(RESAMPLES, runs, tasks))
    ends = [(1 - _COVERED) / 2, (1 + _COVERED) / 2]
    estimates = []
    for point in range(points):
        low, high = np.quantile(statistic(np.take_along_axis(scores[point][None], drawn, axis=1)), ends)
        estimates.append(Estimate(float(values[point]), float(low), float(high)))
    return estimates
