"""Digests of tasks from outside the package: the same for the same declaration, in any process, and else others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mjx_metaworld.build.identity import declarations
from mjx_metaworld.suites import resolve
from mjx_metaworld.tasks import registry

pytestmark = pytest.mark.usefixtures("scratch_registry")

DECLARATION = """
import jax.numpy as jnp
from mjx_metaworld.tasks import task, RewardOutput


def reward(s):
    "Reach. Success: within {bar} m."
    error = jnp.linalg.norm(s.tcp - s.goal)
    return RewardOutput(-error, error < {bar}, 0.0, 0.0, 0.0, 0.0, error)


task("own-reach", like="reach-v3", min_separation={separation})(reward)
"""
PRINTED = "\nfrom mjx_metaworld.build.identity import declarations\nfrom mjx_metaworld.suites import resolve\n"
PRINTED += 'print(*declarations(resolve("own-reach")).values())'


def digest(bar: float = 0.05, separation: float = 0.15) -> str:
    for known in (registry._tasks, registry._origins):
        known.pop("own-reach", None)
    exec(compile(DECLARATION.format(bar=bar, separation=separation), "own.py", "exec"), {"__name__": "own"})
    (found,) = declarations(resolve("own-reach")).values()
    return found


def test_a_digest_tells_declarations_apart_and_nothing_else():
    assert digest() == digest()
    assert len({digest(), digest(bar=0.01), digest(separation=0.2)}) == 3


def test_a_digest_is_the_same_in_another_process():
    source = DECLARATION.format(bar=0.05, separation=0.15).replace(
        "import jax.numpy", "__name__ = 'own'\nimport jax.numpy"
    )
    command = [sys.executable, "-c", source + PRINTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()


def test_this_packages_tasks_are_told_apart_by_its_version():
    assert declarations(resolve("MT10")) == {}
