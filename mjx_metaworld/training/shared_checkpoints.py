"""Checkpoints of a run of several processes: the leader's alone, who writes and reads them for all.

They are those of a single process, so that any number of processes may go on from them, and the others need not see the
leader's disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Key

from mjx_metaworld.processes.hosts import broadcast, from_leader
from mjx_metaworld.training.checkpoint import Checkpoints, Progress, policy_part
from mjx_metaworld.training.devices import fetch, own_part, place, placement
from mjx_metaworld.training.state_arrays import NamedArrays, put_together, shapes_of, take_apart

T = TypeVar("T")


class SharedCheckpoints:
    """`Checkpoints` for all processes; they call each of its methods together, but for `newest` and `close`.

    Args:
        folder: the run's; of the leader alone.

    Raises:
        LeaderError: here and below, in the other processes, where the leader raises an error.
    """

    def __init__(self, folder: Path) -> None:
        self._own: Checkpoints | None = None  # the leader's
        from_leader(lambda: self._open(folder))

    def _open(self, folder: Path) -> None:
        self._own = Checkpoints(folder)

    def _lead(self, call: Callable[[Checkpoints], T]) -> T:
        """Call what the leader has."""

        def led() -> T:
            assert self._own is not None, "the leader has checkpoints"
            return call(self._own)

        return from_leader(led)

    def save(self, state: Any, progress: Progress) -> None:
        """Write a checkpoint, see `Checkpoints.save`."""
        parts = take_apart(state)
        whole = NamedArrays(fetch(parts.arrays), parts.key_impls)
        self._lead(lambda own: own.write(whole, progress))

    def offer(self, state: Any, progress: Progress) -> None:
        """Keep the best policy, see `Checkpoints.offer`."""
        policy = own_part(policy_part(state))
        self._lead(lambda own: own.offer(policy, progress))

    def best(self) -> Progress | None:
        """Progress at the best evaluation, see `Checkpoints.best`."""
        found = self._lead(lambda own: None if (best := own.best()) is None else asdict(best))
        return None if found is None else Progress(**found)

    def newest(self) -> int | None:
        """Iteration of the newest checkpoint; None if there is none, and in the other processes."""
        return None if self._own is None else self._own.newest()

    def restore(
        self, init: Callable[[Key[Array, ""]], Any], lanes: NamedSharding | None = None
    ) -> tuple[Any, Progress] | None:
        """The newest checkpoint, or None if there is none.

        Args:
            init: what made the first train state; it is only traced, for the shapes.
            lanes: how the environments' lanes lie on the devices of all processes.
        """
        held: list[NamedArrays] = []

        def read(own: Checkpoints) -> dict[str, Any] | None:
            restored = own.restore(init)
            if restored is None:
                return None
            held.append(take_apart(restored[0]))
            return {"progress": asdict(restored[1]), "key_impls": dict(held[0].key_impls)}

        found = self._lead(read)
        if found is None:
            return None
        impls = found["key_impls"]
        template = jax.eval_shape(init, jax.random.key(0, impl=next(iter(impls.values()), None)))
        places = placement(template, lanes)
        shapes = shapes_of(template, places)
        content = broadcast(_joined(held[0], shapes) if held else None)
        arrays = {name: place(array, shapes[name].sharding) for name, array in _divided(content, shapes).items()}
        return put_together(NamedArrays(arrays, impls), template), Progress(**found["progress"])

    def close(self) -> None:
        """Release what orbax holds."""
        if self._own is not None:
            self._own.close()


def _joined(parts: NamedArrays, shapes: dict[str, jax.ShapeDtypeStruct]) -> bytes:
    """The bytes of all arrays, one after another."""
    return b"".join(np.asarray(parts.arrays[name]).tobytes() for name in shapes)


def _divided(content: bytes, shapes: dict[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    """The arrays of which `_joined` joined the bytes."""
    arrays, start = {}, 0
    for name, shape in shapes.items():
        size = shape.size * shape.dtype.itemsize
        arrays[name] = np.frombuffer(content, shape.dtype, shape.size, start).reshape(shape.shape)
        start += size
    return arrays
