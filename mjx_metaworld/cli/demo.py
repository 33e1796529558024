"""The first thing to run: MT10 in one batch under the scripted experts, beside the CPU reference, with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mjx_metaworld.cli.comparison import Comparison, compare, comparison_table
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.cli.output import prepare_output, print_line
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.episodes import EpisodeRun
from mjx_metaworld.parity.episodes import CHUNK, collect, reference_episodes, run_experts
from mjx_metaworld.rendering.render import render
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, goals, require_metaworld, resolve
from mjx_metaworld.types import EPISODE_STEPS

_COLUMNS = 5  # pictures a row
_PICTURE = 320  # pixels a side
_SUFFIXES = (".png", ".jpg", ".webp")  # of pictures


@dataclass(frozen=True)
class Demo:
    """Run a suite's scripted experts here and on CPU metaworld, for the same goals, and draw where they end."""

    suite: str = "MT10"
    num_goals: int = 20  # of the reference's 50 frozen goals a task
    num_steps: int = 200  # control steps an episode
    seed: int = GOALS_SEED  # of the frozen goals
    output: Path = Path("out/demo.png")  # the contact sheet

    def __post_init__(self) -> None:
        if not 1 <= self.num_goals <= NUM_GOALS:
            raise ValueError(f"num_goals must be in 1..{NUM_GOALS}, got {self.num_goals}")
        if self.num_steps < 1 or self.num_steps % CHUNK:
            raise ValueError(f"num_steps must be a positive multiple of {CHUNK}, got {self.num_steps}")
        if self.output.suffix not in _SUFFIXES:
            raise ValueError(f"output must end in {', '.join(_SUFFIXES)}, got {self.output}")


def run_demo(args: Demo, console: Console) -> list[Comparison]:
    """Print the table and write the contact sheet.

    Raises:
        ValueError: for an unknown suite or task, one that metaworld lacks, or an output that cannot be written.
    """
    require_metaworld(resolve(args.suite), "demo")
    prepare_output(args.output)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        building = progress.add_task(f"building {args.suite}", total=1)
        env = make(args.suite, max_episode_steps=max(args.num_steps, EPISODE_STEPS))
        release_freed()
        names = [spec.name for spec in env.tasks]
        rand_vecs = [task_goals[: args.num_goals] for task_goals in goals(args.suite, args.seed)]
        progress.advance(building)
        with reference_episodes(names, rand_vecs, args.num_steps) as reference:
            run = run_experts(env, rand_vecs, args.num_steps, progress)
            outcomes = collect(reference, progress)
        drawing = progress.add_task("drawing", total=1)
        sheet = _contact_sheet(env, run)
        sheet.save(args.output)
        progress.advance(drawing)
    rows = compare(names, run.stats, outcomes)
    title = f"{args.suite}: scripted experts, {args.num_goals} goals a task, {args.num_steps} steps"
    console.print(comparison_table(title, rows))
    count = run.stats.success.size
    rate = count * args.num_steps / run.run_seconds
    console.print(
        f"{count} environments x {args.num_steps} steps on {jax.devices()[0].device_kind}: compiled in "
        f"{run.compile_seconds:.1f} s, ran in {run.run_seconds:.1f} s, {rate:,.0f} env steps/s."
    )
    print_line(console, f"Pictures of the first goal's last step: {args.output}")
    return rows


def _contact_sheet(env: MetaWorldEnv, run: EpisodeRun) -> Image.Image:
    """Every task's first goal at the end of its episode, labelled."""
    first = np.arange(len(env.tasks)) * run.stats.success.shape[1]
    images = render(env, jax.tree.map(lambda x: x[first], run.state), width=_PICTURE, height=_PICTURE)
    font = ImageFont.load_default(18)
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _PICTURE, rows * _PICTURE))
    for i, (spec, image) in enumerate(zip(env.tasks, images, strict=True)):
        corner = (i % _COLUMNS * _PICTURE, i // _COLUMNS * _PICTURE)
        sheet.paste(Image.fromarray(image[::-1, ::-1]), corner)  # corner2 is mounted upside down
        outcome = "success" if run.stats.success[i, 0] else "no success"
        draw = ImageDraw.Draw(sheet)
        draw.text((corner[0] + 8, corner[1] + 6), f"{spec.name}: {outcome}", fill="black", font=font)
    return sheet
