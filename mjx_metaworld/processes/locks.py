"""Lock files: a folder that a process writes is no other's meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_held: set[int] = set()  # descriptors of this process's locks


class LockedError(RuntimeError):
    """A folder that another process writes."""


@contextlib.contextmanager
def exclusive(folder: Path, file: Path) -> Iterator[None]:
    """Hold a folder for oneself; a process that ends in whatever way, by a kill too, lets it go.

    Args:
        folder: for messages.
        file: the lock, in a folder that exists; removed in the end.

    Raises:
        LockedError: if another process holds the folder, with its number.
        OSError: if the file cannot be written.
    """
    owner = os.getpid()
    descriptor = _acquire(folder, file)
    _held.add(descriptor)
    try:
        yield
    finally:
        if os.getpid() == owner:  # a fork leaves the lock to its parent
            _held.discard(descriptor)
            file.unlink(missing_ok=True)
            os.close(descriptor)


def _acquire(folder: Path, file: Path) -> int:
    """Descriptor of the locked file."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder)
            if _is_at(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder removed the file just now


def _lock(descriptor: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
        raise LockedError(
            f"{folder} is in use: process {holder} writes it. Wait until that has ended, or name another folder."
        ) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        warnings.warn(
            f"the file system of {folder} has no locks ({error.strerror}): see to it that no other process writes it",
            stacklevel=5,
        )


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _after_fork() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
