"""The parity command: its arguments, and one task end to end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mjx_metaworld.cli import parity as command
from mjx_metaworld.cli.main import main
from mjx_metaworld.cli.parity import _HEADINGS, _LARGEST_HEADINGS, Parity, _print, run_parity
from mjx_metaworld.parity.report import Largest, Row, Sampling, Spread, largest_markdown, markdown
from mjx_metaworld.parity.scenes import BARS, Measured
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.suites import GOALS_SEED, resolve
from mjx_metaworld.tasks import task

_LARGEST = Largest(*[Spread(1e-7, 2e-5)] * 4)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_goals", 0),
        ("num_goals", 51),
        ("num_steps", 15),
        ("num_steps", 510),
        ("step_goals", 0),
        ("step_length", 1),
        ("processes", 0),
        ("processes", -2),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .*{value}"):
        Parity(**{argument: value})


def test_a_document_is_not_written_without_the_closed_loop_that_it_shows(tmp_path: Path):
    args = Parity("reach-v3", steps_only=True, document=tmp_path / "README.md")
    with pytest.raises(ValueError, match="shows the closed loop"):
        run_parity(args, Console(file=io.StringIO()))


def test_own_tasks_scenes_are_compared_with_mujoco(tmp_path: Path, monkeypatch, scratch_registry):
    asked = []

    def measure(scenes, **sampling):
        asked.append((scenes, sampling))
        return [Measured(BARS[0], 1e-7, 12), Measured(BARS[-1], 1.0, 34)]

    monkeypatch.setattr("mjx_metaworld.cli.parity.measure_scenes", measure)
    base = resolve("drawer-open-v3")[0]
    for name in ("half", "quarter"):
        task(name, like=base)(base.reward)
    out = io.StringIO()
    output = tmp_path / "parity.json"
    rows = run_parity(
        Parity("half,quarter", step_length=20, output=output, physics=("max_contacts=64",)), Console(file=out, width=80)
    )
    sampling = {"seed": GOALS_SEED, "steps": 20, "physics": PhysicsConfig(max_contacts=64)}
    assert asked == [((base.scene_spec,), sampling)]  # the scene that both share, once
    kinematics, step = rows
    assert (kinematics.stage, kinematics.count, kinematics.holds, step.holds) == ("kinematics", 12, True, False)
    assert "kinematics   │    1 of 12 │ 1.0e-07 │ 2e-06 │   yes" in out.getvalue()
    assert json.loads(output.read_text())["rows"][1]["error"] == 1.0


def test_what_was_left_out_is_null_in_json(tmp_path: Path, monkeypatch, capsys):
    e, unmeasured = 1e-7, Largest(*[Spread(float("inf"), 1.0)] * 4)
    row = Row("reach-v3", e, e, e, e, e, e, e, _LARGEST, unmeasured)
    monkeypatch.setattr(command, "make", lambda *_, **__: None)
    monkeypatch.setattr(command, "measure_steps", lambda *_: [row])
    output = tmp_path / "parity.json"
    with pytest.raises(SystemExit, match="0"):
        main(["parity", "--tasks", "reach-v3", "--steps-only", "--json", "--output", str(output)])

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    (told,) = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (told["success_here"], told["return_there"], told["reward"]) == (None, None, 1e-7)
    assert told["random_largest"]["here"] == {"median": None, "p99": 1.0}
    assert json.loads(output.read_text(), parse_constant=refuse)["rows"] == [told]


def test_tables_fit_a_terminal():
    e = 1e-7
    row = Row("button-press-topdown-wall-v3", e, e, e, e, e, e, e, _LARGEST, _LARGEST, 1.0, 1.0, 1234.0, 1234.0)
    shown, piped = io.StringIO(), io.StringIO()
    terminal = Console(file=shown, width=80, force_terminal=True, color_system=None)
    for table, headings in ((markdown, _HEADINGS), (largest_markdown, _LARGEST_HEADINGS)):
        text = table(Sampling(), [row])
        _print(terminal, text, headings)
        _print(Console(file=piped, width=80), text, headings)
        assert piped.getvalue().endswith(f"{text}\n\n")  # as it goes into a document
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in shown.getvalue()
    cells = [cell for line in lines if "button-press-topdown-wall-v3" in line for cell in line.split("│")[2:-1]]
    assert len(cells) == 14 + 8
    assert {cell.strip() for cell in cells} == {"1e-07", "2e-05", "100%", "1234", "1e-07, 2e-05"}


@pytest.mark.full
def test_an_own_task_end_to_end(tmp_path: Path, scratch_registry):
    base = resolve("drawer-open-v3")[0]
    task("half", like=base)(base.reward)
    args = Parity("half", step_length=20, output=tmp_path / "parity.json")
    rows = run_parity(args, Console(file=io.StringIO()))
    assert [row.stage for row in rows] == [bar.stage for bar in BARS]
    assert all(row.holds for row in rows)


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
