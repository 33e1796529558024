"""Replays: a trajectory in one file, which plays in any browser and in notebooks, without a server or a network."""

from __future__ import annotations

import html
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.types import CONTROL_RATE
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.sources import recording_of
from mjx_metaworld.view.stage import Stage

SUFFIX = ".html"
_RATE = 40  # pictures a second, where nobody says how many


@dataclass(frozen=True)
class Replay:
    """A file that plays; as the last value of a notebook's cell it plays there."""

    path: Path
    height: int = 480  # pixels in a notebook

    def _repr_html_(self) -> str:
        content = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{content}" width="100%" height="{self.height}" style="border:none"></iframe>'


def moments(count: int, stride: int) -> list[int]:
    """Indices of every so many of `count` frames from the first on, and of the last one: 0, 2, 4, 5 of six by two."""
    return [*range(0, count - 1, stride), count - 1]


def save_replay(path: Path | str, trajectory: Trajectory, *, every: int | None = None, height: int = 480) -> Replay:
    """Write a trajectory as one HTML file of a few megabytes: scenes, poses, player. Needs the extra `view`.

    It can be played, paused, scrubbed, slowed down, and looked at from all sides. All lanes stand side by side.

    Args:
        path: ends in .html; folders above it are made.
        trajectory: from `mw.record`, say.
        every: control steps between two moments; by default 2, or as many as the trajectory has.
        height: pixels that it takes in a notebook.

    Raises:
        ValueError: for another suffix, a bad number, or a scene that cannot be drawn.
        ImportError: without the extra `view`.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"a replay's file ends in {SUFFIX}, got {path}")
    height = check_integer("height", height)  # it becomes part of a notebook's page
    stride = max(trajectory.every, CONTROL_RATE // _RATE) if every is None else check_integer("every", every)
    recording = recording_of(trajectory.env, trajectory)
    server = start_server("127.0.0.1", 0)
    try:
        stage = Stage(server, recording.specs, recording.num_lanes)
        stage.show(recording.frame(0))
        recorded = server.get_scene_serializer()
        for before, index in itertools.pairwise(moments(len(recording), stride)):
            recorded.insert_sleep((index - before) / CONTROL_RATE)
            stage.show(recording.frame(index))
        recorded.insert_sleep(stride / CONTROL_RATE)  # the last moment is seen, too
        content = recorded.as_html()
    finally:
        stop_server(server)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Replay(path, height)
