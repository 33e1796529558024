"""Policies at work in environments: what a training run has learnt, to be watched, drawn or recorded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Act

RUN_FILE = "run.json"  # that a training run's folder holds
_CHECKPOINTS = "checkpoints"


class Acting(NamedTuple):
    """A policy in an environment.

    Attributes:
        env: the environment.
        act: the policy, of a batch.
        title: says what it is, in Markdown.
    """

    env: MetaWorldEnv
    act: Act
    title: str


def is_run(path: Path) -> bool:
    """True of the folder of a training run, or of one of its checkpoints."""
    return (path / RUN_FILE).is_file() or _run_of(path) != path


def acting_of_run(path: Path) -> Acting:
    """The policy that a training run has learnt, in the environment that it learnt in.

    Args:
        path: the run's folder, which stands for its newest checkpoint, or the checkpoint's own.

    Raises:
        CheckpointError: if there is no usable checkpoint, or the one that is named is not the newest.
        ImportError: without the extra `train`.
    """
    from mjx_metaworld.training import CheckpointError, load

    folder = _run_of(path)
    trained = load(folder)
    newest = str(trained.progress.iteration)
    if path != folder and path.name != newest:
        raise CheckpointError(f"{path} is not the newest checkpoint of {folder}, which is {newest}")

    def act(state, key):
        return jnp.clip(trained.policy(trained.observe(state), state.task), -1.0, 1.0)

    return Acting(trained.env, act, f"**{path}** after {trained.progress.env_steps:,} env steps")


def _run_of(path: Path) -> Path:
    """The run's folder of one of its checkpoints; others as they are."""
    run = path.parent.parent
    is_checkpoint = path.parent.name == _CHECKPOINTS and path.is_dir() and (run / RUN_FILE).is_file()
    return run if is_checkpoint else path
