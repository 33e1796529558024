"""Other checkouts of this project, such as one of an earlier commit, measured beside this one by turns."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.processes.cache import VARIABLE


def checkouts_by_name(beside: Iterable[Path]) -> dict[str, Path]:
    """This checkout as "this", and the others by their commits."""
    return {"this": Path(__file__).parent.parent} | {_commit(path): path.absolute() for path in beside}


def environment_of(checkout: Path, folder: Path) -> dict[str, str]:
    """Environment of a process that imports the package from a checkout and keeps all that it keeps in a folder."""
    variables = os.environ | {"PYTHONPATH": str(checkout), VARIABLE: str(folder), "XDG_CACHE_HOME": str(folder)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    return variables


def tell(figures: Sequence[Any], output: Path | None) -> None:
    """Print a line of JSON for each figure, a dataclass, with machine and versions, and append them to a file."""
    about = {"machine": describe_machine(), "versions": versions()}
    lines = [json.dumps(asdict(figure) | about) for figure in figures]
    print(*lines, sep="\n")
    if output is not None:
        with output.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def write_table(document: Path | None, section: str, table: Sequence[str], where: str) -> None:
    """Write a Markdown table and what it was measured on into a document, if there is one."""
    if document is not None:
        told = ", ".join(f"{name} {version}" for name, version in versions().items())
        rewrite_section(document, section, "\n".join([*table, "", f"{where}; {told}."]))


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
