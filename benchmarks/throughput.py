"""Environment steps per second over the number of environments: random actions, autoreset on, one process.

Compile and run are timed apart; every run blocks until the results are ready. The sets of tasks and numbers of devices
of one batch size run by turns, so that their ratios hold on a machine that others use too. Writes JSON lines with the
device and the versions that were measured.

    python -m benchmarks.throughput --tasks MT10 MT50 --num-envs 256 1024 4096
    python -m benchmarks.throughput --devices 1 2
    python -m benchmarks.throughput --recorded FILE.jsonl --document README.md --section gpu
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from mjx_metaworld.cli.benchmark import Throughput, claim_devices, default_devices, markdown, measure
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.physics.backend import Backend, execution_of


@dataclass(frozen=True)
class Args:
    """Batches to measure."""

    tasks: tuple[str, ...] = ("MT10", "MT50")
    num_envs: tuple[int, ...] = (256, 1024, 4096)
    seconds: float = 10.0  # run at least this long after the warm-up
    steps_per_call: int = 10  # control steps in one call
    devices: tuple[int, ...] | None = None  # divide the lanes among so many. None: what is best
    seed: int = 0
    output: Path | None = None  # append the JSON lines to this file
    document: Path | None = None  # write the table between this Markdown file's markers
    section: str = "speed"  # the name of these markers
    recorded: Path | None = None  # measure nothing: the figures are the JSON lines of this file
    backend: Backend = "auto"
    tile: int | None = None  # override the environments in a SIMD tile
    block: int | None = None  # override the environments computed at a time


def main(args: Args) -> None:
    """Print one JSON line a set of tasks, batch size and number of devices; keep them where the arguments say."""
    figures = _measure(args) if args.recorded is None else _read(args.recorded)
    if args.document is not None:
        order = list(dict.fromkeys(f.tasks for f in figures))
        rewrite_section(args.document, args.section, markdown(sorted(figures, key=lambda f: order.index(f.tasks))))


def _read(path: Path) -> list[Throughput]:
    return [Throughput(**json.loads(line)) for line in path.read_text().splitlines()]


def _measure(args: Args) -> list[Throughput]:
    sizes = {"tile": args.tile, "block": args.block}
    given = {name: size for name, size in sizes.items() if size is not None}
    claim_devices(max(args.devices or map(default_devices, args.num_envs)))  # choosing a backend starts JAX
    backend = dataclasses.replace(execution_of(args.backend), **given)
    figures = []
    for num_envs in args.num_envs:
        by_turns = measure(
            args.tasks,
            num_envs,
            args.devices or (default_devices(num_envs),),
            seconds=args.seconds,
            steps_per_call=args.steps_per_call,
            seed=args.seed,
            backend=backend,
        )
        figures += by_turns
        lines = [json.dumps(dataclasses.asdict(f)) for f in by_turns]
        print("\n".join(lines), flush=True)
        first = by_turns[0]
        for other in by_turns[1:]:
            ratio = other.env_steps_per_second / first.env_steps_per_second
            print(f"# {_name(other)} : {_name(first)} = {ratio:.2f}", flush=True)
        if args.output is not None:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            with args.output.open("a") as file:
                file.write("\n".join(lines) + "\n")
    return figures


def _name(figure: Throughput) -> str:
    """Name of a measurement, in two words."""
    return f"{figure.tasks} on {figure.devices}"


if __name__ == "__main__":
    main(tyro.cli(Args))
