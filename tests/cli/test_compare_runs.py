"""`mjx-metaworld compare` end to end, on folders of runs that were never made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.run_folders import write_run

from mjx_metaworld.cli.main import main
from mjx_metaworld.training import SACConfig, TrainConfig


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["compare", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def runs(tmp_path) -> Path:
    """Two seeds of PPO and one of SAC, which is twice as good and takes twice as long."""
    for seed in range(2):
        write_run(tmp_path / f"ppo-{seed}", {"x": [0.1, 0.2, 0.3], "y": [0.2, 0.3, 0.4 + 0.2 * seed]}, seed=seed)
    write_run(
        tmp_path / "sac-0", {"y": [0.4, 0.6], "x": [0.2, 0.4]}, config=TrainConfig("MT10", SACConfig()), seconds=120
    )
    return tmp_path


def test_runs_are_compared_where_all_have_come(runs, capsys):
    plot = runs / "new[plots]" / "plot.png"
    assert run(runs / "*-[01]", runs / "ppo-0", "--output", plot, "--by-task", "--json") == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["env_steps"], result["seconds"], result["plot"]) == (200, 180, str(plot))
    ppo, sac = result["groups"]
    assert [Path(folder).name for folder in ppo["runs"]] == ["ppo-0", "ppo-1"]  # given twice, counted once
    assert (ppo["label"], sac["label"]) == ("ppo", "sac")
    assert ppo["mean"]["value"] == pytest.approx(0.4)
    assert [ppo["mean"][end] for end in ("low", "high")] == pytest.approx([0.35, 0.45])
    assert ppo["after_env_steps"]["value"] == pytest.approx(0.25)
    assert sac["after_env_steps"] == {"value": pytest.approx(0.5), "low": None, "high": None}
    assert sac["after_seconds"]["value"] == pytest.approx(0.4)  # half way from 0.3 to 0.5
    assert {row["task"]: row["success"]["value"] for row in sac["tasks"]} == pytest.approx({"x": 0.4, "y": 0.6})
    assert [point["place"] for point in ppo["over_seconds"]] == [60, 120, 180]
    assert all(text in said.err for text in ("40.0%", "[35, 45]", "by task", f"{plot}: curves of 3 runs.\n"))
    assert np.asarray(Image.open(plot).convert("L")).std() > 5  # not blank
    assert [path.name for path in plot.parent.iterdir()] == ["plot.png"]


def test_labels_and_places_can_be_chosen(runs, capsys):
    output = ("--output", runs / "plot.svg")
    assert run(runs / "ppo-0", runs / "sac-0", *output, "--labels", "ours", "theirs", "--minutes", 1, "--json") == 0
    ours, theirs = json.loads(capsys.readouterr().out)["groups"]
    assert (ours["label"], theirs["label"]) == ("ours", "theirs")
    assert ours["after_seconds"]["value"] == pytest.approx(0.15)
    assert theirs["after_seconds"] is None  # its first evaluation came later
    assert (runs / "plot.svg").read_text().startswith("<?xml")


def test_runs_without_a_common_range_are_named(tmp_path, capsys, recwarn):
    write_run(tmp_path / "short", {"x": [0.1], "y": [0.2]})
    write_run(tmp_path / "late", {"x": [0.9], "y": [0.9]}, seed=1, every=500)
    plot = tmp_path / "plot.png"
    assert run(tmp_path / "short", tmp_path / "late", "--output", plot, "--by-task", "--json") == 0
    said = capsys.readouterr()
    (group,) = json.loads(said.out)["groups"]
    assert (group["mean"], group["after_env_steps"], group["over_env_steps"]) == (None, None, [])
    assert (group["env_steps"], group["seconds"]) == ([100, 500], [60, 60])
    assert [row["success"] for row in group["tasks"]] == [None, None]
    assert group["after_seconds"]["value"] == pytest.approx(0.525)
    (reason,) = group["gaps"]
    assert "short was last evaluated after 100 and" in reason
    assert "late first after 500." in reason
    assert f"{reason}\n" in said.err
    assert not recwarn.list
    assert np.asarray(Image.open(plot).convert("L")).std() > 5


def test_what_matches_a_pattern_and_is_no_run_is_left_out_with_a_warning(runs, capsys):
    begun = write_run(runs / "begun", {"x": []})
    (runs / "notes.txt").write_text("stray")
    output = ("--output", runs.with_name(f"{runs.name}-plot") / "plot.png", "--json")
    with pytest.warns(UserWarning, match="left out") as warned:
        assert run(runs / "*", *output) == 0
    assert sum(len(group["runs"]) for group in json.loads(capsys.readouterr().out)["groups"]) == 3
    told = [str(warning.message) for warning in warned]
    assert len(told) == 2
    assert any("begun has no evaluation yet" in text for text in told)
    assert any("notes.txt is a file, not the folder of a run" in text for text in told)
    for named in (begun, runs / "notes.txt"):
        assert run(runs / "ppo-*", named, *output) == 2
        assert "in quotes" not in capsys.readouterr().err
        assert run(*runs.glob("ppo-*"), named, *output) == 2, "as a shell resolves a pattern"
        assert "a pattern in quotes" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="begun has no evaluation yet"):
        assert run(runs / "beg*", *output) == 2
    assert "no run with an evaluation matches" in capsys.readouterr().err


def test_bad_input_is_one_line_and_nothing_is_drawn(runs, capsys):
    other = write_run(runs / "other", {"z": [0.1]})
    output = ("--output", runs / "plot.png")
    for arguments, message in (
        ((), "name at least one folder"),
        ((runs / "none-*",), "no folder matches"),
        ((runs / "nowhere",), "there is no folder"),
        ((runs,), "holds no training run"),
        ((runs / "ppo-0", other), "compare runs of the same tasks"),
        ((runs / "ppo-0", "--labels", "a", "b"), "labels must be 1"),
        ((runs / "ppo-0", "--minutes", "0"), "minutes must be positive and finite, got 0"),
        ((runs / "ppo-0", "--minutes", "inf"), "minutes must be positive and finite, got inf"),
        ((runs / "ppo-0", "--minutes", "nan"), "minutes must be positive and finite, got nan"),
        ((runs / "ppo-0", "--env-steps", "0"), "env_steps must be positive, got 0"),
        ((runs / "ppo-0", "--output", "plot.doc"), "output must end in .png, .svg, .pdf, got plot.doc"),
    ):
        assert run(*arguments, *(() if "--output" in arguments else output)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert message in said
    assert not (runs / "plot.png").exists()
