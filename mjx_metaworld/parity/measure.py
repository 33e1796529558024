"""Every level of parity with the live CPU reference, measured on the tasks of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from rich.progress import Progress

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.parity.reference import EpisodeOutcome
from mjx_metaworld.parity.report import Row, Sampling
from mjx_metaworld.parity.steps import record_steps, reset_error, reward_error, step_errors
from mjx_metaworld.suites import goals


def measure_steps(sampling: Sampling, env: MetaWorldEnv, progress: Progress) -> list[Row]:
    """Compare rewards, resets and one control step with the reference, task by task; the closed loop is left out."""
    step = jit(jax.vmap(env.step))
    bar = progress.add_task("rewards, resets, single steps", total=len(env.tasks))
    num_steps = sampling.step_length
    pad_to = sampling.step_goals * -(-num_steps // 2)  # every recording has the same length: one compilation
    rows = []
    for task, (spec, vectors) in enumerate(zip(env.tasks, goals(sampling.tasks, sampling.seed), strict=True)):
        expert, wandering = (
            record_steps(env, task, vectors[: sampling.step_goals], style=style, num_steps=num_steps, every=2)
            for style in ("expert", "random")
        )
        expert_errors, random_errors = (step_errors(step, s, pad_to=pad_to) for s in (expert, wandering))
        rows.append(
            Row(
                task=spec.name,
                reward=max(reward_error(spec, steps) for steps in (expert, wandering)),
                reset=reset_error(env, task, vectors[: min(sampling.num_goals, 10)]),
                expert_median=float(np.median(expert_errors.entries)),
                expert_p99=float(np.quantile(expert_errors.entries, 0.99)),
                expert_largest_median=float(np.median(expert_errors.obs)),
                random_median=float(np.median(random_errors.entries)),
                random_p99=float(np.quantile(random_errors.entries, 0.99)),
            )
        )
        progress.advance(bar)
    return rows


def with_episodes(rows: Sequence[Row], here: EpisodeStats, there: Sequence[Sequence[EpisodeOutcome]]) -> list[Row]:
    """Add the closed loop to the rows of the same tasks: success and mean return of the experts on both sides."""
    return [
        replace(
            row,
            success_here=float(here.success[i].mean()),
            success_there=float(np.mean([outcome.success for outcome in there[i]])),
            return_here=float(here.episode_return[i].mean()),
            return_there=float(np.mean([outcome.episode_return for outcome in there[i]])),
        )
        for i, row in enumerate(rows)
    ]
