"""Adapters are leaves: the core imports none of them; and a missing library is named with the extra that brings it."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import mjx_metaworld as mw

PACKAGE = Path(mw.__file__).parent
ADAPTERS = "mjx_metaworld.adapters"


def imported_by(path: Path) -> Iterator[str]:
    """The modules that a file's import statements name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_but_adapters_imports_adapters():
    files = [path for path in PACKAGE.rglob("*.py") if "adapters" not in path.relative_to(PACKAGE).parts]
    assert len(files) > 50
    assert [path for path in files if any(name.startswith(ADAPTERS) for name in imported_by(path))] == []


def test_physics_knows_no_scene_no_task_and_no_file():
    """What it works on comes in as data; the scenes are built on its layout, so they import it and not the reverse.

    A kernel's file is code, which is compiled and kept below.
    """
    below = "mjx_metaworld.processes.native"
    upwards = [
        (path.name, name)
        for path in (PACKAGE / "physics").rglob("*.py")
        for name in imported_by(path)
        if name.startswith("mjx_metaworld") and not name.startswith(("mjx_metaworld.physics", below))
    ]
    assert upwards == []


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        (f"{ADAPTERS}.brax", "brax.envs.base", "brax"),
        (f"{ADAPTERS}.torch_tensors", "torch", "torch"),
        (f"{ADAPTERS}.lerobot.config", "lerobot.envs.configs", "lerobot"),
        (f"{ADAPTERS}.lerobot.export", "rich.progress", "lerobot"),
        ("mjx_metaworld.rendering.images", "PIL", "cli"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(module, missing, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)  # an import of it fails, whether it is installed or not
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=rf"pip install .*\[{extra}\]"):
        importlib.import_module(module)


def test_what_is_missing_for_a_picture_is_named(monkeypatch):
    env = mw.make("reach-v3")
    state = jax.jit(env.reset)(jax.random.key(0))
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(ImportError, match=r"pip install .*\[cli\]"):
        mw.render(env, state, width=8, height=8, backend="raycast", progress=True)
    pictures = importlib.import_module("mjx_metaworld.rendering.images")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install .*\[cli\]"):
        pictures.require_mp4()
