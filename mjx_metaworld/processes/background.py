"""Work beside the main thread that nothing can interrupt, and the end of a process in the midst of it."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn


class Work(threading.Thread):
    """Thread of work that nothing can interrupt, such as compiling.

    The interpreter waits for it at its end, since a daemon that is inside XLA's compiler by then aborts the process.
    """


def is_at_work() -> bool:
    """True while there is such work."""
    return any(isinstance(thread, Work) for thread in threading.enumerate())


def leave(code: int) -> NoReturn:
    """Exit with a code, at once even where work goes on, of which nothing is wanted any more."""
    if is_at_work():
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    sys.exit(code)
