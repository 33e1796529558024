"""`mjx-metaworld view`: environments, policies, training runs and recordings on a page in the browser."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from mjx_metaworld.cli.output import print_line
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.cli.watch import open_source
from mjx_metaworld.processes.signals import termination
from mjx_metaworld.types import EPISODE_STEPS
from mjx_metaworld.view.server import start_server, stop_server
from mjx_metaworld.view.viewer import Viewer


@dataclass(frozen=True)
class View:
    """Watch and steer on a page in the browser; Ctrl-C ends it."""

    what: Annotated[Positional[str], arg(metavar="[WHAT]")] = "reach-v3"  # tasks, a run, a trajectory or a dataset
    policy: str = "expert"  # of tasks: expert, random, or module:function, a function env -> ((obs, task) -> action)
    lanes: int | None = None  # environments side by side; by default one a task, at most 4
    num_steps: int = EPISODE_STEPS  # control steps an episode, 80 a second of simulated time
    seed: int = 0  # of a random policy
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default or the run's: max_contacts=64
    host: str = "127.0.0.1"  # address to serve on; 0.0.0.0 lets other machines look on
    port: int = 8080  # 0 takes one that is free
    open: bool = False  # open the page in the default browser
    seconds: float | None = None  # end after so long; by default when interrupted

    def __post_init__(self) -> None:
        if self.lanes is not None and not 1 <= self.lanes <= _MOST_LANES:
            raise ValueError(f"lanes must be in 1..{_MOST_LANES}, got {self.lanes}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be positive, got {self.num_steps}")
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port must be in 0..{2**16 - 1}, got {self.port}")
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"seconds must be a number from 0 on, got {self.seconds}")


_MOST_LANES = 64


@dataclass(frozen=True)
class Served:
    """The page that was served."""

    url: str
    lanes: int


def run_view(args: View, console: Console) -> Served:
    """Serve until interrupted.

    Raises:
        KeyboardInterrupt: if interrupted before there is a page to be seen.
        ValueError: for something that cannot be watched, or a port that cannot be had.
        ImportError: without the extra `view`.
    """
    server = start_server(args.host, args.port)
    try:
        with progress_bars(console) as bars:
            source, title = open_source(
                bars, args.what, args.policy, args.lanes, args.num_steps, args.seed, args.physics
            )
            bars.add_task("sending the scene", total=None)
            viewer = Viewer(source, title, server)
        url = f"http://{'localhost' if args.host in ('127.0.0.1', '0.0.0.0') else args.host}:{server.get_port()}"
        try:
            print_line(console, f"{url} shows {args.what}. Ctrl-C ends it.")
            if args.open:
                webbrowser.open(url)
            with termination():
                viewer.run(args.seconds)
        except KeyboardInterrupt:
            console.print("Ended.")
        return Served(url, source.num_lanes)
    finally:
        stop_server(server)
