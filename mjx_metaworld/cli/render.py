"""`mjx-metaworld render`: an episode of every task as a video or a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from tyro.conf import Positional, arg

from mjx_metaworld.cli.output import prepare_output
from mjx_metaworld.cli.run import build, load_policy, progress_bars
from mjx_metaworld.compile import jit
from mjx_metaworld.episodes import run_episodes
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
from mjx_metaworld.types import CONTROL_RATE

_SHEET = ".png"


@dataclass(frozen=True)
class Render:
    """Draw an episode of every task: a video, or a contact sheet with a row of moments a task."""

    tasks: Annotated[Positional[str], arg(metavar="[SUITE|TASK]")] = "reach-v3"  # an episode each
    output: Path = Path("out/render.mp4")  # .mp4 or .gif: a video in simulated time; .png: a contact sheet
    policy: str = "expert"  # expert, random, or module:function, a function env -> ((obs, task) -> action)
    camera: str = "corner2"  # turned upright
    size: int = 240  # pixels a side of each environment's picture
    num_steps: int = 160  # control steps, 80 a second of simulated time
    every: int = 4  # control steps between two frames of a video; 4 gives 20 frames a second
    moments: int = 6  # pictures a task in a contact sheet
    seed: int = 0  # of the goals and of a random policy
    backend: Backend | None = None  # what draws; by default the first that works

    def __post_init__(self) -> None:
        if self.output.suffix not in (*VIDEO_SUFFIXES, _SHEET):
            raise ValueError(f"output must end in {', '.join(VIDEO_SUFFIXES)} or {_SHEET}, got {self.output}")
        check_picture(self.camera, size=self.size)
        if self.num_steps < 1 or self.every < 1:
            raise ValueError(f"num_steps and every must be positive, got {self.num_steps} and {self.every}")
        if not 2 <= self.moments <= self.num_steps + 1:
            raise ValueError(f"moments must be in 2..num_steps + 1, got {self.moments}")


@dataclass(frozen=True)
class Rendered:
    """The file that was written."""

    output: str
    pictures: int
    width: int
    height: int


def run_render(args: Render, console: Console) -> Rendered:
    """Write the file.

    Raises:
        ValueError: for an unknown task or policy, or an output that cannot be written.
        RuntimeError: if the backend that was asked for cannot draw here.
        ImportError: for an .mp4 without the library that writes it.
    """
    prepare_output(args.output)
    backend = choose_backend(args.backend)
    if args.output.suffix == ".mp4":
        require_mp4()  # now, not after the simulation
    is_sheet = args.output.suffix == _SHEET
    stride = max(1, args.num_steps // (args.moments - 1)) if is_sheet else args.every
    num_steps = stride * (args.moments - 1) if is_sheet else max(1, args.num_steps // stride) * stride
    with progress_bars(console) as bars:
        env = build(bars, args.tasks, max_episode_steps=args.num_steps)
        policy = load_policy(env, args.policy)
        keys = jax.random.split(jax.random.key(args.seed), len(env.tasks))
        run = run_episodes(
            env,
            policy,
            jit(lambda: jax.vmap(env.reset)(keys, jnp.arange(len(env.tasks)))),
            num_steps,
            seed=args.seed,
            steps_per_call=stride,
            keep=True,
            bars=bars,
        )
        assert run.kept is not None
        drawing = bars.add_task("drawing", total=run.kept.task.size)
        images = render(
            env,
            run.kept,
            args.camera,
            args.size,
            args.size,
            backend=backend,
            on_picture=lambda: bars.advance(drawing),
        )
        images = upright(images, args.camera)
        sheets = _sheet(env, images) if is_sheet else _frames(env, images)
        if is_sheet:
            write_png(args.output, sheets[0])
        else:
            write_video(args.output, sheets, CONTROL_RATE / stride)
    height, width = sheets[0].shape[:2]
    solved = ", ".join(
        f"{s.name} {'solved' if ok else 'not solved'}" for s, ok in zip(env.tasks, run.stats.success, strict=True)
    )
    console.print(f"{args.output}: {run.kept.task.size} pictures. {solved}.")
    return Rendered(str(args.output), run.kept.task.size, width, height)


def _sheet(env, images: np.ndarray) -> list[np.ndarray]:
    """One picture: a row a task, moments from left to right."""
    rows = [[labelled(row[0], spec.name), *row[1:]] for spec, row in zip(env.tasks, images.swapaxes(0, 1), strict=True)]
    return [tiled(np.stack([image for row in rows for image in row]), columns=len(images))]


def _frames(env, images: np.ndarray) -> list[np.ndarray]:
    """A picture a moment: all tasks side by side."""
    names = [spec.name for spec in env.tasks]
    return [
        tiled(np.stack([labelled(image, name) for image, name in zip(moment, names, strict=True)])) for moment in images
    ]
