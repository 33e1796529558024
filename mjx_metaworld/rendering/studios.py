"""Threads that draw, which keep what takes long to load: scenes and OpenGL contexts."""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from mjx_metaworld.build.machine import cpu_cores
from mjx_metaworld.rendering import opengl
from mjx_metaworld.rendering.to_mujoco import OriginalScene
from mjx_metaworld.scenes.catalog import SceneSpec

_MAX_THREADS = 8  # each holds models of its own, 20 MB a scene
_MAX_SCENES = 16  # kept ready in all threads together, besides two in each: enough for MT10


class Studio:
    """A thread's cache between pictures: scenes with a model of their own, and an OpenGL context."""

    def __init__(self, max_scenes: int) -> None:
        self._max_scenes = max_scenes
        self._scenes: OrderedDict[SceneSpec, OriginalScene] = OrderedDict()
        self._painters: dict[str, opengl.Painter] = {}

    def scene(self, spec: SceneSpec) -> OriginalScene:
        """A scene, loaded at the first call, in place of that which was not asked for longest."""
        if spec not in self._scenes:
            if len(self._scenes) >= self._max_scenes:
                self._scenes.popitem(last=False)
            self._scenes[spec] = OriginalScene(spec)
        self._scenes.move_to_end(spec)
        return self._scenes[spec]

    def painter(self, backend: str) -> opengl.Painter:
        """The OpenGL context of a backend."""
        if backend not in self._painters:
            self._painters[backend] = opengl.Painter(backend, self._max_scenes)
            # What is registered last runs first: `_close` has to precede what the backend registered just now.
            atexit.register(_close)
        return self._painters[backend]

    def close(self) -> None:
        """Free the contexts and forget the scenes."""
        for painter in self._painters.values():
            painter.close()
        self._scenes.clear()


class Worker(threading.Thread):
    """A thread with its studio. A daemon, so that it still runs at exit and frees its context itself."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="mjx_metaworld rendering")
        self.jobs: queue.SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        """Do what is submitted until told to end."""
        _of_thread.studio = Studio(2 + _MAX_SCENES // default_threads())
        while (job := self.jobs.get()) is not None:
            work, future = job
            try:
                work()
                future.set_result(None)
            except BaseException as error:  # whatever it is, the caller's thread raises it
                future.set_exception(error)
        _of_thread.studio.close()

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Queue a call, whose end or error the future tells."""
        future: Future[None] = Future()
        self.jobs.put((work, future))
        return future


_of_thread = threading.local()
_workers: list[Worker] = []
_growing = threading.Lock()


def _after_fork() -> None:
    """Forget the workers, which a fork leaves behind: this process makes its own."""
    global _growing
    _workers.clear()
    _growing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def default_threads() -> int:
    """One a CPU core that this process may use, up to the limit."""
    return min(cpu_cores(), _MAX_THREADS)


def studio() -> Studio:
    """The calling worker's own."""
    return _of_thread.studio


def in_parallel(parts: Sequence[Callable[[], None]]) -> None:
    """Run every part in a worker of its own, the same for the same position; raises what the first of them raises."""
    with _growing:
        while len(_workers) < len(parts):
            _workers.append(Worker())
    futures = [worker.submit(part) for worker, part in zip(_workers, parts, strict=False)]
    for future in futures:
        future.exception()  # all have to end before one's error is raised, as they write into the same array
    for future in futures:
        future.result()


def _close() -> None:
    """Let every worker free its context; may be called again."""
    for worker in _workers:
        worker.jobs.put(None)
    for worker in _workers:
        worker.join()
    _workers.clear()
