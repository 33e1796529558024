"""`mjx-metaworld rollout`: one episode in every lane of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from tyro.conf import Positional, arg

from mjx_metaworld.cli.run import build, check_policy_name, load_policy, progress_bars
from mjx_metaworld.cli.tables import figure_table
from mjx_metaworld.compile import jit
from mjx_metaworld.episodes import batched, run_episodes
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.suites import resolve


@dataclass(frozen=True)
class Rollout:
    """Run one episode in every lane of a batch."""

    tasks: Annotated[Positional[str], arg(metavar="[SUITE|TASK]")] = "MT10"  # lane i runs task i modulo their number
    policy: str = "expert"  # expert, random, or module:function, a function env -> ((obs, task) -> action)
    num_envs: int = 100  # lanes in all, at least one a task
    num_steps: int = 200  # control steps an episode
    seed: int = 0  # of the goals and of a random policy
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default: box_pairs=20 max_contacts=64

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be positive, got {self.num_steps}")


@dataclass(frozen=True)
class TaskOutcome:
    """A task's episodes."""

    task: str
    episodes: int
    success: float  # share of the episodes that succeed at any step
    episode_return: float  # mean


def run_rollout(args: Rollout, console: Console) -> list[TaskOutcome]:
    """Print success and return by task.

    Raises:
        ValueError: for an unknown task, policy or field of physics, or fewer environments than tasks.
    """
    num_tasks = len(resolve(args.tasks))
    if args.num_envs < num_tasks:
        raise ValueError(f"num_envs must be at least the number of tasks, {num_tasks}, got {args.num_envs}")
    check_policy_name(args.policy)
    keys = jax.random.split(key_of_seed(args.seed), args.num_envs)
    task = np.arange(args.num_envs) % num_tasks
    with progress_bars(console) as bars:
        env = build(bars, args.tasks, max_episode_steps=args.num_steps, physics=physics_of(args.physics))
        policy = load_policy(env, args.policy)
        run = run_episodes(
            env,
            batched(policy),
            jit(lambda: jax.vmap(env.reset)(keys, jnp.asarray(task))),
            args.num_steps,
            seed=args.seed,
            steps_per_call=math.gcd(args.num_steps, 10),
            bars=bars,
        )
    rows = []
    for i, spec in enumerate(env.tasks):
        success, returns = (x[task == i] for x in (run.stats.success, run.stats.episode_return))
        rows.append(TaskOutcome(spec.name, len(success), float(success.mean()), float(returns.mean())))
    cells = [(row.task, str(row.episodes), f"{row.success:.0%}", f"{row.episode_return:.0f}") for row in rows]
    title = f"{args.tasks}: {', '.join((args.policy, f'{args.num_steps} steps', *args.physics))}"
    console.print(figure_table("task", ("episodes", "success", "mean\nreturn"), cells, title))
    speed = args.num_envs * args.num_steps / run.run_seconds
    console.print(
        f"{args.num_envs} environments on {jax.devices()[0].device_kind}: compiled in {run.compile_seconds:.1f} s, "
        f"ran in {run.run_seconds:.1f} s, {speed:,.0f} env steps/s."
    )
    return rows
