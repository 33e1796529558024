"""The figures of parity with the live CPU reference, and their table in Markdown."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from mjx_metaworld.build.machine import versions
from mjx_metaworld.parity.episodes import CHUNK
from mjx_metaworld.parity.own_scatter import TOLERANCE
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS
from mjx_metaworld.types import EPISODE_STEPS


@dataclass(frozen=True)
class Sampling:
    """The episodes and control steps that the figures are taken from."""

    tasks: str = "MT50"  # a suite or a task
    num_goals: int = 50  # frozen goals a task for resets (at most 10 of them) and for the closed loop
    num_steps: int = EPISODE_STEPS  # control steps an episode of the closed loop
    step_goals: int = 3  # episodes recorded a task and style for the one-step figures
    step_length: int = 160  # control steps of those episodes, of which every second is kept
    seed: int = GOALS_SEED  # of the frozen goals
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default: box_pairs=20 max_contacts=64

    def __post_init__(self) -> None:
        if not 1 <= self.num_goals <= NUM_GOALS:
            raise ValueError(f"num_goals must be in 1..{NUM_GOALS}, got {self.num_goals}")
        if not 1 <= self.step_goals <= NUM_GOALS:
            raise ValueError(f"step_goals must be in 1..{NUM_GOALS}, got {self.step_goals}")
        if not 2 <= self.step_length <= EPISODE_STEPS:
            raise ValueError(f"step_length must be in 2..{EPISODE_STEPS}, got {self.step_length}")
        if not CHUNK <= self.num_steps <= EPISODE_STEPS or self.num_steps % CHUNK:
            raise ValueError(f"num_steps must be a multiple of {CHUNK} up to {EPISODE_STEPS}, got {self.num_steps}")


@dataclass(frozen=True)
class Spread:
    """Median and 99th percentile over control steps."""

    median: float
    p99: float

    @classmethod
    def of(cls, errors: np.ndarray) -> Spread:
        """Spread of errors of shape (n,) or more, all alike."""
        return cls(float(np.median(errors)), float(np.quantile(errors, 0.99)))


@dataclass(frozen=True)
class Largest:
    """Errors of each step's worst entry, beside those of the reference from itself."""

    here: Spread
    rounded: Spread  # the reference from its own state rounded to float32
    tightened: Spread  # the reference with a tighter tolerance of its convex routine
    from_tightened: Spread  # ours, from the step of the reference with that tolerance


@dataclass(frozen=True)
class Row:
    """The figures of one task."""

    task: str
    reward: float  # largest relative error of reward and metrics
    reset: float  # largest absolute error of the first observation
    expert_median: float  # of the observed entries' absolute error after one control step
    expert_p99: float
    expert_largest_median: float  # of each step's largest entry, over the steps
    random_median: float
    random_p99: float
    expert_largest: Largest  # of each step's entries
    random_largest: Largest
    success_here: float = float("nan")
    success_there: float = float("nan")
    return_here: float = float("nan")
    return_there: float = float("nan")


def markdown(sampling: Sampling, rows: list[Row]) -> str:
    """The table in Markdown, with what its columns mean."""
    head = (
        "| task | reward | reset | expert step: median | 99 % | worst entry: median | 99 % "
        "| random step: median | 99 % | worst entry: median | 99 % "
        "| success here | CPU | return here | CPU |"
    )
    lines = [head, "| --- |" + " ---: |" * 14]
    for row in rows:
        expert, random = row.expert_largest.here, row.random_largest.here
        errors = (row.reward, row.reset, row.expert_median, row.expert_p99, expert.median, expert.p99)
        errors += (row.random_median, row.random_p99, random.median, random.p99)
        cells = [row.task, *map(_error, errors), f"{row.success_here:.0%}", f"{row.success_there:.0%}"]
        lines.append(f"| {' | '.join(cells)} | {row.return_here:.0f} | {row.return_there:.0f} |")
    success = [np.mean([getattr(row, f"success_{side}") for row in rows]) for side in ("here", "there")]
    returns = [np.mean([getattr(row, f"return_{side}") for row in rows]) for side in ("here", "there")]
    means = [f"{success[0]:.1%}", f"{success[1]:.1%}", f"{returns[0]:.0f}", f"{returns[1]:.0f}"]
    lines.append(f"| **mean** |{' |' * 10} {' | '.join(means)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Reward: largest error of reward and metrics, relative, from the reference's own quantities (float64). "
            "Reset: largest error of the first observation. Step: absolute error of the observed entries after one "
            f"control step from the reference's state (float32; {_episodes(sampling)}), over all entries, most of "
            "which are the hand's, and of the worst entry of each step. Success and return: scripted experts on "
            f"{sampling.num_goals} frozen goals (seed {sampling.seed}), {sampling.num_steps} steps; solved when any "
            "step succeeds.",
            "",
            _made_by(sampling),
        ]
    )


def largest_markdown(sampling: Sampling, rows: list[Row]) -> str:
    """The table of the worst entries in Markdown: ours, and the reference's own scatter beside them."""
    group = "reference | rounded | tighter | ours, from tighter"
    lines = [f"| task | expert: ours, from {group} | random: ours, from {group} |", "| --- |" + " ---: |" * 8]
    for row in rows:
        both = (row.expert_largest, row.random_largest)
        spreads = (s for of in both for s in (of.here, of.rounded, of.tightened, of.from_tightened))
        lines.append(f"| {row.task} | {' | '.join(f'{_error(s.median)}, {_error(s.p99)}' for s in spreads)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Median and 99th percentile of the largest absolute error among the entries of the observed frame after "
            f"one control step, over the steps of {_episodes(sampling)}, of the expert and of random actions. From "
            "the reference's step: ours; the reference's own from its state rounded to float32; and its own with a "
            f"tighter tolerance, `opt.ccd_tolerance` at {TOLERANCE:.0e} m in place of 1e-6 m. The last is ours from "
            "the step with that tolerance.",
            "",
            _made_by(sampling),
        ]
    )


def _error(error: float) -> str:
    return f"{error:.0e}"


def _episodes(sampling: Sampling) -> str:
    return f"{sampling.step_goals} episodes of {sampling.step_length} steps, every second"


def _made_by(sampling: Sampling) -> str:
    installed = ", ".join((*(f"{name} {version}" for name, version in versions().items()), *sampling.physics))
    return f"{jax.devices()[0].device_kind}; {installed}."
