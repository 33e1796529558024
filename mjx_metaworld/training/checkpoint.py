"""Checkpoints of a run with orbax: whole or not there at all, and everything that the run goes on from."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Key

from mjx_metaworld.training.config import TrainConfig, as_json, differences, from_json
from mjx_metaworld.training.devices import placement
from mjx_metaworld.training.raw_text import without_raw_text
from mjx_metaworld.training.requires import require
from mjx_metaworld.training.state_arrays import NamedArrays, key_impl, put_together, shapes_of, take_apart

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
_THREEFRY_WORDS = 2  # of a key of JAX's default implementation
CHECKPOINTS, BEST = "checkpoints", "best"  # folders of a run
BROKEN = "broken"  # where checkpoints are put that a run went on without
_DECLARED = "declared"  # in `run.json`, digests of tasks that are not this package's
_KEEP = 3  # the newest checkpoints; older ones are deleted
_EXPERIENCE = ("env_state", "replay")  # fields of train states that only going on needs


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: broken, of another run, or of another version."""


class _BrokenError(CheckpointError):
    """A checkpoint that cannot be read, or holds something else than is wanted."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run."""

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0  # wall clock since the run began, with compiling, over all of its processes
    success: float = 0.0  # of the last evaluation, in the mean


class _Record(NamedTuple):
    """Contents of a checkpoint beside its arrays."""

    progress: Progress
    key_impls: Mapping[str, str]  # implementation of each random key, by its path
    x64: bool | None  # whether numbers were 64 bits wide; None in checkpoints that do not say it
    digest: str | None  # of all arrays, likewise


