"""Folder of a run: its configuration and first random key in `run.json`, and the checkpoint that a path in it names."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from mjx_metaworld.training.checkpoint import BEST, CHECKPOINTS, CheckpointError, first_line
from mjx_metaworld.training.config import TrainConfig, as_json, differences, from_json
from mjx_metaworld.training.state_arrays import key_impl

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
_THREEFRY_WORDS = 2  # of a key of JAX's default implementation
# In `run.json`:
_TASKS = "tasks"  # the names that a suite stood for when the run began
_DECLARED = "declared"  # digests of tasks that are not this package's


class RunTasks(NamedTuple):
    """Tasks of a run, which suites and names stand for when it begins."""

    names: tuple[str, ...] = ()  # in the order of their heads; empty for runs of before they were written
    declared: Mapping[str, str] = MappingProxyType({})  # digests of those that are not this package's


_UNKNOWN = RunTasks()


class Run(NamedTuple):
    """Configuration and first random key of a run."""

    config: TrainConfig
    key: list[int]  # the words of the random key that it began with
    key_impl: str  # its implementation, as `jax.random.key` takes it
    tasks: RunTasks  # when it began


def open_run(
    folder: Path,
    config: TrainConfig,
    key: Key[Array, ""],
    facts: dict[str, Any],
    tasks: RunTasks = _UNKNOWN,
) -> None:
    """Begin a run in a folder, or see that the folder holds this very run.

    A task of one's own that is declared otherwise than when the run began is warned of; other tasks, of a suite that
    has changed, are another run.

    Args:
        folder: made if it does not exist.
        config: what is trained.
        key: starts the run's only random stream.
        facts: for the reader, such as device and versions.
        tasks: what the configuration's tasks stand for now.

    Raises:
        CheckpointError: if the folder holds another run, or something else.
    """
    file = folder / RUN_FILE
    if file.exists():
        stored = read_run(folder)
        changed = differences(stored.config, config)
        if stored.key_impl != key_impl(key):
            changed.append(f"random key of {stored.key_impl}, now of {key_impl(key)}")
        elif stored.key != key_words(key):
            changed.append(f"random key {stored.key}, now {key_words(key)}")
        if not changed and (other := other_tasks(stored, tasks.names)):
            changed.append(other)
        if changed:
            raise CheckpointError(f"{folder} holds another run: {'; '.join(changed)}. Name another folder.")
        _warn_of_declarations(stored.tasks.declared, tasks.declared)
        return
    if folder.exists() and any(path not in (_partial(folder), folder / LOCK_FILE) for path in folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty and holds no training run ({RUN_FILE} is missing)")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, config, key, facts, tasks)


def other_tasks(run: Run, names: Sequence[str]) -> str | None:
    """Difference, in words, between the tasks of a run when it began and now; None where there is none, or unknown."""
    if not names or not run.tasks.names or tuple(names) == run.tasks.names:
        return None
    return f"tasks {', '.join(run.tasks.names)}, now {', '.join(names)}"


def note_start(
    folder: Path,
    config: TrainConfig,
    key: Key[Array, ""],
    facts: dict[str, Any],
    tasks: RunTasks,
) -> None:
    """Note how long and how often a run that was opened goes on, and with which device and versions.

    Args:
        folder: of `open_run`, as all the others.
        config: what is trained.
        key: starts the run's only random stream.
        facts: for the reader.
        tasks: what the configuration's tasks stand for; the declarations with which the run began stay.
    """
    began_with = read_run(folder).tasks.declared
    _write(folder, config, key, facts, tasks._replace(declared={**tasks.declared, **began_with}))


def _write(folder: Path, config: TrainConfig, key: Key[Array, ""], facts: dict[str, Any], tasks: RunTasks) -> None:
    content = {"config": as_json(config), "key": key_words(key), "key_impl": key_impl(key), **facts}
    content |= {_TASKS: tasks.names, _DECLARED: dict(tasks.declared)}
    partial = _partial(folder)
    partial.write_text(json.dumps(content | {"digest": _digest_of_json(content)}, indent=1) + "\n")
    partial.replace(folder / RUN_FILE)


def _partial(folder: Path) -> Path:
    """All that a kill at the very start leaves, with the lock."""
    return (folder / RUN_FILE).with_suffix(".tmp")


def _warn_of_declarations(began_with: Mapping[str, str], declared: Mapping[str, str]) -> None:
    others = [name for name, digest in declared.items() if began_with.get(name, digest) != digest]
    if others:
        message = "the task or its scene is another one than when this run began, whose record goes on"
        warnings.warn(f"{', '.join(others)}: {message}", UserWarning, stacklevel=3)


def read_run(folder: Path) -> Run:
    """Read the configuration and first random key of the run in a folder.

    Raises:
        CheckpointError: if there is none.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        raise CheckpointError(f"{folder} holds no training run ({RUN_FILE} is missing)")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        digest = data.pop("digest", None)  # runs of before it was written have none
        if digest not in (None, _digest_of_json(data)):
            raise ValueError("its content is not what was written")
        config, key = from_json(data["config"]), [int(word) for word in data["key"]]
        # Runs of before `key_impl` was written have JAX's own, or that of the other length.
        impl = str(data.get("key_impl") or ("threefry2x32" if len(key) == _THREEFRY_WORDS else "rbg"))
        return Run(config, key, impl, RunTasks(tuple(data.get(_TASKS, ())), dict(data.get(_DECLARED, {}))))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file} is broken or of another version: {first_line(error)}") from error


def key_words(key: Key[Array, ""]) -> list[int]:
    """The numbers of a random key, as `run.json` holds them."""
    return np.asarray(jax.random.key_data(key)).tolist()


def _digest_of_json(content: Mapping[str, Any]) -> str:
    """Fingerprint of what JSON holds, however it is laid out."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


class Place(NamedTuple):
    """Checkpoint that a path names."""

    run: Path  # folder of the run
    kind: str  # the folder in it: CHECKPOINTS or BEST
    number: int | None  # the newest if None


def find_checkpoint(path: Path) -> Place:
    """The checkpoint that a path names: a run's folder, one of its two folders of checkpoints, or one of these.

    Raises:
        CheckpointError: if the path is in no run's folder.
    """
    if not (path / RUN_FILE).is_file():
        folder, number = (path.parent, path.name) if path.name.isdigit() else (path, None)
        if folder.name in (CHECKPOINTS, BEST) and (folder.parent / RUN_FILE).is_file():
            return Place(folder.parent, folder.name, None if number is None else int(number))
    read_run(path)
    return Place(path, CHECKPOINTS, None)
