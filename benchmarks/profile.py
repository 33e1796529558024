"""Profile of a control step on a GPU: times of its kernels, summed by the file of this package that each is from.

Read from JAX's profiler while a batch runs under random actions. Unlike `benchmarks.stages`, which runs every stage
alone, this is the whole program as it is; a kernel into which several stages were fused counts for the one that its
last operation is from.

    python -m benchmarks.profile --tasks MT50 --num-envs 16384
"""

from __future__ import annotations

import collections
import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import tyro
from rich.console import Console
from rich.table import Table

from mjx_metaworld.cli.benchmark import Batch

# Files of small helpers, which say nothing of the stage: whoever calls them does.
_HELPERS = (
    "spatial",
    "sums",
    "linalg",
    "slices",
    "barrier",
    "stacked",
    "packing",
    "points",
    "lookup",
    "shapes",
    "primitives",
)
_STEPS = 10  # control steps in the call that is profiled


@dataclass(frozen=True)
class Args:
    """Environment to profile."""

    tasks: str = "MT50"
    num_envs: int = 16384
    seconds: float = 2.0  # run so long before
    output: Path | None = None  # append a line of JSON to this file


class Kernel(NamedTuple):
    """One run of a kernel on the device."""

    name: str
    seconds: float


class Stage(NamedTuple):
    """All kernels of a file."""

    name: str
    milliseconds: float  # a control step
    launches: float  # a control step


def stages_of(kernels: Iterable[Kernel], program: str, steps: int) -> list[Stage]:
    """Sums by file, the largest first.

    Args:
        kernels: what ran.
        program: the compiled program as text, with the stack frames of its operations.
        steps: control steps that ran.
    """
    files = _files(program)
    times: collections.defaultdict[str, float] = collections.defaultdict(float)
    launches: collections.Counter[str] = collections.Counter()
    for kernel in kernels:
        stage = files.get(kernel.name, kernel.name)
        times[stage] += kernel.seconds
        launches[stage] += 1
    return [
        Stage(name, round(1e3 * time / steps, 3), launches[name] / steps)
        for name, time in sorted(times.items(), key=lambda item: -item[1])
    ]


def _files(program: str) -> dict[str, str]:
    """The file, without its ending, that each instruction is from; kernels are called after instructions."""
    tables = {name: _table(program, name) for name in ("FileNames", "FileLocations", "StackFrames")}
    paths = {number: Path(text.strip('"')) for number, text in tables["FileNames"].items()}
    names = {number: path.parent.name if path.stem == "__init__" else path.stem for number, path in paths.items()}
    found = {}
    for name, frame in re.findall(r"(?m)^\s+(?:ROOT )?%(\S+) = .*stack_frame_id=(\d+)", program):
        stem = _stage(int(frame), names, tables["FileLocations"], tables["StackFrames"])
        found[re.sub(r"[.\-]", "_", name)] = stem
    return found


def _stage(frame: int, names: dict[int, str], locations: dict[int, str], frames: dict[int, str]) -> str:
    """The first file on a stack that is no helper, from the innermost frame on."""
    while frame in frames:
        numbers = dict(re.findall(r"(\w+)=(\d+)", frames[frame]))
        location = dict(re.findall(r"(\w+)=(\d+)", locations.get(int(numbers["file_location_id"]), "")))
        name = names.get(int(location.get("file_name_id", 0)), "")
        if name and name not in _HELPERS:
            return name
        parent = int(numbers.get("parent_frame_id", frame))
        if parent == frame:
            break
        frame = parent
    return "helpers"


def _table(program: str, name: str) -> dict[int, str]:
    """The numbered lines under a heading."""
    if not (section := re.search(rf"(?m)^{name}\n((?:\d+ .*\n)+)", program)):
        return {}
    return {int(number): text for number, text in re.findall(r"(?m)^(\d+) (.*)$", section[1])}


def _run(args: Args) -> tuple[list[Kernel], str, str]:
    """Kernels of one call, the program, and the device.

    Raises:
        ValueError: if the profiler saw no kernel, as on a CPU.
    """
    batch = Batch(args.tasks, args.num_envs, jax.devices()[:1], steps_per_call=_STEPS)
    batch.run(args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            batch.run(0.0)
        data = jax.profiler.ProfileData.from_file(str(next(Path(folder).glob("**/*.xplane.pb"))))
        lines = [line for plane in data.planes if "GPU" in plane.name for line in plane.lines if "Stream" in line.name]
        kernels = [Kernel(event.name, 1e-9 * event.duration_ns) for line in lines for event in line.events]
    if not kernels:
        raise ValueError(f"the profiler saw no kernel on {jax.devices()[0].device_kind}; this needs a GPU")
    return kernels, batch.program(), jax.devices()[0].device_kind


def main(args: Args) -> None:
    """Print the stages, and keep them where the arguments say."""
    kernels, program, device = _run(args)
    stages = stages_of(kernels, program, _STEPS)
    table = Table("stage", title=f"{args.tasks}, {args.num_envs:,} environments, {device}, a control step")
    for heading in ("ms", "launches"):
        table.add_column(heading, justify="right")
    for stage in stages:
        table.add_row(stage.name, f"{stage.milliseconds:.3f}", f"{stage.launches:.1f}")
    Console().print(table)
    if args.output is not None:
        figures = {"tasks": args.tasks, "num_envs": args.num_envs, "device": device, "jax": jax.__version__}
        with args.output.open("a") as file:
            file.write(json.dumps({**figures, "stages": [stage._asdict() for stage in stages]}) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
