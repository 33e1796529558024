"""A room of the package imports only from rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mjx_metaworld as mw

PACKAGE = Path(mw.__file__).parent

# The rooms, folders and modules of the package's root, from the ground up. Rooms of one row know nothing of each other.
#
# Physics is the ground: it knows arrays on a skeleton, no scene, task or file. Tasks stand below `build`, although a
# settled state (`Settled`) is computed there: a task is a declaration and two pure functions, and the structs in
# `tasks/spec.py` are what these take and give (`Settled` to `Placement`, `RewardInputs` to `RewardOutput`). They
# are the task's words, which `build`, `observation` and the environment use when they make such values; the other way
# round, declaring a task would import MuJoCo's simulation. Tasks stand above `scenes` since a task names its scene.
# Experts stand above the environment since they are made for one; a reward never asks an expert.
ROWS = (
    ("processes",),
    ("physics", "compile"),
    ("inputs",),
    ("observation",),
    ("randomise",),
    ("types",),
    ("scenes",),
    ("tasks",),
    ("suites",),
    ("build",),
    ("env",),
    ("vector", "experts", "rendering", "testing"),
    ("episodes", "trajectory", "trials"),
    ("parity",),
    ("training",),
    ("view",),
    ("cli", "adapters"),
    ("__main__",),
)
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}


def room_of(path: Path) -> str:
    """The folder or module at the package's root that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    """The rooms that a file imports from, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{PACKAGE.name}."))


FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]  # the face opens every room


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} == HEIGHT.keys(), "a new room belongs into ROWS, an old one out of it"


@pytest.mark.parametrize("room", HEIGHT)
def test_a_room_imports_only_from_below(room):
    arrows = {(path, other) for path in FILES if room_of(path) == room for other in imported_rooms(path)}
    up = {
        f"{path.relative_to(PACKAGE)} imports from {other}"
        for path, other in arrows
        if other != room and HEIGHT[other] >= HEIGHT[room]
    }
    assert not up, "\n".join(sorted(up))
