"""Policies at work in environments: what a training run has learnt, to be watched, drawn or recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import Act
from mjx_metaworld.inputs.folders import is_folder
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.types import State

RUN_FILE = "run.json"  # that a training run's folder holds


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
    """True of the folder of a training run, and of its checkpoints' below: RUN/best, RUN/checkpoints/NUMBER."""
    return is_folder(path) and any((folder / RUN_FILE).is_file() for folder in (path, *path.parents[:2]))


def acting_of_run(path: Path, physics: Sequence[str] = ()) -> Acting:
    """The policy that a training run has learnt, in the environment that it learnt in.

    Args:
        path: the run's folder, which stands for its newest checkpoint, its folder `best`, or a checkpoint's own.
        physics: fields of the engine's accuracy that are other than the run's, as `name=value`.

    Raises:
        CheckpointError: if there is no usable checkpoint.
        ValueError: for bad `physics`.
        ImportError: without the extra `train`.
    """
    from mjx_metaworld.training import load
    from mjx_metaworld.training.run_folder import find_checkpoint, read_run

    trained = load(path, physics_of(physics, read_run(find_checkpoint(path).run).config.physics))

    def act(state: State, key: Key[Array, ""]) -> Float[Array, "envs 4"]:
        return jnp.clip(trained.policy(trained.observe(state), state.task), -1.0, 1.0)

    return Acting(trained.env, act, f"**{path}** after {trained.progress.env_steps:,} env steps")
