"""The example of a scene of one's own fits, and runs from its file to a policy."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import mjx_metaworld as mw
from mjx_metaworld.testing import KinematicEngine

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_scene" / "hatch.py"


@pytest.mark.usefixtures("scratch_registry")
def test_the_example_fits():
    assert mw.check_scene(runpy.run_path(str(EXAMPLE))["SCENE"]) == []
    env = mw.make("hatch-push", engine=KinematicEngine)
    state = mw.jit(env.reset)(jax.random.key(0))
    assert mw.to_mujoco(env, state)[1].body("stand").xpos[1] > 0.7


@pytest.mark.full
def test_the_example_runs(tmp_path):
    ended = subprocess.run([sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "what the engine does not compute of it: []" in ended.stdout
    # A tilted ramp stands on edges, which makes a tail of whole control steps.
    assert [line for line in ended.stdout.splitlines() if "BEYOND" in line and "control step" not in line] == []
    assert (tmp_path / "out" / "own_scene" / "hatch.png").exists()
    assert (tmp_path / "out" / "own_scene" / "run" / "success.png").exists()
