"""Connection of the processes of one program, on one or several hosts, by `jax.distributed`.

Their number and places come from three environment variables, or from what JAX finds by itself: Slurm, Open MPI,
Kubernetes, Cloud TPU.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import NamedTuple

import jax

ADDRESS, NUMBER, OWN = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_CONNECT_SECONDS = 300  # until all processes must have come
_HEARTBEAT_SECONDS = 30  # after which a process that is not heard of ends the others
_GRACE_SECONDS = 5.0  # for others that fail alike to say why: JAX aborts them when the coordinator is gone
_LARGEST_PORT = 65535
_follows = False  # known not to be process 0, which is the coordinator


class Place(NamedTuple):
    """Place of a process among those of its program."""

    coordinator: str  # HOST:PORT of process 0
    num_processes: int
    process_id: int


def place_of(environment: Mapping[str, str]) -> Place | None:
    """The place that the three variables tell; None where JAX is to find it.

    Raises:
        ValueError: if one is missing or makes no sense.
    """
    given = {name: environment[name] for name in (ADDRESS, NUMBER, OWN) if environment.get(name)}
    if set(given) <= {ADDRESS}:  # which alone overrides the coordinator of a cluster that JAX finds
        return None
    if missing := [name for name in (ADDRESS, NUMBER, OWN) if name not in given]:
        raise ValueError(f"{' and '.join(missing)} must be set, too, beside {' and '.join(given)}")
    host, _, port = given[ADDRESS].rpartition(":")
    if not host or not _is_number(port, 1, _LARGEST_PORT):
        raise ValueError(f"{ADDRESS} must be HOST:PORT of process 0, got {given[ADDRESS]!r}")
    if not _is_number(given[NUMBER], 1):
        raise ValueError(f"{NUMBER} must be a positive number of processes, got {given[NUMBER]!r}")
    count = int(given[NUMBER])
    if not _is_number(given[OWN], 0, count - 1):
        raise ValueError(f"{OWN} must be 0 to {count - 1}, since {NUMBER} is {count}, got {given[OWN]!r}")
    return Place(given[ADDRESS], count, int(given[OWN]))


def environments_here(processes: int) -> list[dict[str, str]]:
    """The three variables for each of several processes on this machine; none for a single one."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [{ADDRESS: f"localhost:{port}", NUMBER: str(processes), OWN: str(index)} for index in range(processes)]


def connect(environment: Mapping[str, str] = os.environ, *, seconds: int = _CONNECT_SECONDS) -> None:
    """Connect this process with the others; before anything else of JAX.

    From then on the process ends at once when it fails, instead of waiting for the others at its end, and they when
    they miss it.

    Args:
        environment: variables.
        seconds: until all must have come.

    Raises:
        ValueError: if the variables make no sense, or there are none and JAX finds no cluster.
        RuntimeError: if JAX has begun to work.
    """
    global _follows
    place = place_of(environment)
    _follows = place is not None and place.process_id > 0
    # A signal's own service would only note SIGTERM; the training loop agrees on SIGINT, too.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with _within(seconds, place):
            jax.distributed.initialize(
                coordinator_address=place and place.coordinator,
                num_processes=place and place.num_processes,
                process_id=place and place.process_id,
                initialization_timeout=seconds + 60,
                heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            )
    except ValueError as error:
        if place is None and "should be defined" in str(error):
            raise ValueError(_nothing_found()) from None
        raise
    sys.excepthook = _fail_at_once
    _silence_libraries()


def is_connected() -> bool:
    """True of a process that `connect` has connected."""
    return sys.excepthook is _fail_at_once


def end_at_once(code: int) -> None:
    """End a process that has failed. JAX's own end would wait for all others, which wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not _follows:
        time.sleep(_GRACE_SECONDS)
    os._exit(code)


def _nothing_found() -> str:
    return (
        "no cluster was found: neither Slurm (tasks that srun starts), Open MPI (mpirun), Kubernetes nor Cloud TPU. "
        f"For processes that you start by hand set {ADDRESS} (HOST:PORT of process 0) and {NUMBER} alike for all, and "
        f"{OWN} (0, 1, ...) for each"
    )


@contextlib.contextmanager
def _within(seconds: float, place: Place | None) -> Iterator[None]:
    """End the process after so many seconds with a clear message; JAX's own timeout aborts it with a trace of C++."""
    where = (
        "the cluster's processes" if place is None else f"all {place.num_processes} processes at {place.coordinator}"
    )

    def give_up() -> None:
        print(f"error: {where} were not together within {seconds:.0f} s; is each one started?", file=sys.stderr)
        end_at_once(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _silence_libraries() -> None:
    """Leave stdout to Python alone: gloo prints there what it connects, between what a command prints for programs."""
    sys.stdout.flush()
    own = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(own, "w", buffering=1, encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def _fail_at_once(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    end_at_once(1)


def _is_number(text: str, low: int, high: int | None = None) -> bool:
    return text.isascii() and text.isdigit() and int(text) >= low and (high is None or int(text) <= high)
