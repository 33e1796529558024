"""Signals that ask a process to end come at a good moment, and as exceptions."""

from __future__ import annotations

import signal
import threading

import pytest

from mjx_metaworld.processes.signals import Terminated, postponed, termination

BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


def signalled_twice(number: int, *, insist: bool, done: list[str]) -> None:
    """A block in which two signals come, and what follows it."""
    with termination():
        with postponed("this step", insist=insist):
            signal.raise_signal(number)
            done.append("first")
            signal.raise_signal(number)
            done.append("second")
        done.append("never")


pytestmark = pytest.mark.usefixtures("interruptible")


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done: list[str] = []
    signalled_twice(signal.SIGINT, insist=True, done=done)
    assert done == ["first", "second", "never"]


def handlers() -> list:
    return [signal.getsignal(number) for number, _ in BOTH]


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_a_signal_waits_for_the_end_of_the_block(number, raised, capsys):
    before, done = handlers(), []
    with pytest.raises(raised) as caught:
        signalled_twice(number, insist=False, done=done)
    assert type(caught.value) is raised
    assert done == ["first", "second"]
    assert capsys.readouterr().err == "ending after this step\n"
    assert handlers() == before


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_the_second_signal_may_insist(number, raised):
    before, done = handlers(), []
    with pytest.raises(raised):
        signalled_twice(number, insist=True, done=done)
    assert done == ["first"]
    assert handlers() == before


def test_a_block_within_another_waits_for_that_one():
    told = []

    def nest() -> None:
        with termination(), postponed("") as asked:
            with postponed("this step"):
                told.append(asked())
                signal.raise_signal(signal.SIGTERM)
            told.append(asked())

    with pytest.raises(Terminated):
        nest()
    assert told == [False, True]


def test_an_error_within_the_block_is_the_one_that_counts():
    def fail() -> None:
        with termination(), postponed(""):
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError

    before = handlers()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert handlers() == before


def test_other_threads_are_left_alone():
    done = []

    def work() -> None:
        with termination(), postponed("this step"):
            done.append("step")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["step"]
