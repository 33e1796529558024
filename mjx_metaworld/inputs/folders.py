"""Folders that callers name: to write in, or of training runs, and what they may have meant where there is none."""

from __future__ import annotations

import os
from pathlib import Path

_RUN_FILE = "run.json"  # that a training run's folder holds
_SHOWN = 8  # names at most


def is_folder(path: Path) -> bool:
    """True of a folder; names of tasks may be longer than a file's can be."""
    try:
        return path.is_dir()
    except OSError:  # Python before 3.14
        return False


def check_folder(path: Path) -> None:
    """Check that files in the way keep no folder from being one or being made.

    Raises:
        ValueError: if one does.
    """
    nearest = next((place for place in (path, *path.parents) if os.path.lexists(place)), Path())
    if not nearest.is_dir():
        raise ValueError(f"output {path} must be a folder, and {nearest} is a file")


def no_run(path: Path) -> str:
    """Words for a path that is to be a training run's folder and is not."""
    return f"{path} holds no training run{runs_within(path)}" if path.is_dir() else missing_folder(path)


def missing_folder(path: Path) -> str:
    """Words for a folder that there is not, with those beside it."""
    names = sorted(folder.name for folder in path.parent.glob("*/"))
    return f"there is no folder {path}" + (f"; in {path.parent} there are {_several(names)}" if names else "")


def runs_within(folder: Path) -> str:
    """Words for the training runs in a folder, to follow others; empty where there are none."""
    runs = sorted(str(path.parent) for path in folder.glob(f"*/{_RUN_FILE}"))
    return f"; these in it do: {_several(runs)}" if runs else ""


def _several(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
