"""Quick set by default, the long forms with `--full`; the default physics replaced where a module asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version

# What tests compile runs a few times at most, so LLVM does its least. Programs that run longer are compiled by
# `mw.jit`, whose own options take precedence. The older code generator takes half the time of the newer.
_FLAGS = "--xla_disable_hlo_passes=cpu-parallel-task-assigner --xla_backend_optimization_level=0"
if tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 12):  # later ones abort at a flag they lack
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()

import pytest  # noqa: E402


@pytest.fixture
def scratch_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and suites that a test declares are forgotten at its end."""
    from mjx_metaworld import suites
    from mjx_metaworld.tasks import registry

    for name in ("_tasks", "_origins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    monkeypatch.setattr(registry, "_suites", set(registry._suites))
    monkeypatch.setattr(registry, "_listeners", [])  # gymnasium's registry, say, would not forget
    monkeypatch.setattr(suites, "_listed", dict(suites._listed))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the long forms, marked `full`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # `--dist loadgroup`: the tests of a file run in one process, with those of other files where these say so.
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
    if config.getoption("--full"):
        return
    full = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if item not in full]


@pytest.fixture(scope="module")
def kinematic() -> Iterator[None]:
    """Environments are made without dynamics, also by adapters, commands and trainers, unless told otherwise."""
    from support.engines import default_engine

    from mjx_metaworld.testing import KinematicEngine

    with default_engine(KinematicEngine):
        yield


@pytest.fixture
def true_physics(kinematic: None) -> Iterator[None]:
    """The true physics, for the long form of a test in a module that does without."""
    from support.engines import default_engine

    from mjx_metaworld.physics.engine import Engine

    with default_engine(Engine):
        yield
