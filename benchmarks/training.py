"""Train tasks from scratch over several seeds and evaluate what was learnt here and on CPU metaworld.

    python -m benchmarks.training reach-v3 --seeds 0 1 2 --document docs/guides/training.md
    python -m benchmarks.training reach-v3 --seeds 0 1 "--arguments=--algo sac" --document docs/guides/training.md
    python -m benchmarks.training reach-v3 --seeds 0 "--arguments=--algo clone" \
        --document docs/guides/pixels.md

Every run is the commands `mjx-metaworld train` and `mjx-metaworld eval --reference`, each in a process of its own, so
that its wall clock holds everything, imports and compilation included. Policies that see are evaluated a third time, on
OpenGL's pictures of the states here. Adds to `benchmarks/results/training.json` and
draws the curves of all seeds beside it; a run of the same command on such a machine is replaced. Without tasks it only
draws and writes what is there.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import Positional

from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.training.plots import draw_success
from mjx_metaworld.training.records import read_records

RESULTS = Path("benchmarks/results")
FILE = RESULTS / "training.json"


@dataclass(frozen=True)
class Training:
    """Runs to make."""

    tasks: Annotated[tuple[str, ...], Positional] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    arguments: str = ""  # further ones of `mjx-metaworld train`, separated by spaces
    folder: Path = Path("out/training")  # where the runs' own folders go
    made: bool = False  # take runs whose folders are there already, and only evaluate them
    document: Path | None = None  # Markdown file whose section `training` or `seeing` gets the table


@dataclass(frozen=True)
class Result:
    """A run, and what its last policy does on the 50 frozen goals."""

    task: str
    seed: int
    command: str
    env_steps: int
    seconds: float  # of the whole command, wall clock
    success_here: float
    success_there: float
    return_here: float
    return_there: float
    curve: list[tuple[int, float, float]]  # environment steps, seconds, success of every evaluation
    device: str
    machine: str  # with the cores that the run could use
    devices: int = 1  # among which the environments were divided
    versions: dict[str, str] = field(default_factory=dict)
    success_opengl: float | None = None  # here, of a policy that sees, on OpenGL's pictures
    cameras: list[str] = field(default_factory=list)  # of a policy that sees
    picture_size: int | None = None
    feels_hand: bool | None = None

    def sees(self) -> bool:
        """True for a policy that acts on pictures."""
        return self.success_opengl is not None

    def algorithm(self) -> str:
        """Its name on the command line."""
        words = self.command.split()
        return words[words.index("--algo") + 1] if "--algo" in words else "ppo"

    def where(self) -> str:
        """Devices and machine."""
        return f"{self.devices} {self.device} ({self.machine})"


def run(task: str, seed: int, arguments: Sequence[str], folder: Path, *, made: bool = False) -> Result:
    """Train and evaluate; with `made` only the latter, if the run's folder is there.

    Raises:
        FileExistsError: if the run's folder is there already: it would go on instead of starting from scratch.
        subprocess.CalledProcessError: if a command fails.
    """
    output = folder / "-".join([task, *(word.strip("-") for word in arguments), str(seed)])
    exists = output.exists()
    if exists and not made:
        raise FileExistsError(f"{output} is there already; remove it, or choose another --folder")
    command = ["train", task, *arguments, "--seed", str(seed)]
    start = time.perf_counter()
    if not exists:
        _cli(*command, "--output", str(output))
    seconds = time.perf_counter() - start
    (figures,) = json.loads(_cli("eval", str(output), "--reference", "--json"))
    about = json.loads((output / "run.json").read_text())
    algorithm, seeing = about["config"]["algorithm"], {}
    if "cameras" in algorithm:
        (opengl,) = json.loads(_cli("eval", str(output), "--renderer", "opengl", "--json"))
        seeing = {name: algorithm[name] for name in ("cameras", "picture_size")}
        seeing |= {"feels_hand": algorithm["see_hand"], "success_opengl": opengl["success_here"]}
    curve = [(r["env_steps"], r["seconds"], r["success"]) for r in read_records(output) if r["kind"] == "evaluation"]
    return Result(
        task=task,
        seed=seed,
        command=" ".join(["mjx-metaworld", *command]),
        env_steps=curve[-1][0],
        seconds=round(curve[-1][1] if exists else seconds, 1),
        success_here=figures["success_here"],
        success_there=figures["success_there"],
        return_here=round(figures["return_here"], 1),
        return_there=round(figures["return_there"], 1),
        curve=curve,
        device=about["device"],
        devices=about["devices"],
        machine=about["machine"],
        versions=about["versions"],
        **seeing,
    )


def markdown(results: Sequence[Result]) -> str:
    """The runs as a table, a row for each task, algorithm and machine with the range over its seeds."""
    lines = [
        "| task | algorithm | devices | seeds | env steps | minutes | success here | CPU | return here | CPU |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, runs in sorted(_groups(results, lambda r: (r.task, r.algorithm(), r.where())).items()):
        success = [np.mean([getattr(r, f"success_{side}") for r in runs]) for side in ("here", "there")]
        returns = [np.mean([getattr(r, f"return_{side}") for r in runs]) for side in ("here", "there")]
        lines.append(
            f"| {' | '.join(key)} | {len(runs)} | {_span([r.env_steps / 1e3 for r in runs], '.0f')} k "
            f"| {_span([r.seconds / 60 for r in runs], '.1f')} | {success[0]:.1%} | {success[1]:.1%} "
            f"| {returns[0]:.0f} | {returns[1]:.0f} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in results[0].versions.items())
    commands = "; ".join(f"`{command}`" for command in sorted({r.command.split(" --seed")[0] for r in results}))
    lines += [
        "",
        "Success at any step on the 50 frozen goals (seed 1), 500 steps, rewards v2; training draws goals anew. Return "
        "up to the first success. Minutes are wall clock of the whole command, compilation and evaluations included, "
        "from the quickest to the slowest seed; a run ends at the first evaluation with 98 %. CPU is metaworld's own "
        f"`evaluation` of the same policy. {commands}, with `--seed`; {versions}.",
    ]
    return "\n".join(lines)


def seeing_markdown(results: Sequence[Result]) -> str:
    """The runs of policies that see, a row each, and the curve of each."""
    lines = [
        "| task | sees | seed | env steps | minutes | success | by OpenGL's pictures | CPU metaworld, by OpenGL's |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        seen = f"{' and '.join(r.cameras)}, {r.picture_size}x{r.picture_size}" + (" and its hand" * bool(r.feels_hand))
        lines.append(
            f"| {r.task} | {seen} | {r.seed} | {r.env_steps / 1e3:.0f} k | {r.seconds / 60:.1f} | {r.success_here:.1%} "
            f"| {r.success_opengl:.1%} | {r.success_there:.1%} |"
        )
    for r in results:
        lines += ["", f"Success on the way, {r.task}, seed {r.seed}:", ""]
        lines += [f"| env steps | {' | '.join(f'{steps / 1e3:.0f} k' for steps, _, _ in r.curve)} |"]
        lines += [f"| --- |{' ---: |' * len(r.curve)}"]
        lines += [f"| minutes | {' | '.join(f'{seconds / 60:.1f}' for _, seconds, _ in r.curve)} |"]
        lines += [f"| success | {' | '.join(f'{success:.0%}' for _, _, success in r.curve)} |"]
    places = ", ".join(sorted({r.where() for r in results}))
    lines += [
        "",
        "Success at any step on the 50 frozen goals (seed 1), 500 steps; training draws goals anew. Minutes are wall "
        f"clock of the command, compilation and evaluations included. {places}; "
        + "; ".join(sorted({f"`{r.command}`" for r in results}))
        + ".",
    ]
    return "\n".join(lines)


def main(args: Training) -> None:
    """Make the runs one after the other, writing down each as it ends."""
    known = [Result(**result) for result in json.loads(FILE.read_text())] if FILE.exists() else []
    for task in args.tasks:
        for seed in args.seeds:
            result = run(task, seed, args.arguments.split(), args.folder, made=args.made)
            known = [r for r in known if (r.command, r.where()) != (result.command, result.where())] + [result]
            FILE.write_text(json.dumps([dataclasses.asdict(r) for r in known], indent=1) + "\n")
            print(f"{task}, seed {seed}: {result.success_here:.0%} here, {result.success_there:.0%} there", flush=True)
    for (task, algorithm), runs in _groups(known, lambda r: (r.task, r.algorithm())).items():
        curves = {f"seed {r.seed}, {r.where()}": r.curve for r in runs}
        draw_success(curves, RESULTS / f"training_{task}-{algorithm}.png")
    if args.document is not None:
        text = args.document.read_text()
        for section, write, sees in (("training", markdown, False), ("seeing", seeing_markdown, True)):
            if f"<!-- {section}:begin -->" in text:
                rewrite_section(args.document, section, write([r for r in known if r.sees() == sees]))


def _groups(results: Sequence[Result], key: Callable[[Result], tuple[str, ...]]) -> dict[tuple[str, ...], list[Result]]:
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


def _span(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _cli(*arguments: str) -> str:
    command = [sys.executable, "-m", "mjx_metaworld", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main(tyro.cli(Training, description=__doc__))
