"""The parity command: its arguments, and one task end to end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mjx_metaworld.cli.parity import Parity, run_parity


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_goals", 0), ("num_goals", 51), ("num_steps", 15), ("num_steps", 510), ("step_goals", 0), ("step_length", 1)],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .*{value}"):
        Parity(**{argument: value})


def test_a_document_is_not_written_without_the_closed_loop_that_it_shows(tmp_path: Path):
    args = Parity("reach-v3", steps_only=True, document=tmp_path / "README.md")
    with pytest.raises(ValueError, match="shows the closed loop"):
        run_parity(args, Console(file=io.StringIO()))


@pytest.mark.full
def test_one_task_end_to_end(tmp_path: Path):
    document = tmp_path / "README.md"
    document.write_text("<!-- parity:begin -->\n<!-- parity:end -->\n")
    guide = tmp_path / "parity.md"
    guide.write_text("<!-- parity-largest:begin -->\n<!-- parity-largest:end -->\n")
    args = Parity("reach-v3", num_goals=2, num_steps=100, step_goals=1, step_length=20, processes=1)
    args = Parity(**{**vars(args), "document": document, "guide": guide, "output": tmp_path / "parity.json"})
    (row,) = run_parity(args, Console(file=io.StringIO()))
    assert row.reward < 1e-5
    assert row.reset < 1e-5
    assert row.expert_median < 1e-5
    assert row.success_here == row.success_there == 1.0
    assert "| reach-v3 |" in document.read_text()
    assert "| reach-v3 |" in guide.read_text()
    assert json.loads((tmp_path / "parity.json").read_text())["rows"][0]["expert_largest"]["rounded"]["median"] < 1e-6
