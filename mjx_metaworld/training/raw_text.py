"""Raw text that orbax and tensorstore print of an error which they also raise, left out."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

_CLOSED = "Event loop is closed"


@contextlib.contextmanager
def without_raw_text() -> Iterator[None]:
    """Leave out tracebacks that orbax's threads print meanwhile, and its warnings of what a kill or a full disk left.

    After an error they go on until the process ends: asyncio tells of orbax's other tasks, and tensorstore, which
    writes on, of each result that nobody waits for any more.
    """
    absl, before = logging.getLogger("absl"), sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == _CLOSED):
            before(unraisable)

    absl.addFilter(_is_not_of_orbax)
    sys.unraisablehook = hook
    try:
        yield
    except BaseException:  # its threads may tell of it later
        logging.getLogger("asyncio").addFilter(_is_not_of_orbax)
        raise
    else:
        sys.unraisablehook = before
        absl.removeFilter(_is_not_of_orbax)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    if record.levelno < logging.WARNING:
        return True
    error = record.exc_info[1] if record.exc_info else None
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return not any("orbax" in text for text in (record.getMessage(), record.pathname, *(f.filename for f in frames)))
