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
from mjx_metaworld.parity.own_scatter import largest_difference, own_scatter
from mjx_metaworld.parity.record import EpisodeOutcome, Style
from mjx_metaworld.parity.report import Largest, Row, Sampling, Spread
from mjx_metaworld.parity.steps import StepErrors, Steps, record_steps, reset_error, reward_error, step_errors
from mjx_metaworld.suites import goals


def measure_steps(sampling: Sampling, env: MetaWorldEnv, progress: Progress) -> list[Row]:
    """Compare rewards, resets and one control step with the reference, task by task; the closed loop is left out."""
    step = jit(jax.vmap(env.step))
    bar = progress.add_task("rewards, resets, single steps", total=len(env.tasks))
    num_steps = sampling.step_length
    pad_to = sampling.step_goals * -(-num_steps // 2)  # every recording has the same length: one compilation

    def compare(task: int, vectors: np.ndarray, style: Style) -> tuple[Steps, StepErrors, Largest]:
        vectors = vectors[: sampling.step_goals]
        steps = record_steps(env, task, vectors, style=style, num_steps=num_steps, every=2)
        errors = step_errors(step, steps, pad_to=pad_to)
        own = own_scatter(env.tasks[task].name, vectors, style=style, num_steps=num_steps, every=2)
        from_tightened = largest_difference(errors.after, own.tightened_obs)
        return steps, errors, Largest(*map(Spread.of, (errors.obs, own.rounded, own.tightened, from_tightened)))

    rows = []
    for task, (spec, vectors) in enumerate(zip(env.tasks, goals(sampling.tasks, sampling.seed), strict=True)):
        expert, expert_errors, expert_largest = compare(task, vectors, "expert")
        random, random_errors, random_largest = compare(task, vectors, "random")
        of_expert, of_random = Spread.of(expert_errors.entries), Spread.of(random_errors.entries)
        rows.append(
            Row(
                task=spec.name,
                reward=max(reward_error(spec, steps) for steps in (expert, random)),
                reset=reset_error(env, task, vectors[: min(sampling.num_goals, 10)]),
                expert_median=of_expert.median,
                expert_p99=of_expert.p99,
                expert_largest_median=expert_largest.here.median,
                random_median=of_random.median,
                random_p99=of_random.p99,
                expert_largest=expert_largest,
                random_largest=random_largest,
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
