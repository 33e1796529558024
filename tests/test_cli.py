"""The command line: the demo end to end on one task, the documents that commands write."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import mjx_metaworld as mw
from mjx_metaworld import cli, demo
from mjx_metaworld.demo import Demo, run_demo
from mjx_metaworld.document import rewrite_section
from mjx_metaworld.reference import EpisodeOutcome
from mjx_metaworld.tasks import TASKS


def test_table_and_contact_sheet():
    env = mw.make("reach-v3")
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    run: Any = SimpleNamespace(state=state, success=np.array([[True, False]]), episode_return=np.array([[10.0, 20.0]]))
    outcomes = [[EpisodeOutcome(True, 30.0), EpisodeOutcome(True, 50.0)]]
    out = io.StringIO()
    Console(file=out, width=100).print(demo._table(Demo("reach-v3", num_goals=2), ["reach-v3"], run, outcomes))
    (row,) = (line for line in out.getvalue().splitlines() if "reach-v3 " in line and "│" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["reach-v3", "50%", "100%", "15", "40"]
    sheet = demo._contact_sheet(env, run)
    assert sheet.size == (1600, 320)
    assert np.asarray(sheet)[:, :320].std() > 20  # a picture, not a blank


@pytest.mark.full
def test_demo_prints_its_table_and_writes_its_sheet(tmp_path):
    out = io.StringIO()
    sheet = tmp_path / "new" / "sheet.png"
    run_demo(Demo("reach-v3", num_goals=2, num_steps=100, output=sheet), Console(file=out, width=100))
    table = out.getvalue()
    # The reach expert solves every goal within 100 steps, on both sides.
    assert table.count("100%") >= 2
    assert "reach-v3" in table
    assert "env steps/s" in table
    assert Image.open(sheet).size == (1600, 320)


@pytest.mark.parametrize("bad", [{"num_goals": 0}, {"num_goals": 51}, {"num_steps": 15}, {"num_steps": 0}])
def test_demo_refuses_what_it_cannot_run(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Demo(**bad)


def test_unknown_suite_ends_the_command_with_a_hint(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mjx-metaworld", "demo", "--suite", "MT11"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "MT10" in capsys.readouterr().out


def test_tasks_are_listed_in_a_document(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- tasks:begin -->\nold\n<!-- tasks:end -->\nafter\n")
    cli.run_tasks(cli.Tasks(document), Console())
    lines = document.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- tasks:begin -->"]
    assert lines[-2:] == ["<!-- tasks:end -->", "after"]
    assert len(lines) == 6 + len(TASKS)
    assert not any("old" in line for line in lines[:2])


@pytest.mark.parametrize("text", ["", "<!-- a:begin -->", "<!-- a:end --><!-- a:begin -->"])
def test_missing_markers_are_named(tmp_path, text):
    document = tmp_path / "README.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="a:begin"):
        rewrite_section(document, "a", "new")
    assert document.read_text() == text
