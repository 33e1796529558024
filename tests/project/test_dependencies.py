"""What the package imports is what it declares: gymnasium 1.4 needs `packaging` and does not say so."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Hides the modules named in its arguments as if their distributions were not installed.
HIDE = """
import sys

hidden = set(sys.argv[1:])

class Finder:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Finder, sys.meta_path)
"""


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


@pytest.mark.parametrize(
    ("extra", "statement"),
    [
        ("", "import mjx_metaworld as mw; mw.make('reach-v3')"),
        ("cli", "import mjx_metaworld.cli.main"),
        ("train", "import mjx_metaworld.cli.main, mjx_metaworld.training"),
    ],
)
def test_imports_are_declared(extra, statement):
    declared = installed_with(extra)
    hidden = [
        module
        for module, distributions in packages_distributions().items()
        if module != "_virtualenv" and not declared & {canonicalize_name(name) for name in distributions}
    ]
    assert "pytest" in hidden
    done = subprocess.run([sys.executable, "-c", HIDE + statement, *hidden], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
