"""`mjx-metaworld cache`: what is kept for the next process, and how to be rid of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console

from mjx_metaworld.cli.output import print_line
from mjx_metaworld.processes.cache import MAX_BYTES, VARIABLE, cache_folder, cache_size, cached_files, clear_cache

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Cache:
    """Show the files that are kept for the next process: programs, tables, settled states."""

    clear: bool = False  # remove them; the next process makes them again


@dataclass(frozen=True)
class Kept:
    """Content of the cache, after it was cleared if that was asked for."""

    folder: str | None  # None where the cache is switched off
    files: int
    megabytes: float


def run_cache(args: Cache, console: Console) -> Kept:
    """Print where the cache is and how much it holds, or clear it."""
    folder = cache_folder()
    if folder is None:
        console.print(f"The cache is switched off: {VARIABLE} says so.")
        return Kept(None, 0, 0.0)
    if args.clear:
        print_line(console, f"Removed {clear_cache()} files from {folder}.")
    files = cached_files()
    kinds = Counter(path.relative_to(folder).parts[0].split("-")[0] for path in files)
    kept = Kept(str(folder), len(files), round(cache_size() / _MEGABYTE, 1))
    if not args.clear:
        told = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
        held = f"{kept.files} files, {kept.megabytes} MB of at most {MAX_BYTES / _MEGABYTE:.0f} MB"
        print_line(console, f"{folder}: {held}")
        console.print(told, style="dim")
    return kept
