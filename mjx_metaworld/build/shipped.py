"""Settled states of this package's tasks that come with it: simulating them takes 25 s of a core.

They are what `settle` computes from the versions of metaworld and MuJoCo that this package pins, written by
`python -m mjx_metaworld.build.shipped`. A machine with another arithmetic would settle some 1e-12 beside them.
"""

from __future__ import annotations

import functools
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from mjx_metaworld.processes.cache import VARIABLE, cached_files, read_arrays

FILE = Path(__file__).with_name("settled.npz")


def read_shipped(name: str) -> dict[str, np.ndarray] | None:
    """The arrays that came with the package under a name of the cache; None if there are none."""
    fields = _names().get(name)
    if fields is None:
        return None
    with np.load(FILE) as arrays:  # never unpickles
        return {field: arrays[f"{name}/{field}"] for field in fields}


@functools.cache
def _names() -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    try:
        with np.load(FILE) as arrays:
            for key in arrays.files:
                name, _, field = key.rpartition("/")
                fields.setdefault(name, []).append(field)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # an incomplete installation: then all is simulated
    return fields


def write_shipped() -> None:
    """Simulate the settled states of all tasks anew, and write the file that comes with the package."""
    from mjx_metaworld.build.bank import settle_task
    from mjx_metaworld.tasks.registry import registered

    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        FILE.unlink(missing_ok=True)
        _names.cache_clear()
        for spec in registered():
            settle_task(spec)
        arrays: dict[str, np.ndarray] = {}
        for path in sorted(cached_files()):
            name = path.relative_to(folder).as_posix()
            arrays |= {f"{name}/{field}": array for field, array in (read_arrays(name) or {}).items()}
    np.savez_compressed(FILE, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    write_shipped()
