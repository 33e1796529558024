"""The Python interpreters of this machine on which the package may be installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def supported() -> list[str]:
    """The versions that pyproject.toml admits, as "3.11", in rising order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [version for version in (f"3.{minor}" for minor in range(50)) if version in admitted(project)]


def admitted(project: dict[str, str]) -> SpecifierSet:
    """The range in `requires-python` of a pyproject.toml's table `project`."""
    return SpecifierSet(project["requires-python"])


def find(version: str) -> Path | None:
    """An interpreter of that version, found by uv or among pyenv's; None if there is none at hand."""
    command = [UV, "python", "find", "--system", "--no-python-downloads", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return Path(found.stdout.strip())
    # pyenv's shims on PATH refuse all versions but the chosen ones, so uv does not see the others.
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    return next(iter(sorted(versions.glob(f"{version}.*/bin/python{version}"))), None)
