"""Versions that the package works with: each row an environment of its own, its checks run there, the result kept.

    make matrix
    make matrix ARGS="--only locked newest-3.13"

Writes `benchmarks/results/matrix.json`, in which rows that were not run stay, and the table in
`docs/guides/versions.md`. A row that fails, or that this machine has no Python for, is recorded as such; the others go
on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from interpreters import ROOT, find
from smoke import HERE, UV, clean_environment

from mjx_metaworld.cli.markdown import check_section, rewrite_section

RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
DOCUMENT = ROOT / "docs" / "guides" / "versions.md"
ENGINE, TRAINING = "check_newest.py", "check_training.py"
SHOWN = ("jax", "flax", "gymnasium", "orbax-checkpoint", "brax", "gymnax", "rejax", "lerobot")


@dataclass(frozen=True)
class Row:
    """An environment to make and what to run in it."""

    name: str
    python: str
    extra: str
    checks: tuple[str, ...]
    lock: str | None = None  # constraints, a file of `requirements/`; None for the newest of all
    others: tuple[str, ...] = ()  # packages beside this one


@dataclass(frozen=True)
class Outcome:
    """A row's result."""

    name: str
    python: str
    versions: dict[str, str]
    checks: list[str]
    failure: str  # empty if all passed
    seconds: float
    date: str


ROWS = (
    Row("locked", "3.11", "train", (ENGINE, TRAINING), lock="dev.lock"),
    Row("newest-3.12", "3.12", "train", (ENGINE, TRAINING)),
    Row("newest-3.13", "3.13", "train", (ENGINE, TRAINING)),
    Row("brax", "3.12", "brax", ("check_brax.py",)),
    Row("rejax", "3.11", "cli", ("check_rejax.py",), others=("rejax", "gymnax", "six")),
    Row("lerobot", "3.12", "lerobot", ("check_lerobot.py",)),
)


def main() -> int:
    """Run the rows asked for; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], help="rows to run; by default all")
    parser.add_argument("--wheel", type=Path, help="of the package; by default the one in dist/")
    args = parser.parse_args()
    check_section(DOCUMENT, "matrix")
    wheel = args.wheel or next((ROOT / "dist").glob("*.whl"))
    found = {one["name"]: Outcome(**one) for one in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    failed = False
    for row in ROWS:
        if args.only and row.name not in args.only:
            continue
        outcome = run(row, wheel)
        print(f"{row.name}: {outcome.failure or 'passed'} ({outcome.seconds:.0f} s)", flush=True)
        failed |= bool(outcome.failure)
        found[row.name] = outcome
        ordered = [found[each.name] for each in ROWS if each.name in found]
        RESULTS.write_text(json.dumps([dataclasses.asdict(one) for one in ordered], indent=1) + "\n")
        rewrite_section(DOCUMENT, "matrix", markdown(ordered))
    return int(failed)


def run(row: Row, wheel: Path) -> Outcome:
    """Install a row's packages into a fresh environment, and run its checks until one fails."""
    start, versions, passed, failure = time.perf_counter(), {}, [], ""
    python = find(row.python)
    if python is None:
        failure = f"Python {row.python} is not at hand"
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            environment, cache = clean_environment(folder)
            installed = folder / "env" / "bin" / "python"
            lock = [] if row.lock is None else ["-c", ROOT / "requirements" / row.lock]
            package = f"mjx-metaworld[{row.extra}] @ {wheel.resolve().as_uri()}"
            install = [UV, "pip", "install", "-q", "--cache-dir", cache, "--python", installed]
            steps = [
                [UV, "venv", "-q", "--no-project", "--python", python, folder / "env"],
                [*install, *lock, package, *row.others],
                *([installed, "-I", HERE / check] for check in row.checks),
            ]
            for step in steps:
                done = subprocess.run(step, cwd=folder, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    failure = f"{Path(str(step[-1])).name}: {_last_line(done)}"
                    break
                if Path(str(step[-1])).parent == HERE:
                    passed.append(Path(str(step[-1])).stem)
            versions = _versions(installed)
    seconds = round(time.perf_counter() - start, 1)
    return Outcome(row.name, row.python, versions, passed, failure, seconds, datetime.now(UTC).date().isoformat())


def markdown(outcomes: list[Outcome]) -> str:
    """The outcomes as a table."""
    lines = [f"| | Python | {' | '.join(SHOWN)} | result | on |", f"| --- | --- |{' --- |' * len(SHOWN)} --- | --- |"]
    for one in outcomes:
        shown = " | ".join(one.versions.get(name, "") for name in SHOWN)
        result = f"fails: {one.failure.replace('|', ' ')}" if one.failure else "passes"
        lines.append(f"| {one.name} | {one.python} | {shown} | {result} | {one.date} |")
    return "\n".join(lines)


def _versions(python: Path) -> dict[str, str]:
    """Versions of the packages shown that an environment has."""
    command = [UV, "pip", "list", "--format", "json", "--python", python]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        return {}
    return {one["name"]: one["version"] for one in json.loads(listed.stdout) if one["name"] in SHOWN}


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a process said, before any remark of JAX's, or by which signal it ended."""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    said = (done.stderr or done.stdout).split("\n--------------------\n")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
