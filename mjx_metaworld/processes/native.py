"""Kernels in C++, compiled once a machine by the compiler that it has, and registered with XLA.

They are calls of XLA's foreign function interface, whose header jaxlib brings along. Where there is no compiler of C++,
XLA's own programs compute the same and take longer. What was compiled is kept in this package's cache, by the source,
the compiler and the machine; XLA knows a kernel by a name that holds a digest of its source, so that no kept program
runs with a kernel of another version.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax

from mjx_metaworld.processes.cache import digest_of, read_bytes, write_bytes
from mjx_metaworld.processes.exports import allow_call
from mjx_metaworld.processes.programs import machine_digest

_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
_SECONDS = 300  # more than any machine needs, so that a compiler that waits for something does not wait for good


class NativeKernel(NamedTuple):
    """A kernel for CPUs."""

    source: Path  # C++, with a handler of XLA's that has the file's name; it may include headers beside it

    def target(self) -> str:
        """Name by which XLA knows the kernel."""
        return _target(self)

    def hindrance(self) -> str:
        """Reason why the kernel cannot run here, empty if there is none; the first call compiles and registers it."""
        return _hindrance(self)


def compiler() -> tuple[str, ...] | None:
    """The command of the compiler of C++ that the environment variable CXX gives, or the first found; None without.

    CXX is a command as a shell would split it: a path, or one with more words such as `ccache g++` and `g++ -pipe`.
    """
    chosen = os.environ.get("CXX", "").strip()
    commands = [(chosen,), _words(chosen)] if chosen else [(name,) for name in _COMPILERS]
    for name, *more in filter(None, commands):
        found = shutil.which(name)
        if found is not None:
            return found, *more
    return None


def _words(command: str) -> tuple[str, ...]:
    """Words of a command, none if its quotes do not match."""
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


@functools.cache
def _target(kernel: NativeKernel) -> str:
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h")
    sources = [kernel.source, *sorted(kernel.source.parent.glob("*.hpp")), header]
    return f"mjx_metaworld_{kernel.source.stem}_{digest_of(*(path.read_bytes() for path in sources))[:12]}"


@functools.cache
def _hindrance(kernel: NativeKernel) -> str:
    found = compiler()
    if found is None:
        chosen = os.environ.get("CXX", "").strip()
        names = ", ".join(_COMPILERS)
        why = f"the variable CXX gives {chosen!r}" if chosen else f"looked for the variable CXX, {names}"
        return f"there is no compiler of C++ ({why})"
    told = shlex.join(found)
    try:
        _register(kernel, _kept_or_compiled(kernel, found))
    except subprocess.CalledProcessError as error:
        return f"{told} does not compile {kernel.source.name}: {(error.stderr or str(error)).strip().splitlines()[0]}"
    except (OSError, subprocess.SubprocessError, AttributeError, ValueError, RuntimeError) as error:
        return f"{told} makes no kernel of {kernel.source.name} that runs: {error}"
    return ""


def _kept_or_compiled(kernel: NativeKernel, tool: tuple[str, ...]) -> bytes:
    # Of `ccache g++` either may be replaced by another version.
    programs = [_version(path) for path in map(shutil.which, tool) if path is not None]
    name = f"kernels/{digest_of(kernel.target(), _FLAGS, tool[1:], programs, machine_digest())}"
    library = read_bytes(name)
    if library is None:
        library = _compile(kernel, tool)
        write_bytes(name, library)
    return library


def _version(program: str) -> tuple[str, int, int]:
    """The path, size and time of a program, which change with it."""
    path = os.path.realpath(program)
    told = os.stat(path)
    return path, told.st_size, told.st_mtime_ns


def _compile(kernel: NativeKernel, tool: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mjx-metaworld-kernels-") as folder:
        made = Path(folder, "kernel.so")
        command = [*tool, *_FLAGS, f"-I{jax.ffi.include_dir()}", str(kernel.source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        return made.read_bytes()


def _register(kernel: NativeKernel, library: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="mjx-metaworld-kernels-") as folder:
        path = Path(folder, "kernel.so")
        path.write_bytes(library)
        loaded = ctypes.CDLL(str(path))  # it stays in memory when the file is gone
    jax.ffi.register_ffi_target(kernel.target(), jax.ffi.pycapsule(getattr(loaded, kernel.source.stem)), platform="cpu")
    allow_call(kernel.target())
