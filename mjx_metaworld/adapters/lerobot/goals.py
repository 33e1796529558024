"""Goals of LeRobot's own Meta-World environment for a seed, so that the same seeds mean the same episodes."""

from __future__ import annotations

import numpy as np

from mjx_metaworld.suites import draw_goal
from mjx_metaworld.tasks import TaskSpec


def next_goal(spec: TaskSpec, generator: np.random.Generator) -> np.ndarray:
    """The goal vector `(rand,)` of the episode that a reset starts.

    LeRobot lets the reference draw from the environment's own generator, `numpy.random.default_rng(seed)` after a
    reset with a seed. The reference prepares every episode twice, and the second draw counts.
    """
    draw_goal(generator, spec)
    return draw_goal(generator, spec)
