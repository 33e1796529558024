"""The command line: what it understands, what it prints where, exit codes, and every command end to end."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import runpy
import shlex
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import mjx_metaworld as mw
from mjx_metaworld.cli import demo, evaluate_checkpoint, evaluate_trials
from mjx_metaworld.cli import main as cli
from mjx_metaworld.cli import render as render_command
from mjx_metaworld.cli.cache import Cache, run_cache
from mjx_metaworld.cli.comparison import Comparison, compare, comparison_table
from mjx_metaworld.cli.demo import Demo, run_demo
from mjx_metaworld.cli.evaluate_checkpoint import CheckpointFigures
from mjx_metaworld.cli.evaluate_trials import TrialFigures
from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.cli.output import print_line
from mjx_metaworld.cli.run import build, load_policy, progress_bars
from mjx_metaworld.cli.tables import divided_tables
from mjx_metaworld.cli.tasks import Tasks, run_tasks
from mjx_metaworld.episodes import EpisodeRun, EpisodeStats
from mjx_metaworld.parity.record import EpisodeOutcome
from mjx_metaworld.rendering import images as pictures
from mjx_metaworld.rendering import opengl
from mjx_metaworld.suites import resolve
from mjx_metaworld.tasks import registered
from mjx_metaworld.tasks import task as declare_task
from mjx_metaworld.training.config import ALGORITHMS, PRESETS

pytestmark = pytest.mark.usefixtures("kinematic")


@pytest.mark.ci
def test_table_and_contact_sheet():
    env = mw.make("reach-v3")
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    stats = EpisodeStats(success=np.array([[True, False]]), episode_return=np.array([[10.0, 20.0]]))
    run = EpisodeRun(state, stats, kept=None, compile_seconds=0.0, run_seconds=0.0)
    outcomes = [[EpisodeOutcome(True, 30.0), EpisodeOutcome(True, 50.0)]]
    out = io.StringIO()
    rows = compare(["reach-v3"], stats, outcomes)
    Console(file=out, width=100).print(comparison_table("reach", rows))
    assert "mean of" not in out.getvalue()
    (row,) = (line for line in out.getvalue().splitlines() if "reach-v3 " in line and "│" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["reach-v3", "50%", "100%", "15", "40"]
    sheet = demo._contact_sheet(env, run)
    assert sheet.size == (1600, 320)
    assert np.asarray(sheet)[:, :320].std() > 20  # a picture, not a blank


def test_means_are_over_the_same_tasks_on_both_sides():
    rows = [Comparison(f"task-{i}", 1.0, 0.5, 10.0 * i, 20.0 * i) for i in range(2)]
    lacking = Comparison("own", 0.0, None, 500.0, None)
    for given, means in (
        (rows, [["mean of 2 tasks", "100.0%", "50.0%", "5", "10"]]),
        (
            [*rows, lacking],
            [
                ["mean of 3 tasks", "66.7%", "-", "170", "-"],
                ["mean of 2 tasks of metaworld's", "100.0%", "50.0%", "5", "10"],
            ],
        ),
        ([rows[0], lacking], [["mean of 2 tasks", "50.0%", "-", "250", "-"]]),
    ):
        out = io.StringIO()
        Console(file=out, width=80).print(comparison_table("three", given))
        shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines()]
        assert [cells for cells in shown if cells and cells[0].startswith("mean")] == means
        assert "that of returns mixes" in out.getvalue()
        assert ("nothing to compare" in out.getvalue()) == (lacking in given)


def test_tables_are_cut_off_nowhere():
    longest = "button-press-topdown-wall-v3"
    labels = [f"{longest} hidden=[400,400] [bold]", *(f"PPO {i}" for i in range(5))]
    headings = ["seeds", "thousand\nsteps", *labels]
    rows = [(label, "2", "60,000\nto 65,000", *["99.9% [100, 100]"] * len(labels)) for label in labels]
    trials = [TrialFigures("ML10-train", longest, 0.5, 0.5, 0.5, 1234.0)] * 2
    checkpoint = [CheckpointFigures(longest, 1.0, 1.0, 12345.0, 12345.0)] * 2
    for width in (80, 200):
        tables = list(divided_tables(width, "runs", headings, rows))
        tables += [evaluate_trials._table("trials", trials, True), evaluate_checkpoint._table("run", checkpoint, True)]
        out = io.StringIO()
        Console(file=out, width=width).print(*tables, sep="\n")
        assert max(map(len, out.getvalue().splitlines())) <= width
        assert "…" not in out.getvalue()
        words = out.getvalue().split()
        assert words.count("99.9%") == len(labels) ** 2
        assert all(word in words for word in ("[bold]", "60,000", "12345", longest))
    run_tasks(Tasks("button-press-topdown-wall-v3,reach-v3"), Console(file=(out := io.StringIO()), width=80))
    assert "…" not in out.getvalue()


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_demo_prints_its_table_and_writes_its_sheet(tmp_path):
    out = io.StringIO()
    sheet = tmp_path / "new" / "sheet.png"
    (row,) = run_demo(Demo("reach-v3", num_goals=2, num_steps=100, output=sheet), Console(file=out, width=100))
    assert (row.task, row.success_here, row.success_there) == ("reach-v3", 1.0, 1.0)
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


def run(*arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    code = end.value.code
    assert isinstance(code, int)
    return code


# --- help, errors, exit codes ---


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_examples_are_understood(command):
    summary = (getattr(importlib.import_module(command.module), command.arguments).__doc__ or "").split("\n")[0]
    assert summary.endswith(".")
    for example in command.examples:
        assert cli.parse(command, shlex.split(example)).command is not None


def test_help_lists_every_command(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"  {command.name} " in out and command.summary in out for command in cli.COMMANDS)
    assert run() == 2


def test_the_version_is_told(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"mjx-metaworld {mw.__version__}\n"


def test_help_of_train_names_presets_and_settings(capsys):
    assert run("train", "--help") == 0
    out = capsys.readouterr().out
    assert all(entry.name in out for entry in PRESETS)
    settings = [field.name for known in ALGORITHMS.values() for field in dataclasses.fields(known.config)]
    assert len(settings) > 20
    assert [name for name in settings if f"{name}=" not in out] == []


def test_help_of_a_command_has_arguments_and_examples(capsys):
    assert run("render", "--help") == 0
    out = capsys.readouterr().out
    assert "--camera" in out
    assert "--json" in out
    assert "mjx-metaworld render MT10 --output out/mt10.gif" in out


BAD = {
    "no-such-command": "'no-such-command'; available: demo, tasks",
    "tasks MT11": "did you mean MT10",
    "tasks --no-such-option": "--no-such-option",
    "rollout MT11": "did you mean MT10",
    "rollout reach-v3 --num-steps 0": "num_steps must be positive, got 0",
    "rollout MT10 --num-envs 3": "at least the number of tasks, 10, got 3",
    "rollout reach-v3 --policy wrong": "module:function",
    "rollout reach-v3 --physics pairs=1": "unknown setting 'pairs=1'; expected name=value with one of substeps",
    "bench reach-v3 --physics max_contacts=5": "PhysicsConfig.max_contacts must be a multiple of 4, got 5",
    "parity --physics box_pairs=many": "box_pairs must be an integer such as 12, got 'many'",
    "render out/some.npz --physics box_pairs=1": "physics is for what is simulated; out/some.npz holds states",
    "rollout reach-v3 --policy no_such_module:load": "No module named 'no_such_module'",
    "render reach-v3 --output out/film.avi": ".png, .html or .npz, got out/film.avi",
    "render reach-v3 --camera left": "'left'; available: topview",
    "render reach-v3 --size 0": "size must be an integer from 1 to 4096, got 0",
    "eval reach-v3 --num-goals 51": "1..50, got 51",
    "eval reach-v3 --policy random": "expert or module:function",
    "demo --output out/film.mp4": "output must end in .png, .jpg, .webp, got out/film.mp4",
    "render reach-v3 --output pyproject.toml/film.gif": "cannot be written",
    "parity --document missing.md": "there is no file missing.md",
    "parity --document pyproject.toml": "pyproject.toml needs one <!-- parity:begin -->",
    "parity --pictures --document README.md": "README.md needs one <!-- pictures:begin -->",
    "parity --output docs": "output docs is a folder",
    "parity --processes 0": "processes must be positive, got 0",
    "train --devices 1 --output README.md": "output README.md must be a folder, and README.md is a file",
    "train --devices 1 --output README.md/a/b": "output README.md/a/b must be a folder, and README.md is a file",
    "render out/train/no-such-run": "there is no folder out/train/no-such-run",
    "render docs/guides": "docs/guides holds no training run",
    "render docs/guide": "there is no folder docs/guide; in docs there are ",
    "eval docs/guide": "there is no folder docs/guide; in docs there are ",
    "compare docs/guide": "there is no folder docs/guide; in docs there are ",
    "render out/none.npz": "there is no file out/none.npz",
    "view MT11": "did you mean MT10",
    "view out/train/no-such-run": "there is no folder out/train/no-such-run",
    "view --lanes 0": "lanes must be in 1..64, got 0",
    "view --port 70000": "port must be in 0..65535, got 70000",
    "view --seconds nan": "seconds must be a number from 0 on, got nan",
    "view out/some.npz --port 0 --lanes 2": "out/some.npz has its own, got --lanes 2",
    "view out/some.npz --port 0 --policy random": "out/some.npz is a recording; --policy random is for tasks",
    "render out/some.npz --policy random": "out/some.npz is a recording; --policy random is for tasks",
    "eval MT10 --adaptation-episodes 1": "for checkpoints of policies with memory",
    "eval out/train/no-such-run": "there is no folder out/train/no-such-run",
    "export --tasks MT11": "'MT11'",
    "bench --num-envs 0": "positive integers, got (0,)",
    "bench --seconds x": "--seconds",
    "bench --seconds nan": "seconds must be a number from 0 on, got nan",
    "bench --seconds=-1": "seconds must be a number from 0 on, got -1.0",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_on_stderr(line, capsys):
    assert run(*shlex.split(line)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("mjx-metaworld: error: ")
    assert said.err.count("\n") == 1
    assert BAD[line] in said.err
    # Nothing of the box that tyro draws, whose lines are dashes where the output is not UTF-8.
    assert "──" not in said.err
    assert "---" not in said.err
    assert "helptext" not in said.err


def test_bad_input_is_one_line_in_any_encoding(monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stderr", plain)
    monkeypatch.setattr(sys, "argv", ["mjx-metaworld", "tasks", "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("mjx_metaworld", run_name="__main__")
    assert ended.value.code == 2
    said = "Unrecognized options: --no-such-option (see mjx-metaworld tasks --help)"
    assert plain.buffer.getvalue().decode("ascii") == f"mjx-metaworld: error: {said}\n"


def test_render_looks_for_its_libraries_before_it_simulates(monkeypatch, capsys):
    def unavailable(backend):
        return f"{backend}: no such library"

    def simulate(*_, **__):
        raise AssertionError("must not come to this")

    monkeypatch.setattr(opengl, "probe", unavailable)
    monkeypatch.setattr(render_command, "open_acting", simulate)
    assert run("render", "reach-v3", "--backend", "osmesa") == 1
    assert "libosmesa6" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "av", None)
    assert run("render", "reach-v3", "--backend", "raycast") == 1
    assert "[cli]" in capsys.readouterr().err


def test_what_fails_on_the_way_exits_with_1(capsys):
    assert run("tasks", "--document", "/no/such/file.md") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "/no/such/file.md" in said


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert run("tasks") == 1
    assert "[cli]" in capsys.readouterr().err


def test_json_goes_to_stdout_alone(capfd):
    assert run("tasks", "ML10-test", "--json") == 0
    said = capfd.readouterr()
    listed = json.loads(said.out)
    assert [entry["task"] for entry in listed] == [spec.name for spec in resolve("ML10-test")]
    assert "ML10-test" in listed[0]["suites"]
    assert "5 tasks" in said.err


# --- the commands ---


def zero(env):
    """A policy factory for `module:function`."""
    return lambda obs, task: np.zeros(env.action_size, np.float32)


def test_policies_by_name():
    env = mw.make("reach-v3")
    obs, key = np.zeros(39, np.float32), jax.random.key(0)
    assert np.asarray(load_policy(env, "random")(obs, np.int32(0), key)).std() > 0
    assert not np.any(load_policy(env, f"{__name__}:zero")(obs, np.int32(0), key))
    # The expert's own import path is one too, but for the clipping.
    named, imported = (load_policy(env, name)(obs, np.int32(0), key) for name in ("expert", "mjx_metaworld:expert"))
    np.testing.assert_array_equal(named, np.clip(imported, -1, 1))


def test_bars_are_shown_to_those_who_look_on():
    watched, unwatched = io.StringIO(), io.StringIO()
    for console in (Console(file=watched, force_terminal=True, width=80), Console(file=unwatched)):
        with progress_bars(console) as bars:
            assert build(bars, "reach-v3").tasks[0].name == "reach-v3"
            bars.add_task("loading o/a[run]")
    assert all(f"loading {what}" in watched.getvalue() for what in ("reach-v3", "o/a[run]"))
    assert unwatched.getvalue() == ""


def test_pictures_side_by_side():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 4, 6, 3), np.uint8)
    sheet = pictures.tiled(images)
    assert sheet.shape == (8, 18, 3)
    assert sheet[::4, ::6, 0].tolist() == [[0, 1, 2], [3, 4, 255]]  # the empty place is white
    assert pictures.tiled(images, columns=1).shape == (20, 6, 3)
    turned = pictures.upright(np.arange(12).reshape(1, 2, 2, 3), "corner2")
    np.testing.assert_array_equal(turned[0, 0, 0], [9, 10, 11])


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_videos_can_be_read_again(tmp_path, suffix):
    imageio = pytest.importorskip("imageio.v3")
    frames = [np.full((32, 49, 3), shade, np.uint8) for shade in (0, 120, 240)]
    path = tmp_path / "new" / f"film{suffix}"
    pictures.write_video(path, frames, rate=20)
    read = imageio.imread(
        path, index=None if suffix == ".gif" else ..., plugin="pillow" if suffix == ".gif" else "pyav"
    )
    assert read.shape == (3, 32, 48 if suffix == ".mp4" else 49, 3)
    # Flat frames survive both codecs but for the rounding of colour spaces.
    np.testing.assert_allclose(read.mean(axis=(1, 2, 3)), [0, 120, 240], atol=4)


@pytest.mark.ci
def test_rollout_eval_and_render_end_to_end(tmp_path, capsys):
    slots = ("--physics", "max_contacts=52")
    assert run("rollout", "reach-v3", "--num-envs", "8", "--num-steps", "100", *slots, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    # The reach expert solves every goal within 100 steps.
    assert (row["task"], row["episodes"], row["success"]) == ("reach-v3", 8, 1.0)
    assert row["episode_return"] > 500

    assert (
        run("eval", "reach-v3", "--num-goals", "2", "--num-steps", "60", "--policy", f"{__name__}:zero", "--json") == 0
    )
    (row,) = json.loads(capsys.readouterr().out)
    assert row["success_here"] == row["success_there"] == 0.0
    # Doing nothing, the hand stays where it was reset, but for the millimetres by which it hangs from the mocap body.
    assert abs(row["return_here"] - row["return_there"]) < 0.05 * row["return_there"]

    sheet = tmp_path / "a[sheet]" / "sheet.png"
    assert run("render", "reach-v3", "--output", str(sheet), "--size", "60", "--moments", "3", "--num-steps", "40") == 0
    assert Image.open(sheet).size == (180, 60)
    assert f"{sheet}: 3 pictures. reach-v3 " in capsys.readouterr().out
    film = tmp_path / "film.gif"
    assert run("render", "reach-v3", "--output", str(film), "--size", "60", "--num-steps", "16", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pictures"] == 5
    assert 1 < Image.open(film).n_frames <= 5  # equal pictures become one, and here the arm stands still


@pytest.mark.ci
def test_bench_measures(capsys):
    assert run("bench", "reach-v3", "--num-envs", "16", "--devices", "1", "--seconds", "0.1", "--json") == 0
    (figures,) = json.loads(capsys.readouterr().out)
    assert figures["num_envs"] == 16
    assert figures["env_steps_per_second"] > 10
    assert figures["versions"]["mujoco"] == "3.3.0"


def test_a_tasks_bounds_are_told(capsys):
    spec = resolve("drawer-open-v3")[0]
    assert run("tasks", spec.name, "--json") == 0
    said = capsys.readouterr()
    (entry,) = json.loads(said.out)
    for bound in ("rand_low", "rand_high", "goal_low", "goal_high", "hand_low", "hand_high"):
        assert entry[bound] == list(getattr(spec, bound))
    assert "hand within (-0.5, 0.4, 0.05) and (0.5, 1, 0.5)" in said.err
    assert run("tasks", "ML10-test", "--json") == 0
    assert "hand within" not in capsys.readouterr().err


def test_brackets_in_an_own_tasks_description_are_shown(scratch_registry):
    @declare_task("mine", like="reach-v3")
    def reach(s):
        """Reach [slowly] [/x]."""

    run_tasks(Tasks("mine"), Console(file=(out := io.StringIO()), width=200))
    assert "Reach [slowly] [/x]" in out.getvalue()


def test_lines_are_printed_as_they_are(tmp_path, monkeypatch):
    line = "kept in o/a[ppo]b/[/x] and so on, which is wider than the console"
    print_line(Console(file=(out := io.StringIO()), width=20), line)
    assert out.getvalue() == f"{line}\n"
    monkeypatch.setenv("MJX_METAWORLD_CACHE", str(tmp_path / "a[cache]"))
    kept = run_cache(Cache(), Console(file=(out := io.StringIO()), width=20))
    assert kept.folder is not None
    assert out.getvalue().startswith(f"{kept.folder}: 0 files, 0.0 MB of at most ")
    run_cache(Cache(clear=True), Console(file=(out := io.StringIO()), width=20))
    assert out.getvalue() == f"Removed 0 files from {kept.folder}.\n"


# --- documents ---


def test_tasks_are_listed_in_a_document(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- tasks:begin -->\nold\n<!-- tasks:end -->\nafter\n")
    run_tasks(Tasks(document=document), Console())
    lines = document.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- tasks:begin -->"]
    assert lines[-2:] == ["<!-- tasks:end -->", "after"]
    assert len(lines) == 6 + len(registered())
    assert not any("old" in line for line in lines[:2])


@pytest.mark.parametrize("text", ["", "<!-- a:begin -->", "<!-- a:end --><!-- a:begin -->"])
def test_missing_markers_are_named(tmp_path, text):
    document = tmp_path / "README.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="a:begin"):
        rewrite_section(document, "a", "new")
    assert document.read_text() == text
