"""Handing freed memory back to the system, which is for a command to do: the process is its own."""

from __future__ import annotations

import ctypes
import sys


def release_freed() -> None:
    """Ask the C library to return what has been freed, once an environment is built and before its step is compiled.

    glibc keeps the 0.4 GB that compiling ten scenes frees, in pieces that are too small for what comes next, XLA's
    compiler. Elsewhere than on Linux with glibc nothing happens.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
