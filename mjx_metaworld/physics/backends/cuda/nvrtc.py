"""CUDA C to PTX by NVRTC, the compiler that is installed with JAX's plugin for CUDA."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

# The oldest devices that programs are compiled for (A100), and PTX as the oldest drivers for JAX (CUDA 12.1) take it.
ARCHITECTURE, _VERSION = 80, "8.1"


MISSING = "NVRTC is not installed; it comes with jax[cuda12] and jax[cuda13]"


class CompileError(RuntimeError):
    """NVRTC is not there, or does not take a program; the message says which, and why."""


@functools.cache
def compile_ptx(source: str, macros: tuple[tuple[str, str], ...], headers: tuple[tuple[str, str], ...] = ()) -> str:
    """PTX of a program, for every device since `ARCHITECTURE`.

    Args:
        source: CUDA C.
        macros: names and values.
        headers: names and texts of what it includes.

    Raises:
        CompileError: if there is no NVRTC or it cannot compile the program.
    """
    nvrtc = _library()
    program = ctypes.c_void_p()
    names, texts = (_strings([header[part] for header in headers]) for part in (0, 1))
    create = nvrtc.nvrtcCreateProgram
    _check(nvrtc, create(ctypes.byref(program), source.encode(), b"kernel.cu", len(headers), texts, names))
    try:
        options = [f"--gpu-architecture=compute_{ARCHITECTURE}", *(f"-D{name}={value}" for name, value in macros)]
        if nvrtc.nvrtcCompileProgram(program, len(options), _strings(options)):
            raise CompileError(f"NVRTC: {_text(nvrtc, 'ProgramLog', program).decode()}")
        ptx = _text(nvrtc, "PTX", program).rstrip(b"\0").decode()
        # A driver refuses PTX newer than itself, which NVRTC may be.
        return re.sub(r"(?m)^\.version .*$", f".version {_VERSION}", ptx)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def is_there() -> bool:
    """True if NVRTC can be loaded."""
    try:
        _library()
    except CompileError:
        return False
    return True


def defines(values: Mapping[str, int | float]) -> tuple[tuple[str, str], ...]:
    """Macros of numbers, floats in single precision."""
    return tuple((name, f"{x!r}f" if isinstance(x, float) else str(x)) for name, x in values.items())


@functools.cache
def _library() -> ctypes.CDLL:
    """NVRTC of the wheels beside JAX's plugin, else the system's.

    Raises:
        CompileError: if there is none.
    """
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    installed = [path for folder in folders or () for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    for name in (*map(str, sorted(installed, reverse=True)), "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CompileError(MISSING)


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def _text(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """Output of NVRTC for a program: its PTX or its log."""
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, text))
    return text.raw


def _check(nvrtc: ctypes.CDLL, status: int) -> None:
    if status:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CompileError(f"NVRTC: {nvrtc.nvrtcGetErrorString(status).decode()}")
