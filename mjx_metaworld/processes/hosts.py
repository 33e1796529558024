"""Processes on one or several hosts that run one program together, and small things they tell each other.

`jax.distributed` connects them, as `processes.cluster` or a user's own call of it does. All make the same calls in the
same order. The leader, process 0, alone writes files and prints. A single process is its own leader.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.errors import JaxRuntimeError
from jax.sharding import Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")
_PIECE = 1 << 26  # bytes of a broadcast at once
_LENGTH = np.dtype("<i8")
# In the errors of collective operations and of JAX's coordination service, whose type differs.
_SIGNS_OF_LOSS = ("gloo", "nccl", "coordination service", "connection closed", "connection reset", "socket closed")


class LostError(RuntimeError):
    """Another process of the program that has ended or cannot be reached."""


class LeaderError(RuntimeError):
    """An error of the leader, in the other processes."""


def is_leader() -> bool:
    """True of process 0, and of a process on its own."""
    return jax.process_index() == 0


def is_follower() -> bool:
    """True of the other processes; does not start JAX where nothing was connected."""
    return jax.distributed.is_initialized() and not is_leader()


def exchange(number: int) -> list[int]:
    """Numbers that all processes give, in their order."""
    rows = _meet(np.asarray([number], _LENGTH).view(np.uint8), _identity)
    return np.ascontiguousarray(rows).view(_LENGTH).ravel().tolist()


def any_process(flag: bool) -> bool:
    """True in all processes if it is in one."""
    return any(exchange(int(flag)))


def broadcast(content: bytes | None) -> bytes:
    """Bytes that the leader gives, in all processes; what the others give does not count."""
    if jax.process_count() == 1:
        return content or b""
    own = np.frombuffer(content or b"", np.uint8) if is_leader() else np.zeros(0, np.uint8)
    length = exchange(own.size)[0]
    size = min(_PIECE, 1 << max(0, length - 1).bit_length())  # few sizes, each of which compiles a program
    pieces = []
    for start in range(0, length, size):
        piece = np.zeros(size, np.uint8)
        part = own[start : start + size]
        piece[: part.size] = part
        pieces.append(_meet(piece, _sum).tobytes())
    return b"".join(pieces)[:length]


def from_leader(fn: Callable[[], T]) -> T:
    """Call a function in the leader.

    Args:
        fn: returns what JSON can hold.

    Returns:
        Its result, in all processes.

    Raises:
        LeaderError: in the others, if it raises an error.
    """
    if jax.process_count() == 1:
        return fn()
    if not is_leader():
        told = json.loads(broadcast(None))
        if "error" in told:
            raise LeaderError(f"process 0 has failed: {told['error']}")
        return told["result"]
    try:
        result = fn()
    except Exception as error:
        broadcast(json.dumps({"error": str(error)}).encode())
        raise
    broadcast(json.dumps({"result": result}).encode())
    return result


def is_loss(error: Exception) -> bool:
    """True of an error that tells the end of another process."""
    if not isinstance(error, (ValueError, JaxRuntimeError)) or jax.process_count() == 1:
        return False
    return any(sign in str(error).lower() for sign in _SIGNS_OF_LOSS)


def _meet(row: np.ndarray, of_rows: Callable[[Any], Any]) -> np.ndarray:
    """A function of the rows that all processes give, by which one device of each meets the others."""
    if jax.process_count() == 1:
        return np.asarray(of_rows(row[None]))
    mesh = _one_device_each()
    rows = NamedSharding(mesh, PartitionSpec("processes"))
    own = jax.device_put(row[None], jax.local_devices()[0])
    shape = (mesh.size, *row.shape)
    together = _compiled(of_rows)(jax.make_array_from_single_device_arrays(shape, rows, [own]))
    return np.asarray(together.addressable_data(0))


@functools.cache
def _one_device_each() -> Mesh:
    first = {device.process_index: device for device in reversed(jax.devices())}
    return Mesh(np.asarray([first[index] for index in sorted(first)]), ("processes",))


@functools.cache
def _compiled(of_rows: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return jax.jit(of_rows, out_shardings=NamedSharding(_one_device_each(), PartitionSpec()))


def _identity(rows: Any) -> Any:
    return rows


def _sum(rows: Any) -> Any:
    return rows.sum(0, dtype=rows.dtype)
