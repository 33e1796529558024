"""The first thing to run: MT10 in one batch under the scripted experts, beside the CPU reference, with pictures."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.expert import expert_policy
from mjx_metaworld.reference import EpisodeOutcome, run_reference_expert
from mjx_metaworld.rendering import render
from mjx_metaworld.suites import NUM_GOALS, goals
from mjx_metaworld.types import State

_CHUNK = 10  # control steps between two moves of the progress bar
_COLUMNS = 5  # pictures a row
_PICTURE = 320  # pixels a side


@dataclass(frozen=True)
class Demo:
    """Run a suite's scripted experts here and on CPU metaworld, for the same goals, and draw where they end."""

    suite: str = "MT10"
    num_goals: int = 20  # of the reference's 50 frozen goals a task
    num_steps: int = 200  # control steps an episode
    seed: int = 1  # of the frozen goals
    output: Path = Path("out/demo.png")  # the contact sheet

    def __post_init__(self) -> None:
        if not 1 <= self.num_goals <= NUM_GOALS:
            raise ValueError(f"num_goals must be in 1..{NUM_GOALS}, got {self.num_goals}")
        if self.num_steps < 1 or self.num_steps % _CHUNK:
            raise ValueError(f"num_steps must be a positive multiple of {_CHUNK}, got {self.num_steps}")


class Run(NamedTuple):
    """Episodes of all tasks and goals at once."""

    state: State  # at the end, leading axis task * goals
    success: np.ndarray  # (tasks, goals) bool: at any step
    episode_return: np.ndarray  # (tasks, goals)
    compile_seconds: float
    run_seconds: float


class Carry(NamedTuple):
    """What a batch of episodes accumulates."""

    state: State
    success: Bool[Array, " envs"]
    episode_return: Float[Array, " envs"]


def run_demo(args: Demo, console: Console) -> None:
    """Print the table and write the contact sheet."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        building = progress.add_task(f"building {args.suite}", total=1)
        env = make(args.suite, max_episode_steps=max(args.num_steps, 500))
        names = [spec.name for spec in env.tasks]
        rand_vecs = [task_goals[: args.num_goals] for task_goals in goals(args.suite, args.seed)]
        progress.advance(building)
        # In processes of their own, which share the cores with the compiler; not forked, since JAX has threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_silence_policies) as pool:
            reference = [
                pool.submit(run_reference_expert, name, vecs, args.num_steps)
                for name, vecs in zip(names, rand_vecs, strict=True)
            ]
            run = _run_here(env, rand_vecs, args.num_steps, progress)
            outcomes = _collect(reference, progress)
        drawing = progress.add_task("drawing", total=1)
        sheet = _contact_sheet(env, run)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(args.output)
        progress.advance(drawing)
    console.print(_table(args, names, run, outcomes))
    steps = run.success.size * args.num_steps
    console.print(
        f"{run.success.size} environments x {args.num_steps} steps on {jax.devices()[0].device_kind}: compiled in "
        f"{run.compile_seconds:.1f} s, ran in {run.run_seconds:.1f} s, {steps / run.run_seconds:,.0f} env steps/s.\n"
        f"Pictures of the first goal's last step: {args.output}"
    )


def _run_here(env: MetaWorldEnv, rand_vecs: list[np.ndarray], num_steps: int, progress: Progress) -> Run:
    """All tasks and goals in one vmap; compiled ahead, so that compile and run time are apart."""
    num_goals = len(rand_vecs[0])
    task = jnp.repeat(jnp.arange(len(rand_vecs), dtype=jnp.int32), num_goals)
    width = env.rand_vec_size
    rand_vec = jnp.asarray(np.concatenate([np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in rand_vecs]), float)
    policy = jax.vmap(expert_policy([spec.name for spec in env.tasks]))

    def reset(task: Array, rand_vec: Array) -> Carry:
        state = jax.vmap(lambda t, v: env.reset_to(t, v))(task, rand_vec)
        return Carry(state, jnp.zeros(task.shape, bool), jnp.zeros(task.shape))

    def step(carry: Carry, _: None) -> tuple[Carry, None]:
        state = jax.vmap(env.step)(carry.state, jnp.clip(policy(carry.state.obs, carry.state.task), -1.0, 1.0))
        success = carry.success | (state.metrics.success > 0)
        return Carry(state, success, carry.episode_return + state.reward), None

    compiling = progress.add_task("compiling", total=None)
    start = time.perf_counter()
    compiled_reset = jax.jit(reset).lower(task, rand_vec).compile()
    carry = compiled_reset(task, rand_vec)
    advance = jax.jit(lambda carry: jax.lax.scan(step, carry, length=_CHUNK)[0]).lower(carry).compile()
    compile_seconds = time.perf_counter() - start
    progress.update(compiling, total=1, completed=1)

    running = progress.add_task(f"stepping {task.size} environments", total=num_steps)
    start = time.perf_counter()
    for _ in range(num_steps // _CHUNK):
        carry = jax.block_until_ready(advance(carry))
        progress.advance(running, _CHUNK)
    run_seconds = time.perf_counter() - start
    shape = (len(rand_vecs), num_goals)
    success, episode_return = (np.asarray(x).reshape(shape) for x in (carry.success, carry.episode_return))
    return Run(carry.state, success, episode_return, compile_seconds, run_seconds)


def _silence_policies() -> None:
    """The reference's policies warn at every gain above 10."""
    warnings.filterwarnings("ignore", module="metaworld.policies")


