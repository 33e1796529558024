"""The Makefile finds an interpreter of the range that pyproject.toml names, or says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RANGE = PROJECT["requires-python"]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def pretend(folder: Path, name: str, version: str) -> None:
    """An interpreter that says it is of another version."""
    code = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0, 'final', 0); exec(sys.argv.pop(1))"
    path = folder / name
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" -c "{code}" "$2"\n')
    path.chmod(0o755)


def refuse(folder: Path, name: str) -> None:
    """A shim of pyenv for a version that is not chosen."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n")
    path.chmod(0o755)


def make_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make python` where nothing but a folder, and the sed that make needs, is on PATH."""
    (folder / "sed").symlink_to(shutil.which("sed") or "")
    command = [shutil.which("make") or "make", "-s", "-C", str(ROOT), "python", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(folder)})


@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(9, 16)])
def test_what_fits_is_what_the_project_requires(tmp_path, version):
    pretend(tmp_path, "python3", version)
    assert (make_python(tmp_path).returncode == 0) == (version in SpecifierSet(RANGE))


@pytest.mark.parametrize(
    ("at_hand", "chosen"),
    [
        ({"python3": "3.12", "python3.13": "3.13"}, "python3"),
        ({"python3": "3.14", "python3.13": "3.13", "python3.11": "3.11"}, "python3.13"),
        ({"python3": "3.10", "python3.12": "3.12", "python3.11": "3.11"}, "python3.12"),
        ({"python3.11": "3.11", "python3.14": "3.14"}, "python3.11"),
    ],
)
def test_the_first_that_fits_is_chosen(tmp_path, at_hand, chosen):
    for name, version in at_hand.items():
        pretend(tmp_path, name, version)
    found = make_python(tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, chosen), found.stderr


def test_an_interpreter_that_does_not_start_is_passed_over(tmp_path):
    refuse(tmp_path, "python3.13")
    pretend(tmp_path, "python3.12", "3.12")
    assert make_python(tmp_path).stdout.strip() == "python3.12"


def test_an_interpreter_can_be_named(tmp_path):
    pretend(tmp_path, "python3", "3.11")
    pretend(tmp_path, "mine", "3.13")
    assert make_python(tmp_path, "PYTHON=mine").stdout.strip() == "mine"


@pytest.mark.parametrize(("at_hand", "arguments"), [({}, ()), ({"python3": "3.14", "mine": "3.10"}, ("PYTHON=mine",))])
def test_without_one_it_says_what_is_needed(tmp_path, at_hand, arguments):
    for name, version in at_hand.items():
        pretend(tmp_path, name, version)
    found = make_python(tmp_path, *arguments)
    assert found.returncode != 0
    assert found.stdout == ""
    asked = arguments[0].removeprefix("PYTHON=") if arguments else "python3 python3.13 python3.12 python3.11"
    for part in (RANGE, f"none of these is one: {asked}.", "PYTHON=/path/to", "uv python install"):
        assert part in found.stderr


def test_classifiers_and_readme_name_the_range():
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert named == [version for version in (f"3.{minor}" for minor in range(50)) if version in SpecifierSet(RANGE)]
    assert f"Python {named[0]} to {named[-1]} " in (ROOT / "README.md").read_text(encoding="utf-8")
