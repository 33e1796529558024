"""Signals that ask a process to end: SIGTERM as an exception, and steps that these do not interrupt."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ASKING = (signal.SIGINT, signal.SIGTERM)
_waiting: list[Callable[[], bool]] = []  # of the block that holds signals back, if there is one


class Terminated(KeyboardInterrupt):
    """A SIGTERM, raised like that of Ctrl-C, so that what was begun is brought to a good end."""


class EndedTogether(Terminated):
    """The end of all processes of a program at the same place, since one of them was asked to end."""


@contextlib.contextmanager
def termination() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` meanwhile, unless it is ignored; only in the main thread."""
    if not _in_main_thread() or not _handled(signal.SIGTERM):
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def postponed(what: str, *, insist: bool = False) -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM wait until the block has ended; only in the main thread.

    Gives a function that tells if one has come. One that is ignored stays so: shells let their background jobs ignore
    SIGINT. Within another such block they wait for that one.

    Args:
        what: is waited for, for the line that the first signal prints on stderr; none if empty.
        insist: let a second signal interrupt the block.
    """
    if _waiting and _in_main_thread():
        yield _waiting[0]
        return
    handled = [number for number in _ASKING if _handled(number)] if _in_main_thread() else []
    received: list[int] = []

    def asked() -> bool:
        return bool(received)

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if insist and len(received) > 1:
            restore()
            signal.raise_signal(number)
        elif what and len(received) == 1:
            print(f"ending after {what}{' (once more: at once)' if insist else ''}", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, receive) for number in handled}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if handled:
        _waiting.append(asked)
    try:
        yield asked
    finally:
        restore()
        if handled:
            _waiting.clear()
    if received:
        signal.raise_signal(received[0])


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handled(number: int) -> bool:
    """True if a signal is neither ignored nor the matter of a handler in C, which could not be put back."""
    return signal.getsignal(number) not in (None, signal.SIG_IGN)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
