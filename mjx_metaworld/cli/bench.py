"""`mjx-metaworld bench`: compile time and throughput on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from mjx_metaworld.cli.benchmark import Throughput, default_devices, measure
from mjx_metaworld.cli.run import progress_bars
from mjx_metaworld.cli.tables import figure_table
from mjx_metaworld.inputs.settings import physics_of


@dataclass(frozen=True)
class Bench:
    """Measure environment steps per second: random actions, autoreset on, one process."""

    tasks: Annotated[Positional[str], arg(metavar="[SUITE|TASK]")] = "MT10"  # what to step
    num_envs: tuple[int, ...] = (256, 1024)  # batch sizes, each compiled anew
    devices: int | None = None  # divide the lanes among so many; None: on CPU one a core, elsewhere all
    seconds: float = 10.0  # run each at least this long after the warm-up
    steps_per_call: int = 10  # control steps in one jitted call
    seed: int = 0  # of goals and actions
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default: box_pairs=20 max_contacts=64

    def __post_init__(self) -> None:
        if not self.num_envs or min(self.num_envs) < 1:
            raise ValueError(f"num_envs must be positive integers, got {self.num_envs}")
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"devices must be a positive integer, got {self.devices}")
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds must be a number from 0 on, got {self.seconds}")
        if self.steps_per_call < 1:
            raise ValueError(f"steps_per_call must be positive, got {self.steps_per_call}")


def run_bench(args: Bench, console: Console) -> list[Throughput]:
    """Print a table of the batch sizes.

    Raises:
        ValueError: for an unknown suite, task or field of physics, or a bad number of devices.
    """
    physics, figures = physics_of(args.physics), []
    with progress_bars(console) as bars:
        for num_envs in args.num_envs:
            bar = bars.add_task(f"{num_envs:,} environments: compiling, then {args.seconds:g} s", total=None)
            figures += measure(
                (args.tasks,),
                num_envs,
                (args.devices or default_devices(num_envs),),
                seconds=args.seconds,
                steps_per_call=args.steps_per_call,
                seed=args.seed,
                physics=physics,
            )
            bars.remove_task(bar)
    headings = ("devices", "env\nsteps/s", "compile\nreset, s", "compile\nstep, s", "peak\nmemory, MB")
    rows = []
    for f in figures:
        cells = (f"{f.env_steps_per_second:,.0f}", f"{f.compile_reset_s:.1f}", f"{f.compile_step_s:.1f}")
        rows.append((f"{f.num_envs:,}", str(f.devices), *cells, f"{f.peak_memory_mb:,}"))
    title = ", ".join((f"{args.tasks}: random actions, autoreset", *args.physics))
    console.print(figure_table("environments", headings, rows, title))
    versions = ", ".join(f"{name} {version}" for name, version in figures[0].versions.items())
    console.print(f"On {figures[0].device} ({figures[0].machine}); {versions}.")
    return figures