class Checkpoints:
    """The checkpoints of a run folder: the newest ones, from which it goes on, and that of the best evaluation.

    Args:
        folder: the run's; made if it does not exist.
        name: of the folder in it that holds these.
        keep: so many of the newest.

    Raises:
        ImportError: if orbax is missing.
    """

    def __init__(self, folder: Path, name: str = CHECKPOINTS, keep: int = _KEEP) -> None:
        self._ocp = require("orbax.checkpoint")
        self._run = folder
        self._folder = folder.absolute() / name
        self._best: Checkpoints | None = None  # once there is one
        self._broken: set[int] = set()  # those newer than the one from which this went on
        # Writing waits for the disk: the arrays of the train state may be overwritten right afterwards.
        self._folder.mkdir(parents=True, exist_ok=True)
        options = self._ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False, **_of_this_process(self._ocp)
        )
        self._manager = self._ocp.CheckpointManager(self._folder, options=options)

    def save(self, state: Any, progress: Progress, number: int | None = None) -> None:
        """Write a checkpoint; one that a kill interrupts does not count.

        Args:
            state: the train state.
            progress: of the run.
            number: names it, larger than those before; by default the iteration.

        Raises:
            CheckpointError: if it cannot be written, because the disk is full, say; the earlier ones stay as they are.
        """
        self.write(take_apart(state), progress, number)

    def write(self, parts: NamedArrays, progress: Progress, number: int | None = None) -> None:
        """Write a checkpoint of a train state that was taken apart, as `save` does."""
        args = self._ocp.args
        # Where there are several processes, orbax takes arrays of JAX for theirs in common.
        arrays = parts.arrays if jax.process_count() == 1 else jax.device_get(parts.arrays)
        record = _Record(progress, parts.key_impls, jax.config.read("jax_enable_x64"), _digest(arrays, progress))
        written = record._asdict() | {"progress": asdict(progress), "key_impls": dict(record.key_impls)}
        number = progress.iteration if number is None else number
        composite = args.Composite(state=args.StandardSave(arrays), progress=args.JsonSave(written))
        try:
            self._set_broken_aside()
            with without_raw_text():
                self._manager.save(number, args=composite)
        except Exception as error:  # orbax and tensorstore raise whatever their file formats meet
            raise CheckpointError(
                f"the checkpoint {self._folder / str(number)} cannot be written ({_first_line(error)}); "
                "earlier ones are whole, and the same command goes on from the newest of them"
            ) from error

    def offer(self, state: Any, progress: Progress) -> None:
        """Keep the policy of a state, if it has some success and no evaluation of the run so far had as much.

        What only going on needs is left out, so that it is small. It is counted, not named by its iteration: a run
        that a kill took back comes to better evaluations at earlier iterations, on other devices.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if progress.success <= (self.best() or Progress()).success:
            return
        if self._best is None:
            self._best = Checkpoints(self._run, BEST, keep=1)
        self._best.save(policy_part(state), progress, number=1 + (self._best.newest() or 0))

    def best(self) -> Progress | None:
        """Progress at the best evaluation; None if there was none with any success, or its checkpoint is broken."""
        if self._best is None and (self._run / BEST).is_dir():
            self._best = Checkpoints(self._run, BEST, keep=1)
        number = None if self._best is None else self._best.newest()
        return None if self._best is None or number is None else self._best.progress(number)

    def progress(self, number: int) -> Progress | None:
        """Progress of the run at a checkpoint; None if that is broken."""
        args = self._ocp.args
        try:
            stored = self._manager.restore(number, args=args.Composite(progress=args.JsonRestore()))
            return _read_record(stored.progress).progress
        except Exception:  # orbax raises whatever its file formats meet
            return None

    def newest(self) -> int | None:
        """Iteration of the newest checkpoint that is not known as broken; None if there is none."""
        return max(set(self._manager.all_steps()) - self._broken, default=None)

    def restore(
        self, init: Callable[[Key[Array, ""]], Any], lanes: NamedSharding | None = None, number: int | None = None
    ) -> tuple[Any, Progress] | None:
        """A checkpoint, by default the newest that is whole, or None if there is none.

        Args:
            init: what made the first train state; it is only traced, for the shapes.
            lanes: how the environments' lanes lie on several devices, which may be others than those of the run so far.
            number: of the checkpoint.

        Raises:
            CheckpointError: if the checkpoint cannot be read, or holds another kind of train state; without a number if
                that is so of all. Where only newer ones are broken, a warning says so, and the next `save` sets them
                aside.
        """
        there = sorted(self._manager.all_steps(), reverse=True)
        if number is not None:
            if number not in there:
                raise CheckpointError(f"{self._folder} holds no checkpoint {number}; there are {_listed(there)}")
            return self._restore(init, lanes, number)
        failures: dict[int, _BrokenError] = {}
        for candidate in there:
            try:
                found = self._restore(init, lanes, candidate)
            except _BrokenError as error:
                failures[candidate] = error
                continue
            if failures:
                self._broken = set(failures)
                warnings.warn(f"{failures[there[0]]}. Going on from the one before, {candidate}.", stacklevel=2)
            return found
        if failures:  # of another version, most likely: nothing is touched
            raise failures[there[0]]
        return None

    def _restore(
        self, init: Callable[[Key[Array, ""]], Any], lanes: NamedSharding | None, number: int
    ) -> tuple[Any, Progress]:
        with without_raw_text():
            return self._restore_loudly(init, lanes, number)

    def _restore_loudly(
        self, init: Callable[[Key[Array, ""]], Any], lanes: NamedSharding | None, number: int
    ) -> tuple[Any, Progress]:
        args = self._ocp.args
        try:
            stored = self._manager.restore(number, args=args.Composite(progress=args.JsonRestore()))
            record = _read_record(stored.progress)
            _check_width(self._folder / str(number), record.x64)
            template = jax.eval_shape(init, jax.random.key(0, impl=next(iter(record.key_impls.values()), None)))
            places = placement(template, lanes)
            # With their shardings: left to itself, orbax would look for the devices that wrote them.
            arrays = self._manager.restore(
                number, args=args.Composite(state=args.StandardRestore(shapes_of(template, places)))
            ).state
            if record.digest not in (None, _digest(arrays, record.progress)):
                raise ValueError("its arrays are not those that were written")
            state = put_together(NamedArrays(arrays, record.key_impls), template)
            return jax.device_put(state, places), record.progress
        except CheckpointError:
            raise
        except Exception as error:  # orbax and tensorstore raise whatever their file formats meet
            raise _BrokenError(
                f"the checkpoint {self._folder / str(number)} is broken or of another version of mjx_metaworld "
                f"({_first_line(error)})"
            ) from error

    def _set_broken_aside(self) -> None:
        """Move the checkpoints that this went on without out of the way of those to come."""
        if not self._broken:
            return
        aside = self._run / BROKEN
        aside.mkdir(exist_ok=True)
        for number in self._broken:
            place = aside / f"{self._folder.name}-{number}"
            if place.exists():
                place = aside / f"{place.name}-{sum(1 for _ in aside.iterdir())}"
            (self._folder / str(number)).rename(place)
        self._broken = set()
        self._manager.reload()

    def close(self) -> None:
        """Release what orbax holds."""
        self._manager.close()
        if self._best is not None:
            self._best.close()


def policy_part(state: Any) -> Any:
    """Train state without environments and buffer, which the policy does not need; no run goes on from it."""
    return state.replace(**{name: None for name in _EXPERIENCE if hasattr(state, name)})


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


class Run(NamedTuple):
    """Configuration and first random key of a run."""

    config: TrainConfig
    key: list[int]  # the words of the random key that it began with
    key_impl: str  # its implementation, as `jax.random.key` takes it
    declared: dict[str, str]  # digests of the tasks that are not this package's, when it began


def open_run(
    folder: Path,
    config: TrainConfig,
    key: Key[Array, ""],
    facts: dict[str, Any],
    declared: dict[str, str] | None = None,
) -> None:
    """Begin a run in a folder, or see that the folder holds this very run.

    A task of one's own that is declared otherwise than when the run began is warned of.

    Args:
        folder: made if it does not exist.
        config: what is trained.
        key: starts the run's only random stream.
        facts: for the reader, such as device and versions.
        declared: digests of tasks that are not this package's.

    Raises:
        CheckpointError: if the folder holds another run, or something else.
    """
    file = folder / RUN_FILE
    declared = declared or {}
    partial = file.with_suffix(".tmp")  # all that a kill at the very start leaves, with the lock
    if file.exists():
        stored = read_run(folder)
        changed = differences(stored.config, config)
        if stored.key_impl != key_impl(key):
            changed.append(f"random key of {stored.key_impl}, now of {key_impl(key)}")
        elif stored.key != key_words(key):
            changed.append(f"random key {stored.key}, now {key_words(key)}")
        if changed:
            raise CheckpointError(f"{folder} holds another run: {'; '.join(changed)}. Name another folder.")
        _warn_of_declarations(stored.declared, declared)
        declared = declared | stored.declared
    elif folder.exists() and any(path not in (partial, folder / LOCK_FILE) for path in folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty and holds no training run ({RUN_FILE} is missing)")
    folder.mkdir(parents=True, exist_ok=True)
    start = {"key": key_words(key), "key_impl": key_impl(key)}
    content = {"config": as_json(config), **start, **facts, _DECLARED: declared}
    partial.write_text(json.dumps(content | {"digest": _digest_of_json(content)}, indent=1) + "\n")
    partial.replace(file)


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
        return Run(config, key, impl, dict(data.get(_DECLARED, {})))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file} is broken or of another version: {_first_line(error)}") from error


def key_words(key: Key[Array, ""]) -> list[int]:
    """The numbers of a random key, as `run.json` holds them."""
    return np.asarray(jax.random.key_data(key)).tolist()


def _read_record(data: Mapping[str, Any]) -> _Record:
    """A checkpoint's record; those of before there was one hold the progress alone."""
    if "progress" not in data:
        return _Record(Progress(**data), {}, None, None)
    return _Record(Progress(**data["progress"]), data["key_impls"], data["x64"], data["digest"])


