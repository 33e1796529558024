"""End of a process in which programs draw: they end first.

A program draws by calling Python from a thread of XLA's. Once the interpreter ends, such a thread stops for good in its
call, and JAX, which waits for it, never ends.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any

import jax

_QUIET = 1.0  # seconds without a picture after which nothing draws any more, where no array tells

_last_drawn = 0.0
_closing = False


def until_exit(draw: Callable[..., None]) -> Callable[..., None]:
    """The same function, which draws no more at the process's end, when nobody will look at the picture."""

    def drawing(*args: Any) -> None:
        global _last_drawn
        _last_drawn = time.monotonic()
        try:
            if not _closing:
                draw(*args)
        except RuntimeError as error:
            # Python's pools of threads refuse work from then on, whether they or their threads have noticed it first.
            if "cannot schedule new futures after" not in str(error):
                raise
        _last_drawn = time.monotonic()

    return drawing


def _wait() -> None:
    global _closing
    for array in jax.live_arrays():
        try:
            array.block_until_ready()
        except RuntimeError:  # donated, or its program has failed
            continue
    _closing = True
    # Programs whose results nobody holds: an exception, or Ctrl-C, has thrown them away.
    while time.monotonic() - _last_drawn < _QUIET:
        time.sleep(0.01)


atexit.register(_wait)
