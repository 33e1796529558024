"""The machine and the versions that figures are reported with."""

from __future__ import annotations

import importlib.metadata
import os
import platform


def cpu_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine() -> str:
    """Architecture and cores, such as "x86_64, 2 cores" or, if this process may not use all, "x86_64, 2 of 8 cores"."""
    usable, present = cpu_cores(), os.cpu_count() or 1
    cores = f"{present} cores" if usable == present else f"{usable} of {present} cores"
    return f"{platform.machine()}, {cores}"


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages; by default of those that decide results and speed."""
    return {name: importlib.metadata.version(name) for name in packages or ("jax", "jaxlib", "mujoco", "metaworld")}
