"""The notebooks are stored without outputs, and run from first to last cell on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.children import environment

nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert {path.name for path in NOTEBOOKS} >= {"quickstart.ipynb", "training_loop.ipynb", "watch_and_plot.ipynb"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.ci  # each compiles a step
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("from support.economy import economize\n\neconomize()"))
    client = nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3")
    client.execute(cwd=str(path.parent), env=environment())
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.execution_count is not None
    if path.stem == "quickstart":
        shown = [output for output in last.outputs if "image/png" in output.get("data", {})]
        assert len(shown) == 1
