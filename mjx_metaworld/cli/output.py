"""Files that commands write, checked before the work of which they are the result."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_output(path: Path) -> None:
    """Make the folder of a file to be written, and check that it can be.

    Raises:
        ValueError: if it cannot, with the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output {path} cannot be written: {error.strerror}: {error.filename}") from error
    if path.is_dir():
        raise ValueError(f"output {path} is a folder; name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"output {path} cannot be written: no permission")
