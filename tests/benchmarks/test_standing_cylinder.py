"""Contact position of a standing cylinder: the lowest point of its rim, but for the reference's tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.standing_cylinder import measure


@pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
def test_the_reference_is_within_its_tolerance_of_the_lowest_point(tolerance):
    choice = measure(3e-4, tolerance, places=100)
    assert -1e-12 < choice.missing.min() <= choice.missing.max() < tolerance
    wide = np.quantile(choice.angle, 0.95)
    assert wide > 2.0 if tolerance > 1e-8 else wide < 1.0
    assert np.median(choice.moved) < 5e-6  # no accident of rounding: nearly the same state, nearly the same point
