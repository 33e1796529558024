"""Programs that were compiled, kept for the next process by JAX's own cache, in this package's folder.

JAX keeps programs only where it is told a folder, for all programs of a process. Here it is told one while a function
of this package compiles, unless the user has named a folder (`JAX_COMPILATION_CACHE_DIR`) or switched JAX's cache off
(`JAX_ENABLE_COMPILATION_CACHE=false`): then that holds, and nothing here is done.

JAX writes its files in place, so that another process might read half of one. It is therefore given a folder of this
process alone, with links to the files that are whole; what it writes there is moved to the others once it is complete.
Whole are those whose content has the digest that stands in their names: a program that was altered must not run.
"""

from __future__ import annotations

import atexit
import contextlib
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from mjx_metaworld.processes.cache import cache_folder, digest_of, write_file

_SUFFIX = "-cache"  # of JAX's files
_LEAST_SECONDS = 0.3  # programs that compile faster are not worth a file
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": _LEAST_SECONDS,
    "jax_persistent_cache_enable_xla_caches": "none",  # XLA's own would lie in the folder of this process alone
    "jax_compilation_cache_max_size": -1,  # `make_room` bounds the folder
}
_FOLDER, _SWITCH = "jax_compilation_cache_dir", "jax_enable_compilation_cache"


class _Call(threading.local):
    """State of a thread: the calls of compiled functions under way, and if one of them is kept."""

    depth = 0
    opened = False
    anew = False  # nothing is read or kept, whatever is called


_call = _Call()
_lock = threading.RLock()
_users = 0
_may_keep_lowered = True
_before: dict[str, object] = {}


@contextlib.contextmanager
def keeping_programs() -> Iterator[None]:
    """Keep what is compiled within, from the moment on at which `keep_program` is called."""
    _call.depth += 1
    try:
        yield
    finally:
        _call.depth -= 1
        if _call.depth == 0 and _call.opened:
            _call.opened = False
            _close()


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Read and keep no program within, in this thread, so that compiling can be timed."""
    before, _call.anew = _call.anew, True
    try:
        yield
    finally:
        _call.anew = before


def is_keeping() -> bool:
    """True within `keeping_programs`, in this thread, if that is not switched off by `compiling_anew`."""
    return _call.depth > 0 and not _call.anew


def keep_program(*, lowered: bool = False) -> None:
    """Keep the program that is traced now, or read it where it is kept; without effect outside `keeping_programs`.

    Args:
        lowered: it has been traced before, and is compiled now.
    """
    if is_keeping() and not _call.opened and (_may_keep_lowered or not lowered):
        _call.opened = True
        _open()


def keep_no_program() -> None:
    """Do not keep the program that is traced now: it holds what means something in this process alone.

    Programs that are lowered and compiled in two calls are kept no longer either, since at the second it is not known
    what the first has met.
    """
    global _may_keep_lowered
    _may_keep_lowered = False
    if _call.opened:
        _call.opened = False
        _close()


def _open() -> None:
    global _users
    with _lock:
        _users += 1
        if _users > 1 or cache_folder() is None:
            return
        if getattr(jax.config, _FOLDER) or not getattr(jax.config, _SWITCH):
            return
        try:
            staging = _link_whole_files()
        except OSError:
            return
        for name, value in (_SETTINGS | {_FOLDER: str(staging)}).items():
            _before[name] = getattr(jax.config, name)
            jax.config.update(name, value)
        reset_cache()


def _close() -> None:
    global _users
    with _lock:
        _users -= 1
        if not _before:
            return
        _take_new_files()
        if _users == 0:
            for name, value in _before.items():
                jax.config.update(name, value)
            _before.clear()
            reset_cache()


def _link_whole_files() -> Path:
    """Links to all files that are kept and have the content that their names say, by JAX's names."""
    staging = _staging()
    for link in staging.iterdir():
        link.unlink()
    kept = _kept_folder()
    for path in kept.iterdir() if kept and kept.is_dir() else ():
        name, _, digest = path.name.rpartition("~")
        with contextlib.suppress(OSError):  # another process may remove it meanwhile
            status = path.stat()
            if name.endswith(_SUFFIX) and _digest_of_file(path, status.st_size, status.st_mtime_ns) == digest:
                (staging / name).symlink_to(path)
    return staging


@cache
def _digest_of_file(path: Path, size: int, changed: int) -> str:
    """Digest of a file, read once as long as it stays as long and as old."""
    return digest_of(path.read_bytes())


def _take_new_files() -> None:
    """Move what JAX has written to the files that are kept."""
    kept = _kept_folder()
    if kept is None:
        return
    with contextlib.suppress(OSError):
        for path in _staging().iterdir():
            if path.is_symlink() or not path.name.endswith(_SUFFIX):
                continue
            content = path.read_bytes()
            target = kept / f"{path.name}~{digest_of(content)}"
            if write_file(target, content):
                path.unlink()
                path.symlink_to(target)


def _kept_folder() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "programs" / machine_digest()


@cache
def _staging() -> Path:
    path = tempfile.mkdtemp(prefix="mjx-metaworld-programs-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


@cache
def machine_digest() -> str:
    """A digest of what a CPU can do: a program for one with other instructions must not run here."""
    described = platform.machine(), platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        told = {line for line in lines if line.startswith(("flags", "Features", "model name", "CPU part"))}
        described = *described, *sorted(told)
    return digest_of(described)
