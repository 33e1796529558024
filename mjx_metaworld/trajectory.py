"""Trajectories: states of a batch at moments of its episodes, in memory and in files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import struct
from jaxtyping import Array

from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.processes.archive import describe, read_npz, rebuild
from mjx_metaworld.tasks.registry import is_built_in
from mjx_metaworld.tasks.spec import TaskSpec
from mjx_metaworld.types import State, on_host

SUFFIX = ".npz"
_FORMAT = 1  # of the files
_DESCRIPTION = "description"  # the member that says what the others are


class Trajectory(struct.PyTreeNode):
    """States that were kept while a batch was stepped.

    Attributes:
        tasks: names of the tasks, by the states' `task`.
        every: control steps between two moments.
        physics: accuracy of the engine that computed the states.
        specs: the tasks that are not this package's own, of which the registry may have others; files do not hold them.
        states: leading axes (moments, lanes).
    """

    states: State
    tasks: tuple[str, ...] = struct.field(pytree_node=False)
    every: int = struct.field(pytree_node=False, default=1)
    physics: PhysicsConfig = struct.field(pytree_node=False, default=PhysicsConfig())
    specs: tuple[TaskSpec, ...] = struct.field(pytree_node=False, default=())

    @classmethod
    def of(cls, env: MetaWorldEnv, states: State | Sequence[State], every: int = 1) -> Trajectory:
        """Gather what was kept of a simulation.

        Args:
            env: the environment that the states belong to.
            states: with leading axes (moments, lanes), or a sequence of batches.
            every: control steps between two moments.

        Raises:
            ValueError: for states of other leading axes, of tasks that the environment does not have, or none.
        """
        if isinstance(states, State):
            kept = on_host(states)
        elif states:
            shapes = sorted({np.shape(batch.task) for batch in states})
            if len(shapes) > 1:
                raise ValueError(f"batches one after the other must have the same lanes, got {shapes}")
            kept = jax.tree.map(lambda *leaves: np.stack(leaves), *map(on_host, states))
        else:
            raise ValueError("a trajectory has at least one moment, got none")
        if np.ndim(kept.task) != 2:
            raise ValueError(f"states must have leading axes (moments, lanes), got {np.shape(kept.task)}")
        kept = kept.replace(pixels=None)
        names, physics = tuple(spec.name for spec in env.tasks), env.engine.config.accuracy
        _check_tasks(kept.task, names)
        specs = tuple(spec for spec in env.tasks if not is_built_in(spec))
        every = check_integer("every", every)
        return cls(states=kept, tasks=names, every=every, physics=physics, specs=specs)

    @property
    def env(self) -> MetaWorldEnv:
        """An environment of the same tasks, which draws the states; made anew at each call.

        Raises:
            ValueError: for a task that is not declared in this process, of a trajectory from a file.
        """
        own = {spec.name: spec for spec in self.specs}
        return make([own.get(name, name) for name in self.tasks], physics=self.physics)

    def __len__(self) -> int:
        return len(self.states.task)

    def save(self, path: Path | str) -> None:
        """Write a file (.npz, compressed), whole or not at all; a folder above it that is missing is made.

        Raises:
            ValueError: for another suffix.
        """
        path = _checked(path)
        leaves: list[np.ndarray] = []
        states = on_host(self.states)
        content = {"format": _FORMAT, "tasks": self.tasks, "every": self.every, "states": describe(states, leaves)}
        content["physics"] = dataclasses.asdict(self.physics)
        members = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        members[_DESCRIPTION] = np.frombuffer(json.dumps(content).encode(), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **members)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path | str) -> Trajectory:
        """Read a file; no code that it may hold is run.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no trajectory, or one of another version.
        """
        path = _checked(path)
        try:
            members = read_npz(path)
            content = json.loads(members.pop(_DESCRIPTION).tobytes())
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']}, and this version reads {_FORMAT}")
            states = rebuild(content["states"], [members[f"leaf{i}"] for i in range(len(members))])
            if not isinstance(states, State) or np.ndim(states.task) != 2:
                raise ValueError("it holds no states")
            shape = np.shape(states.task)
            if any(np.shape(leaf)[:2] != shape for leaf in jax.tree.leaves(states)):
                raise ValueError(f"not all of its arrays have the leading axes {shape}")
            tasks = tuple(content["tasks"])
            if not all(isinstance(name, str) for name in tasks):
                raise ValueError(f"its tasks are {tasks}")
            _check_tasks(states.task, tasks)
            physics = PhysicsConfig(**content.get("physics", {}))  # files of before it was written have the defaults
            return cls(states=states, tasks=tasks, every=check_integer("every", content["every"]), physics=physics)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is no trajectory: {error}") from error


def _check_tasks(task: Array | np.ndarray, names: Sequence[str]) -> None:
    """Check the tasks (moments, lanes) of states.

    Raises:
        ValueError: if there are none, or some have no name.
    """
    if not np.size(task):
        raise ValueError(f"a trajectory has at least one moment and one lane, got {np.shape(task)}")
    low, high = np.min(task), np.max(task)
    if not 0 <= low <= high < len(names):
        raise ValueError(f"tasks of states must be in 0..{len(names) - 1} ({', '.join(names)}), got {low}..{high}")


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"a trajectory's file ends in {SUFFIX}, got {path}")
    return path
