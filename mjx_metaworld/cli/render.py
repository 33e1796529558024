"""`mjx-metaworld render`: episodes as a video, a contact sheet or a replay in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import Progress
from tyro.conf import Positional, arg

from mjx_metaworld.cli.acting import EXPERT, is_trajectory, open_acting, open_trajectory
from mjx_metaworld.cli.output import prepare_output, print_line
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import run_episodes
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.rendering.images import (
    VIDEO_SUFFIXES,
    labelled,
    require_mp4,
    tiled,
    upright,
    write_png,
    write_video,
)
from mjx_metaworld.rendering.render import Backend, check_picture, choose_backend, render
from mjx_metaworld.trajectory import SUFFIX as TRAJECTORY
from mjx_metaworld.trajectory import Trajectory
from mjx_metaworld.types import CONTROL_RATE
from mjx_metaworld.view.replay import SUFFIX as REPLAY
from mjx_metaworld.view.replay import save_replay
from mjx_metaworld.view.server import require_viser

_SHEET = ".png"
_SUFFIXES = (*VIDEO_SUFFIXES, _SHEET, REPLAY, TRAJECTORY)


@dataclass(frozen=True)
class Render:
    """Draw an episode of every task: a video, a contact sheet with a row of moments a task, or a replay."""

    tasks: Annotated[Positional[str], arg(metavar="[SUITE|TASK|RUN|TRAJECTORY]")] = "reach-v3"  # an episode of each
    output: Path = Path("out/render.mp4")  # .mp4, .gif: a video; .png: a contact sheet; .html: a replay; .npz: states
    policy: str = EXPERT  # expert, random, or module:function, a function env -> ((obs, task) -> action)
    camera: str = "corner2"  # turned upright
    size: int = 240  # pixels a side of each environment's picture
    num_steps: int = 160  # control steps, 80 a second of simulated time
    every: int = 4  # control steps between two frames; 4 gives 20 frames a second
    moments: int = 6  # pictures a task in a contact sheet
    seed: int = 0  # of the goals and of a random policy
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default or the run's: max_contacts=64
    backend: Backend | None = None  # what draws; by default the first that works

    def __post_init__(self) -> None:
        if self.output.suffix not in _SUFFIXES:
            *others, last = _SUFFIXES
            raise ValueError(f"output must end in {', '.join(others)} or {last}, got {self.output}")
        check_picture(self.camera, size=self.size)
        if self.num_steps < 1 or self.every < 1:
            raise ValueError(f"num_steps and every must be positive, got {self.num_steps} and {self.every}")
        if not 2 <= self.moments <= self.num_steps + 1:
            raise ValueError(f"moments must be in 2..num_steps + 1, got {self.moments}")

    @property
    def is_sheet(self) -> bool:
        """True if a contact sheet is wanted."""
        return self.output.suffix == _SHEET

    @property
    def is_drawn(self) -> bool:
        """True if pictures are wanted, not states."""
        return self.is_sheet or self.output.suffix in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Rendered:
    """The file that was written."""

    output: str
    pictures: int  # or states
    width: int
    height: int


def run_render(args: Render, console: Console) -> Rendered:
    """Write the file.

    Raises:
        ValueError: for an unknown task or policy, or an output that cannot be written.
        RuntimeError: if the backend that was asked for cannot draw here.
        ImportError: for an .mp4 or .html without the library that writes it.
    """
    prepare_output(args.output)
    backend = choose_backend(args.backend) if args.is_drawn else None
    if args.output.suffix == ".mp4":
        require_mp4()  # now, not after the simulation
    if args.output.suffix == REPLAY:
        require_viser()
    with progress_bars(console) as bars:
        env, trajectory, told = _opened(bars, args) if is_trajectory(args.tasks) else _simulated(bars, args)
        width = height = 0
        if args.is_drawn:
            height, width = _draw(bars, args, env, trajectory, backend)
        elif args.output.suffix == REPLAY:
            bars.add_task("writing the replay", total=None)
            save_replay(args.output, trajectory)
        else:
            trajectory.save(args.output)
    count = trajectory.states.task.size
    print_line(console, f"{args.output}: {count} {'pictures' if args.is_drawn else 'states'}. {told}")
    return Rendered(str(args.output), count, width, height)


def _simulated(bars: Progress, args: Render) -> tuple[MetaWorldEnv, Trajectory, str]:
    """The environment, its states at the moments that are wanted, and a line on what came out."""
    stride = max(1, args.num_steps // (args.moments - 1)) if args.is_sheet else args.every
    num_steps = stride * (args.moments - 1) if args.is_sheet else max(1, args.num_steps // stride) * stride
    env, act, _ = open_acting(bars, args.tasks, args.policy, args.num_steps, args.physics)
    keys = jax.random.split(key_of_seed(args.seed), len(env.tasks))
    run = run_episodes(
        env,
        act,
        jit(lambda: jax.vmap(env.reset)(keys, jnp.arange(len(env.tasks)))),
        num_steps,
        seed=args.seed,
        steps_per_call=stride,
        keep=True,
        bars=bars,
    )
    assert run.kept is not None
    solved = (
        f"{s.name} {'solved' if ok else 'not solved'}" for s, ok in zip(env.tasks, run.stats.success, strict=True)
    )
    return env, Trajectory.of(env, run.kept, stride), f"{', '.join(solved)}."


def _opened(bars: Progress, args: Render) -> tuple[MetaWorldEnv, Trajectory, str]:
    """The same of a trajectory's file, thinned to what is wanted."""
    loading = bars.add_task(f"loading {args.tasks}", total=None)
    whole = open_trajectory(args.tasks, args.policy, args.physics)
    env = whole.env
    bars.remove_task(loading)
    if args.is_sheet:
        rows = np.linspace(0, len(whole) - 1, min(args.moments, len(whole))).astype(int)
        stride = whole.every
    else:
        step = max(1, args.every // whole.every)
        rows, stride = np.arange(0, len(whole), step), step * whole.every
    return env, Trajectory.of(env, jax.tree.map(lambda x: x[rows], whole.states), stride), f"Of {args.tasks}."


def _draw(
    bars: Progress, args: Render, env: MetaWorldEnv, trajectory: Trajectory, backend: Backend | None
) -> tuple[int, int]:
    """Write pictures; height and width of each."""
    drawing = bars.add_task("drawing", total=trajectory.states.task.size)
    images = render(
        env,
        trajectory.states,
        args.camera,
        args.size,
        args.size,
        backend=backend,
        on_picture=lambda: bars.advance(drawing),
    )
    images = upright(images, args.camera)
    names = [env.tasks[int(task)].name for task in trajectory.states.task[0]]
    if args.is_sheet:
        sheets = [_sheet(names, images)]
        write_png(args.output, sheets[0])
    else:
        sheets = _frames(names, images)
        write_video(args.output, sheets, CONTROL_RATE / trajectory.every)
    return sheets[0].shape[0], sheets[0].shape[1]


def _sheet(names: list[str], images: np.ndarray) -> np.ndarray:
    """One picture: a row a lane, moments from left to right."""
    rows = [[labelled(row[0], name), *row[1:]] for name, row in zip(names, images.swapaxes(0, 1), strict=True)]
    return tiled(np.stack([image for row in rows for image in row]), columns=len(images))


def _frames(names: list[str], images: np.ndarray) -> list[np.ndarray]:
    """A picture a moment: all lanes side by side."""
    return [
        tiled(np.stack([labelled(image, name) for image, name in zip(moment, names, strict=True)])) for moment in images
    ]
