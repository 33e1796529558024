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

from mjx_metaworld.training.devices import placement
from mjx_metaworld.training.raw_text import without_raw_text
from mjx_metaworld.training.requires import require
from mjx_metaworld.training.state_arrays import NamedArrays, put_together, shapes_of, take_apart

CHECKPOINTS, BEST = "checkpoints", "best"  # folders of a run
BROKEN = "broken"  # where checkpoints are put that a run went on without
_TOLD = 300  # characters of another library's error
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
                f"the checkpoint {self._folder / str(number)} cannot be written ({first_line(error)}); "
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
                f"({first_line(error)})"
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


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"


def first_line(error: Exception) -> str:
    """An error's kind and what it says in one line; of a long text begin and end, where tensorstore has the cause."""
    text = " ".join(str(error).split())
    if len(text) > _TOLD:
        text = f"{text[: _TOLD // 2]} ... {text[-_TOLD // 2 :]}"
    return f"{type(error).__name__}: {text}"
