"""Train tasks from scratch over several seeds, and put runs on record with what they learnt, here and on CPU metaworld.

    python -m benchmarks.training reach-v3 --seeds 0 1 2
    python -m benchmarks.training MT10 --seeds 0 1 "--arguments=--algo fastsac"
    python -m benchmarks.training --record out/train/MT10-fastsac-0    # runs that are there already
    python -m benchmarks.training                                      # only writes the documents anew

Every run is the commands `mjx-metaworld train` and `mjx-metaworld eval --reference`, each in a process of its own, so
that its wall clock holds everything, imports and compilation included; that of a run which was there already begins
with the trainer. Policies that see are evaluated a third time, on OpenGL's pictures of the states here. Adds to
`benchmarks/results/training.json` (a run of the same command on such a machine is replaced), draws the curves into
`docs/results/`, and writes `docs/results.md` and the tables of the guides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from benchmarks.training_report import DOCUMENTS, draw_curves, write_sections
from benchmarks.training_results import Result, add_result, call_cli, evaluate_run, load_results


@dataclass(frozen=True)
class Training:
    """Runs to make or to put on record."""

    tasks: Annotated[tuple[str, ...], Positional] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    arguments: str = ""  # further ones of `mjx-metaworld train`, separated by spaces
    folder: Path = Path("out/training")  # where the runs' own folders go
    made: bool = False  # take runs whose folders are there already, and only evaluate them
    record: tuple[Path, ...] = ()  # folders of runs that were made otherwise
    document: tuple[Path, ...] = DOCUMENTS  # Markdown files whose sections are written anew


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
    start = time.perf_counter()
    if not exists:
        call_cli("train", task, *arguments, "--seed", str(seed), "--output", str(output))
    return evaluate_run(output, None if exists else time.perf_counter() - start)


def main(args: Training) -> None:
    """Make the runs one after the other, writing down each as it ends."""
    known = load_results()
    for task in args.tasks:
        for seed in args.seeds:
            known = _told(known, run(task, seed, args.arguments.split(), args.folder, made=args.made))
    for folder in args.record:
        known = _told(known, evaluate_run(folder))
    draw_curves(known)
    for document in args.document:
        write_sections(document, known)


def _told(known: Sequence[Result], result: Result) -> list[Result]:
    print(f"{result.command}: {result.success_here:.0%} here, {result.success_there:.0%} there", flush=True)
    return add_result(known, result)


if __name__ == "__main__":
    main(tyro.cli(Training, description=__doc__))
