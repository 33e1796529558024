"""Other checkouts of this project, such as one of an earlier commit, measured beside this one by turns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mjx_metaworld.processes.cache import VARIABLE


def checkouts_by_name(beside: Iterable[Path]) -> dict[str, Path]:
    """This checkout as "this", and the others by their commits."""
    return {"this": Path(__file__).parent.parent} | {_commit(path): path.absolute() for path in beside}


def environment_of(checkout: Path, folder: Path) -> dict[str, str]:
    """Environment of a process that imports the package from a checkout and keeps all that it keeps in a folder."""
    variables = os.environ | {"PYTHONPATH": str(checkout), VARIABLE: str(folder), "XDG_CACHE_HOME": str(folder)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    return variables


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
