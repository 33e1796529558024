"""A registry of tasks and suites that forgets what tests declare."""

from __future__ import annotations

import pytest


def forget_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tasks and suites that are declared from now on be forgotten with the patch."""
    from mjx_metaworld import suites
    from mjx_metaworld.tasks import registry

    for name in ("_tasks", "_origins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    monkeypatch.setattr(registry, "_suites", set(registry._suites))
    monkeypatch.setattr(registry, "_listeners", [])  # gymnasium's registry, say, would not forget
    monkeypatch.setattr(suites, "_listed", dict(suites._listed))
