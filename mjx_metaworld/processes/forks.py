"""Processes made by a fork: JAX's threads do not come along, so that a computation there would wait for ever.

A fork before JAX has begun to work is harmless: each process then starts it for itself.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

_REMEDY = (
    'Start processes with the method "spawn" or "forkserver", such as multiprocessing.get_context("spawn"), '
    'AsyncVectorEnv(..., context="spawn") or DataLoader(..., multiprocessing_context="spawn"), or step all in one '
    "process: mw.VectorEnv, or gymnasium.make_vec without workers."
)


class ForkError(RuntimeError):
    """A computation with JAX in a process that was forked after JAX had begun to work."""


def without_threads() -> bool:
    """True in a process that was forked after JAX had begun to work."""
    return _forked


def check_threads(what: str) -> None:
    """Refuse a computation that would wait for ever.

    Args:
        what: begins the message, such as "env.step".

    Raises:
        ForkError: in a process that was forked after JAX had begun to work, with what to do instead.
    """
    if _forked:
        raise ForkError(
            f"{what} cannot run in this process ({os.getpid()}): it was forked after JAX had begun to work in its "
            f"parent, and JAX's threads do not survive a fork. {_REMEDY}"
        )


def _jax_runs() -> bool:
    """True if JAX has started a backend; does not load JAX."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", None))  # its lock may be held by a thread that a fork has lost


def _lost_its_threads() -> bool:
    """True if JAX runs and has no thread, in a process forked before this module was loaded; on Linux only."""
    tasks = Path("/proc/self/task")
    return _jax_runs() and tasks.is_dir() and sum(1 for _ in tasks.iterdir()) <= threading.active_count()


def _after_fork() -> None:
    global _forked
    _forked = _forked or _jax_runs()


_forked = _lost_its_threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
