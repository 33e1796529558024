"""Commands hand freed memory back once their environment is built, and before anything is compiled."""

from __future__ import annotations

from rich.progress import Progress

from mjx_metaworld.cli import memory, run


def test_what_is_freed_is_handed_back_after_building(monkeypatch):
    done = []
    monkeypatch.setattr(run, "make", lambda tasks, **options: done.append(f"made {tasks}"))
    monkeypatch.setattr(run, "release_freed", lambda: done.append("released"))
    run.build(Progress(disable=True), "reach-v3")
    assert done == ["made reach-v3", "released"]


def test_there_may_be_nothing_to_ask(monkeypatch):
    """As on another system, or with a C library that knows no `malloc_trim`."""
    asked = []

    class Library:
        def __init__(self, name):
            asked.append(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", Library)
    monkeypatch.setattr(memory.sys, "platform", "linux")
    memory.release_freed()
    assert asked == [None]
    monkeypatch.setattr(memory.sys, "platform", "win32")
    memory.release_freed()
    assert asked == [None]
