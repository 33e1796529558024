"""Quick set by default, the long forms with `--full`."""

from __future__ import annotations

import os
from importlib.metadata import version

# Tests compile as `mw.jit` does, which takes half the time; test_compile.py has the one that compiles as JAX does.
_FLAGS = "--xla_disable_hlo_passes=cpu-parallel-task-assigner --xla_backend_optimization_level=2"
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
    if config.getoption("--full"):
        return
    full = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if item not in full]
