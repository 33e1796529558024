"""Checks of an installed package, in an environment that has nothing beside it: no extra, no sources, no pytest."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import mjx_metaworld as mw

TASKS = ["reach-v3", "drawer-open-v3"]
OTHERS = ("__main__", "adapters", "cli", "training", "parity", "rendering.device")  # these may need an extra


def check_import() -> None:
    """The package is the installed one, shows its names, and loads nothing of weight by itself."""
    assert Path(sys.prefix) in Path(mw.__file__).parents, mw.__file__
    assert not {"jax", "mujoco", "metaworld"} & sys.modules.keys()
    assert dir(mw) == sorted([*mw.__all__, "__version__"]), dir(mw)
    assert mw.__version__ == importlib.metadata.version("mjx-metaworld")


def check_files() -> None:
    """All that was packed is there: sources of kernels, types, and every module, which can be imported."""
    files = [path for path in importlib.metadata.files("mjx-metaworld") or [] if path.parts[0] == "mjx_metaworld"]
    assert all(path.locate().exists() for path in files)
    for suffix in (".cu", ".cuh", ".cpp", ".hpp"):
        assert any(path.suffix == suffix and path.read_text() for path in files), suffix
    assert any(path.name == "py.typed" for path in files)
    modules = [module.name for module in pkgutil.walk_packages(mw.__path__, "mjx_metaworld.", onerror=lambda _: None)]
    others = tuple(f"mjx_metaworld.{room}." for room in OTHERS)
    core = [name for name in modules if not f"{name}.".startswith(others)]
    assert len(core) > 50, core
    for name in core:
        importlib.import_module(name)


def check_command() -> None:
    """The command line says what there is, and, where its extra is missing, how to get it."""
    command = Path(sys.executable).with_name("mjx-metaworld")
    asked = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert "commands:" in asked.stdout
    tried = subprocess.run([command, "tasks"], capture_output=True, text=True, check=False)
    assert tried.returncode == 1, tried.stdout
    assert "pip install" in tried.stderr, tried.stderr
    assert "[cli]" in tried.stderr, tried.stderr
    assert len(tried.stderr.splitlines()) == 1, tried.stderr


def check_step() -> None:
    """Two tasks in one batch: made, reset and stepped."""
    import jax
    import jax.numpy as jnp

    env = mw.make(TASKS)
    state = mw.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 4), jnp.arange(4) % 2)
    after = mw.jit(jax.vmap(env.step))(state, jnp.full((4, env.action_size), 0.5))
    assert after.obs.shape == (4, env.observation_size)
    assert after.task.tolist() == [0, 1, 0, 1]
    assert bool(jnp.isfinite(after.obs).all() & jnp.isfinite(after.reward).all())
    assert bool((jnp.abs(after.obs[:, :3] - state.obs[:, :3]).max(axis=1) > 1e-4).all()), "the hand stands still"


if __name__ == "__main__":
    check_import()
    check_files()
    check_command()
    check_step()
