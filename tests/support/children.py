"""Processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

_TESTS = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """Variables of a process that imports the package of this checkout and `support`."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(_TESTS), str(_TESTS.parent)])}