def _check_width(place: Path, x64: bool | None) -> None:
    """Check that the numbers of a checkpoint are as wide as this process's."""
    if x64 is not None and x64 != jax.config.read("jax_enable_x64"):
        was, now = ("64", "32") if x64 else ("32", "64")
        raise CheckpointError(
            f"the checkpoint {place} holds numbers of {was} bits and this process computes with {now}; go on with the "
            f"environment variable JAX_ENABLE_X64={int(x64)}"
        )


def _of_this_process(ocp: Any) -> dict[str, Any]:
    """Options for a manager that one of several processes has for itself, without waiting for the others."""
    if jax.process_count() == 1:
        return {}
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process_{own}"
    )
    return {"multiprocessing_options": alone, "create": False}


def _digest(arrays: Mapping[str, Array], progress: Progress) -> str:
    """Fingerprint of a checkpoint, since what is cut off a file reads as zeros."""
    digest = hashlib.blake2b(json.dumps(asdict(progress)).encode(), digest_size=16)
    for name in sorted(arrays):
        numbers = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {numbers.dtype} {numbers.shape}".encode())
        digest.update(numbers.tobytes())
    return digest.hexdigest()


def _digest_of_json(content: Mapping[str, Any]) -> str:
    """Fingerprint of what JSON holds, however it is laid out."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
