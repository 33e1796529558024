"""Files that this package keeps for the next process: settled states, tables, programs. They only save time.

The folder is one of this package's own, in the platform's for caches or in the one that the environment variable
`MJX_METAWORLD_CACHE` names, whose other files it leaves alone; "off" there keeps nothing. A file is whole or not there,
and one that has been altered since counts as not there: its first bytes are a digest of the others. The files that were
not read for longest go when all are larger than `MAX_BYTES`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import platformdirs

VARIABLE = "MJX_METAWORLD_CACHE"
MAX_BYTES = 2 << 30
_OWN = "mjx-metaworld"
_OFF = ("off", "0", "no", "false", "none")
_DIGEST_BYTES = 32
_TEMPORARY = ".tmp-"


def cache_folder() -> Path | None:
    """The folder of all files that are kept; None where that is switched off."""
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() in _OFF:
        return None
    if not chosen:
        return Path(platformdirs.user_cache_dir(_OWN))
    return Path(chosen).expanduser().absolute() / _OWN  # whatever folder the process goes to later


def read_bytes(name: str) -> bytes | None:
    """The content that was kept under a name, such as "settle/reach-v3"; None where none is whole."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / name
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if digest != hashlib.sha256(content).digest():
        with contextlib.suppress(OSError):
            path.unlink()  # what is written next takes its place
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return content


def write_bytes(name: str, content: bytes) -> None:
    """Keep a content under a name, all or nothing; where that fails the next process takes longer and no more."""
    folder = cache_folder()
    if folder is not None:
        write_file(folder / name, hashlib.sha256(content).digest(), content)


def write_file(path: Path, *parts: bytes) -> bool:
    """Write a file of the cache, all or nothing, and make room for it; False where that fails."""
    temporary = None
    try:
        make_folder(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_TEMPORARY, delete=False) as file:
            temporary = file.name
            file.writelines(parts)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
    make_room()
    return True


def make_folder(path: Path) -> None:
    """Make a folder of the cache, where nobody else may write: programs in it are run."""
    for missing in reversed([path, *path.parents]):
        missing.mkdir(exist_ok=True, mode=0o700)


def read_arrays(name: str) -> dict[str, np.ndarray] | None:
    """The arrays that were kept under a name; None where none are whole."""
    content = read_bytes(name)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content)) as arrays:  # never unpickles
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_arrays(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays under a name, as `write_bytes` does."""
    if cache_folder() is None:
        return
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    write_bytes(name, buffer.getvalue())


def cached_files() -> list[Path]:
    """All files that are kept, those that were not read for longest first."""
    folder = cache_folder()
    return [path for _, path in sorted((_last_use(status), path) for path, status in _files(folder))] if folder else []


def cache_size() -> int:
    """Bytes of all files that are kept."""
    folder = cache_folder()
    return sum(status.st_size for _, status in _files(folder)) if folder else 0


def clear_cache() -> int:
    """Remove all files that are kept; returns their number. What is in use by another process is made again there."""
    removed = 0
    for path in cached_files():
        with contextlib.suppress(OSError):
            path.unlink()
            removed += 1
    return removed


def make_room() -> None:
    """Remove the files that were not read for longest until the others fit into `MAX_BYTES`."""
    folder = cache_folder()
    if folder is None:
        return
    files = sorted(((_last_use(status), path, status.st_size) for path, status in _files(folder)), reverse=True)
    total = 0
    for _, path, size in files:
        total += size
        if total > MAX_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()


def _last_use(status: os.stat_result) -> float:
    return max(status.st_mtime, status.st_atime)  # many systems note a reading once a day


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may remove it meanwhile
            if path.is_file():
                yield path, path.stat()


@functools.cache
def source_digest() -> str:
    """A digest of this package's own code, which shapes all that it computes."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for suffix in ("*.py", "*.cu", "*.cuh", "*.h", "*.cpp") for path in package.rglob(suffix)):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def digest_of(*parts: object) -> str:
    """A name for a file: a digest of what determines its content, by the parts' `repr`; bytes are taken as they are."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()[:32]