def _collect(reference: list[Future[list[EpisodeOutcome]]], progress: Progress) -> list[list[EpisodeOutcome]]:
    waiting = progress.add_task("CPU metaworld, one process", total=len(reference))
    outcomes = []
    for future in reference:
        outcomes.append(future.result())
        progress.advance(waiting)
    return outcomes


def _table(args: Demo, names: list[str], run: Run, outcomes: list[list[EpisodeOutcome]]) -> Table:
    table = Table(title=f"{args.suite}: scripted experts, {args.num_goals} goals a task, {args.num_steps} steps")
    table.add_column("task", no_wrap=True)
    for heading in ("success\nhere", "success\nCPU", "mean return\nhere", "mean return\nCPU"):
        table.add_column(heading, justify="right")
    columns = np.stack(
        [
            run.success.mean(axis=1),
            [np.mean([o.success for o in task]) for task in outcomes],
            run.episode_return.mean(axis=1),
            [np.mean([o.episode_return for o in task]) for task in outcomes],
        ],
        axis=1,
    )
    for name, row in zip([*names, "mean"], [*columns, columns.mean(axis=0)], strict=True):
        if name == "mean":
            table.add_section()
        table.add_row(name, f"{row[0]:.0%}", f"{row[1]:.0%}", f"{row[2]:.0f}", f"{row[3]:.0f}")
    return table


def _contact_sheet(env: MetaWorldEnv, run: Run) -> Image.Image:
    """Every task's first goal at the end of its episode, labelled."""
    first = np.arange(len(env.tasks)) * run.success.shape[1]
    images = render(env, jax.tree.map(lambda x: x[first], run.state), width=_PICTURE, height=_PICTURE)
    font = ImageFont.load_default(18)
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _PICTURE, rows * _PICTURE))
    for i, (spec, image) in enumerate(zip(env.tasks, images, strict=True)):
        corner = (i % _COLUMNS * _PICTURE, i // _COLUMNS * _PICTURE)
        sheet.paste(Image.fromarray(image[::-1, ::-1]), corner)  # corner2 is mounted upside down
        outcome = "success" if run.success[i, 0] else "no success"
        draw = ImageDraw.Draw(sheet)
        draw.text((corner[0] + 8, corner[1] + 6), f"{spec.name}: {outcome}", fill="black", font=font)
    return sheet
