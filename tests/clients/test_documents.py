"""Documents whose Python needs PyTorch: the guide, and the notebook's cell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax.numpy as jnp
import pytest

import mjx_metaworld as mw

pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("kinematic")

ROOT = Path(__file__).parents[2]


def test_the_guides_python_runs():
    pytest.importorskip("rsl_rl")
    pytest.importorskip("skrl")
    guide = (ROOT / "docs" / "guides" / "pytorch.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    assert len(code) == 4
    exec("\n".join(code), {})


def test_the_notebooks_cell_runs(capsys):
    notebook = json.loads((ROOT / "notebooks" / "training_loop.ipynb").read_text(encoding="utf-8"))
    (cell,) = [code for code in map("".join, (cell["source"] for cell in notebook["cells"])) if "TorchEnv" in code]
    # Towards the goal, as what is learnt there does: the weights of the hand and of the goal cancel.
    towards = jnp.pad(jnp.concatenate([-jnp.eye(3), jnp.eye(3)], axis=1), ((0, 1), (0, 1)))
    exec(cell, {"mw": mw, "env": mw.make("reach-v3"), "weights": 2 * towards, "LANES": 8, "STEPS": 60})
    assert capsys.readouterr().out.startswith("success ")
