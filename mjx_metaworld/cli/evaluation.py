"""Settings that every evaluation on the reference's frozen goals has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mjx_metaworld.build.machine import cpu_cores
from mjx_metaworld.suites import Tasks, goals

REFERENCE_PROCESSES = min(cpu_cores(), 8)  # that run CPU metaworld, each with some 0.7 GB


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on frozen goals, here and, with `reference`, on CPU metaworld, too."""

    num_goals: int  # of the 50 frozen goals a task
    num_steps: int  # control steps an episode at most
    seed: int  # of the frozen goals
    reference: bool = False
    physics: tuple[str, ...] = ()  # fields of the engine's accuracy that are other than usual, as `name=value`

    def rand_vecs(self, tasks: Tasks) -> list[np.ndarray]:
        """Goal vectors (num_goals, rand) of each task."""
        return [vectors[: self.num_goals] for vectors in goals(tasks, self.seed)]

    def described(self) -> str:
        """The goals in words, for titles."""
        return f"{self.num_goals} frozen goals a task (seed {self.seed})"
