"""The engine that environments are made with where nobody names one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

from mjx_metaworld.env import EngineFactory, environment

# Modules that keep what they once compiled for some tasks and options; the engine is not among the options.
_KEEPERS = {
    "mjx_metaworld.adapters.compiled": "programs",
    "mjx_metaworld.adapters.lerobot.simulator": "_build",
}
# The same for a process of its own: to stand before a script.
KINEMATIC_PRELUDE = """
import mjx_metaworld.env.environment
import mjx_metaworld.testing
mjx_metaworld.env.environment.Engine = mjx_metaworld.testing.KinematicEngine
"""


@contextlib.contextmanager
def default_engine(engine: EngineFactory) -> Iterator[None]:
    """Environments that are made meanwhile have this engine, whoever makes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "Engine", engine)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for module, name in _KEEPERS.items():
        if module in sys.modules:
            getattr(sys.modules[module], name).cache_clear()
