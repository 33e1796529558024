"""Running statistics of every lane for itself, as metaworld has them: it wraps each sub-environment.

Gymnasium's own wrappers of vector environments share one statistic among all lanes, which for a batch of tasks is
another thing; so its update formula runs here on arrays with a leading axis of lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from gymnasium.wrappers.utils import RunningMeanStd, update_mean_var_count_from_moments

from mjx_metaworld.physics.checks import as_numbers, check_offers

RewardNormalization = Literal["gymnasium", "exponential"]
_DISCOUNT = 0.99  # this and the next are the defaults of gymnasium's wrappers, which metaworld leaves
_EPSILON = 1e-8


class LaneStatistics:
    """Mean, variance and count of what every lane has seen, with a leading axis of lanes.

    Args:
        num_envs: number of lanes.
        shape: of what a lane sees at a time.
    """

    def __init__(self, num_envs: int, shape: tuple[int, ...] = ()) -> None:
        self.mean = np.zeros((num_envs, *shape))
        self.var = np.ones((num_envs, *shape))
        self.count = np.full((num_envs, *(1 for _ in shape)), RunningMeanStd().count)

    def update(self, seen: np.ndarray, lanes: np.ndarray) -> None:
        """Take in what the lanes of a mask see; `seen` has the shape of `mean`."""
        old = (self.mean, self.var, self.count)
        new = update_mean_var_count_from_moments(*old, seen, 0.0, 1)
        mask = lanes.reshape(self.count.shape)
        self.mean, self.var, self.count = (np.where(mask, a, b) for a, b in zip(new, old, strict=True))

    def scale(self) -> np.ndarray:
        """Standard deviations, away from zero."""
        return np.sqrt(self.var + _EPSILON)

    def of_lanes(self) -> tuple[RunningMeanStd, ...]:
        """A copy for each lane, of gymnasium's type."""
        copies = []
        for mean, var, count in zip(self.mean, self.var, self.count, strict=True):
            lane = RunningMeanStd(shape=mean.shape)
            lane.mean, lane.var, lane.count = mean.copy(), var.copy(), count.item()
            copies.append(lane)
        return tuple(copies)

    def assign(self, name: str, lanes: Sequence[RunningMeanStd]) -> None:
        """Take over the statistics of gymnasium's objects, one a lane; all are checked before any is taken.

        Args:
            name: of the statistics, for messages.
            lanes: the objects, or others with `mean`, `var` and `count`.

        Raises:
            TypeError: for what has none of these.
            ValueError: for numbers of another shape, or such as no statistics have.
        """
        shape = self.mean.shape[1:]
        for lane in lanes:
            check_offers(name, lane, "gymnasium's RunningMeanStd", "mean", "var", "count")
        mean = [_checked_numbers(f"{name}.mean", lane.mean, shape) for lane in lanes]
        var = [_checked_numbers(f"{name}.var", lane.var, shape, low=0.0) for lane in lanes]
        count = [_checked_numbers(f"{name}.count", lane.count, (), low=0.0) for lane in lanes]
        self.mean, self.var, self.count = np.array(mean), np.array(var), np.array(count).reshape(self.count.shape)


def _checked_numbers(name: str, value: Any, shape: tuple[int, ...], low: float = -np.inf) -> np.ndarray:
    """Finite numbers of a shape, none of them below a bound, as float64."""
    allowed = f"{name} must be finite numbers{' >= 0' if low == 0.0 else ''} of shape {shape}"
    if np.shape(value) != shape:
        raise ValueError(f"{allowed}, got shape {np.shape(value)}")
    numbers = as_numbers(np.ravel(value))
    if numbers is None or any(number < low for number in numbers):
        raise ValueError(f"{allowed}, got {value!r}")
    return np.array(numbers).reshape(shape)


class ObservationNormalizer:
    """Observations with mean zero and variance one, as gymnasium's `NormalizeObservation` around each lane."""

    def __init__(self, num_envs: int, size: int) -> None:
        self.statistics = LaneStatistics(num_envs, (size,))

    def __call__(self, obs: np.ndarray, lanes: np.ndarray, updated: np.ndarray) -> np.ndarray:
        """Normalised observations, float32 (lanes, size).

        Args:
            obs: (lanes, size) float64.
            lanes: mask of those that have made an observation; the rows of others mean nothing.
            updated: mask of those whose statistics go on.
        """
        self.statistics.update(obs, lanes & updated)
        return ((obs - self.statistics.mean) / self.statistics.scale()).astype(np.float32)


class RewardNormalizer(Protocol):
    """A scaling of rewards by what each lane has been given so far."""

    def __call__(
        self, reward: np.ndarray, terminated: np.ndarray, lanes: np.ndarray, updated: np.ndarray
    ) -> np.ndarray:
        """Scaled rewards (lanes,) float64.

        Args:
            reward: (lanes,) float64.
            terminated: mask of lanes whose episode ends, other than by truncation.
            lanes: mask of those that have taken a step; others get no reward.
            updated: mask of those whose statistics go on.
        """
        ...


class ReturnScaling:
    """Rewards over the deviation of the discounted return, as gymnasium's `NormalizeReward` around each lane."""

    def __init__(self, num_envs: int) -> None:
        self.statistics = LaneStatistics(num_envs)
        self._return = np.zeros(num_envs)

    def __call__(
        self, reward: np.ndarray, terminated: np.ndarray, lanes: np.ndarray, updated: np.ndarray
    ) -> np.ndarray:
        """See `RewardNormalizer`. The return goes on over a truncation."""
        self._return = np.where(lanes, self._return * _DISCOUNT * ~terminated + reward, self._return)
        self.statistics.update(self._return, lanes & updated)
        return np.where(lanes, reward / self.statistics.scale(), 0.0)


class ExponentialScaling:
    """Rewards over their exponentially averaged deviation, as metaworld's `NormalizeRewardsExponential`.

    Args:
        num_envs: number of lanes.
        alpha: weight of the newest reward, 0 .. 1.
    """

    def __init__(self, num_envs: int, alpha: float) -> None:
        self._alpha = alpha
        self._mean, self._var = np.zeros(num_envs), np.ones(num_envs)

    def __call__(
        self, reward: np.ndarray, terminated: np.ndarray, lanes: np.ndarray, updated: np.ndarray
    ) -> np.ndarray:
        """See `RewardNormalizer`; the statistics always go on."""
        for _ in range(2):  # metaworld's wrapper takes every reward in twice
            mean = (1 - self._alpha) * self._mean + self._alpha * reward
            var = (1 - self._alpha) * self._var + self._alpha * np.square(reward - mean)
            self._mean, self._var = np.where(lanes, mean, self._mean), np.where(lanes, var, self._var)
        return np.where(lanes, reward / (np.sqrt(self._var) + _EPSILON), 0.0)


def reward_normalizer(method: RewardNormalization | None, num_envs: int, alpha: float) -> RewardNormalizer | None:
    """The scaling of a name, or None for none.

    Raises:
        ValueError: for another name, or an `alpha` that is no number from 0 to 1.
    """
    if method is None:
        return None
    if method == "gymnasium":
        return ReturnScaling(num_envs)
    if method != "exponential":
        raise ValueError(f"reward_normalization_method must be None, gymnasium or exponential, got {method!r}")
    numbers = as_numbers([alpha])
    if numbers is None or not 0.0 <= numbers[0] <= 1.0:
        raise ValueError(f"reward_alpha must be a number from 0 to 1, got {alpha!r}")
    return ExponentialScaling(num_envs, *numbers)
