"""Folders of runs that were never made: a configuration and evaluations alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from mjx_metaworld.training.config import TrainConfig
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.records import METRICS_FILE
from mjx_metaworld.training.run_folder import open_run

FACTS = {"device": "cpu", "devices": 1, "machine": "x86_64, 2 cores", "versions": {"jax": "0.10.2"}}


def write_run(
    folder: Path,
    success: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    config: TrainConfig = TrainConfig("MT10", PPOConfig()),  # noqa: B008 - frozen
    every: int = 100,
    seconds: float = 60.0,
    facts: Mapping[str, object] = FACTS,
) -> Path:
    """Write a run that was evaluated at even intervals.

    Args:
        folder: to make.
        success: of the evaluations, by task.
        seed: of its random key.
        config: of the run.
        every: environment steps between two evaluations.
        seconds: between two evaluations.
        facts: beside the configuration.
    """
    open_run(folder, config, jax.random.key(seed), dict(facts))
    lines = []
    for i, values in enumerate(zip(*success.values(), strict=True), 1):
        figures = {f"success/{task}": value for task, value in zip(success, values, strict=True)}
        figures |= {f"episode_return/{task}": 100 * value for task, value in zip(success, values, strict=True)}
        mean = sum(values) / len(values)
        place = {"env_steps": every * i, "seconds": seconds * i}
        lines.append({"kind": "iteration", **place})
        lines.append({"kind": "evaluation", **place, "success": mean, "episode_return": 100 * mean, **figures})
    (folder / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
