"""Aggregates over runs and tasks: values in closed form, and intervals that cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from mjx_metaworld.training.aggregates import estimate, interquartile_mean, mean


def test_the_interquartile_mean_is_that_of_the_middle_half():
    # Of eight scores the two smallest and the two largest do not count, whichever run and task they are of.
    scores = np.array([[0.0, 0.9, 0.2, 1.0], [0.4, 0.1, 0.6, 0.5]])
    assert interquartile_mean(scores) == pytest.approx(np.mean([0.2, 0.4, 0.5, 0.6]))
    assert interquartile_mean(np.stack([scores, scores + 1])).tolist() == pytest.approx([0.425, 1.425])
    assert interquartile_mean(np.array([[0.0, 1.0]])) == mean(np.array([[0.0, 1.0]])) == 0.5  # too few to leave any out


def test_a_single_run_has_no_interval():
    only, *_ = estimate(np.array([[[0.2, 0.4]], [[0.5, 0.5]]]))
    assert (only.value, only.low, only.high) == (pytest.approx(0.3), None, None)


def test_runs_are_drawn_for_each_task_by_itself():
    # Both runs have the mean 0.5: drawn whole they would give no interval; by task the mean is 0, 1/2 or 1.
    (drawn,) = estimate(np.array([[[0.0, 1.0], [1.0, 0.0]]]))
    assert (drawn.value, drawn.low, drawn.high) == (0.5, 0.0, 1.0)
    (alike,) = estimate(np.array([[[0.3, 0.7], [0.3, 0.7]]]))
    assert (alike.low, alike.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_intervals_cover_the_mean_about_as_often_as_they_say():
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(100):
        (found,) = estimate(generator.normal(0.5, 0.1, (1, 10, 5)))
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low < 0.5 < found.high)
    assert 0.85 <= np.mean(covered) <= 1.0  # a percentile interval of ten runs is a little too narrow


def test_a_curve_is_drawn_alike_at_all_points():
    scores = np.random.default_rng(0).uniform(size=(1, 3, 4))
    twice = estimate(np.repeat(scores, 2, axis=0))
    assert twice[0] == twice[1] == estimate(scores)[0]
