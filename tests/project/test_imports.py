"""An import of the package shows its names and loads nothing; an import of a module loads what it needs and no more."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import mjx_metaworld as mw


def loaded(statement: str, *modules: str) -> list[str]:
    """Those of some modules that a fresh process has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*(name for name in {modules!r} if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.split()


@pytest.mark.parametrize("statement", ["import mjx_metaworld", "import mjx_metaworld as mw; mw.__version__, dir(mw)"])
def test_the_package_alone_is_light(statement):
    assert loaded(statement, "mjx_metaworld", "jax", "mujoco", "metaworld", "numpy") == ["mjx_metaworld"]


def test_dir_shows_the_public_names_and_only_these():
    assert dir(mw) == sorted([*mw.__all__, "__version__"])
    assert mw.__all__ == sorted(mw._HOMES)  # the names that a type checker sees are those that can be had
    assert all(getattr(mw, name) is not None for name in mw.__all__)


def test_the_version_is_the_distributions():
    assert mw.__version__ == importlib.metadata.version("mjx-metaworld")


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="has no attribute 'mak'"):
        mw.mak  # noqa: B018
