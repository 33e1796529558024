"""The parity command: its table, its arguments, and one task end to end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mjx_metaworld.parity.report import Parity, Row, markdown, run_parity


def test_table_has_a_line_a_task_and_the_means():
    rows = [
        Row("reach-v3", 1e-9, 2e-7, 1e-7, 3e-5, 1e-6, 1e-7, 4e-5, 1.0, 0.9, 1800.0, 1700.0),
        Row("push-v3", 1e-9, 2e-7, 1e-7, 3e-5, 1e-6, 1e-7, 4e-5, 0.5, 0.7, 1000.0, 1100.0),
    ]
    table = markdown(Parity("MT10"), rows).splitlines()
    assert len({line.count("|") for line in table[:5]}) == 1  # head, rule, two tasks, means: equally many cells
    assert "| reach-v3 | 1e-09 | 2e-07 | 1e-07 | 3e-05 | 1e-07 | 4e-05 | 100% | 90% | 1800 | 1700 |" in table
    assert "75.0% | 80.0% | 1400 | 1400" in table[4]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_goals", 0), ("num_goals", 51), ("num_steps", 15), ("num_steps", 510), ("step_goals", 0), ("step_length", 1)],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .*{value}"):
        Parity(**{argument: value})


@pytest.mark.full
def test_one_task_end_to_end(tmp_path: Path):
    document = tmp_path / "README.md"
    document.write_text("<!-- parity:begin -->\n<!-- parity:end -->\n")
    args = Parity("reach-v3", num_goals=2, num_steps=100, step_goals=1, step_length=20, processes=1)
    args = Parity(**{**vars(args), "document": document, "output": tmp_path / "parity.json"})
    (row,) = run_parity(args, Console(file=io.StringIO()))
    assert row.reward < 1e-5
    assert row.reset < 1e-5
    assert row.expert_median < 1e-5
    assert row.success_here == row.success_there == 1.0
    assert "| reach-v3 |" in document.read_text()
    assert json.loads((tmp_path / "parity.json").read_text())["rows"][0]["task"] == "reach-v3"
