"""What the package imports is what it declares: gymnasium 1.4 needs `packaging` and does not say so.

In one process, in which first all is hidden that a plain install does not bring, then all that the extra for the
command line does not bring either, and so on: what is loaded by then is declared by the extras before.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.ci

# Hides modules as if their distributions were not installed, and keeps in mind which of these were asked for.
HIDE = """
import json, sys

hidden, asked = set(), set()

class Finder:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in hidden:
            return self.finder.find_spec(name, path, target)
        asked.add(name.partition(".")[0])
        return None

sys.meta_path[:] = map(Finder, sys.meta_path)
report = {}
for extra, (statement, modules) in json.loads(sys.argv[2]).items():
    hidden.clear()
    hidden.update(modules)
    try:
        exec(statement)
        error = None
    except Exception as failed:
        error = f"{type(failed).__name__}: {failed}"
    report[extra] = {"error": error, "loaded": sorted(sys.modules), "asked": sorted(asked)}
json.dump(report, open(sys.argv[1], "w"))
"""
# By the extra that brings what they need.
STATEMENTS = {
    "": "import mjx_metaworld as mw; [getattr(mw, name) for name in mw.__all__]; mw.make('reach-v3')",
    "cli": "import mjx_metaworld.cli.main, mjx_metaworld.cli.evaluate",
    "training without its extra": "import mjx_metaworld.training",
    "train": "import mjx_metaworld.cli.main, mjx_metaworld.training",
}


def installed_with(extra: str) -> set[str]:
    """The distributions that a plain install of the package with one of its extras brings."""
    found: set[str] = set()
    pending = [Requirement(f"mjx-metaworld[{extra}]" if extra else "mjx-metaworld")]
    seen: set[str] = set()
    while pending:
        wanted = pending.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        try:
            needed = requires(wanted.name) or []
        except PackageNotFoundError:  # for another platform
            continue
        found.add(canonicalize_name(wanted.name))
        for needs in map(Requirement, needed):
            if needs.marker is None or any(needs.marker.evaluate({"extra": e}) for e in {"", *wanted.extras}):
                pending.append(needs)
    return found


@functools.cache
def hidden_without(extra: str) -> list[str]:
    """The modules here that a plain install with one of the extras does not bring."""
    declared = installed_with(extra)
    return [
        module
        for module, distributions in packages_distributions().items()
        if module != "_virtualenv" and not declared & {canonicalize_name(name) for name in distributions}
    ]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By the statements' names: what failed, all modules loaded by then, all hidden ones that were asked for."""
    file: Path = tmp_path_factory.mktemp("dependencies") / "report.json"
    stages = {
        name: (statement, hidden_without("cli" if " " in name else name)) for name, statement in STATEMENTS.items()
    }
    subprocess.run([sys.executable, "-c", HIDE, str(file), json.dumps(stages)], check=True)
    return json.loads(file.read_text())


@pytest.mark.parametrize("extra", ["", "cli", "train"])
def test_imports_are_declared(extra, report):
    assert "pytest" in hidden_without(extra)
    assert report[extra]["error"] is None


def test_the_core_loads_no_client_no_command_and_no_mjx(report):
    loaded = report[""]["loaded"]
    own = {"adapters", "training", "cli"}
    assert [m for m in loaded if m.startswith("mjx_metaworld.") and m.split(".")[1] in own] == []
    clients = {"brax", "gymnax", "lerobot", "torch", "tyro", "flashbax", "mujoco.mjx"}
    assert clients & {*loaded, *report[""]["asked"]} == set()


def test_the_core_and_its_commands_need_nothing_of_the_extra_for_training(report):
    assert {"tensorboardX", "matplotlib"} <= set(hidden_without("cli"))
    assert report["cli"]["error"] is None
    assert "orbax" not in report["cli"]["loaded"]  # flax brings it, too, so it is there
    assert report["training without its extra"]["error"].startswith("ImportError: ")
    assert "[train]" in report["training without its extra"]["error"]
