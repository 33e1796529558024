"""Tasks of one's own on the command line: --import and entry points."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mjx_metaworld.cli import imports
from mjx_metaworld.cli import main as cli
from mjx_metaworld.cli.train import suggestion

pytestmark = pytest.mark.usefixtures("scratch_registry")

TASK = """
from mjx_metaworld.tasks import drawer, task


@task("{name}", like="drawer-open-v3", suites=("mine",))
def opened(s):
    \"\"\"Open it.\"\"\"
    return drawer.drawer_open(s)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder to be in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


def declare(path: Path, name: str) -> None:
    path.write_text(TASK.format(name=name))


def listed(capsys, *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["tasks", *arguments, "--json"])
    assert end.value.code == 0
    return [entry["task"] for entry in json.loads(capsys.readouterr().out)]


def complaint(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    assert end.value.code == cli.BAD_INPUT
    err = capsys.readouterr().err
    assert err.startswith("mjx-metaworld: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("mjx-metaworld: error: ").rstrip()


def test_files_and_modules_are_imported(elsewhere, capsys):
    (elsewhere / "sub").mkdir()
    declare(elsewhere / "first_tasks.py", "first")
    declare(elsewhere / "second_tasks.py", "second")
    (elsewhere / "sub" / "beside.py").write_text("NAME = 'third'")
    (elsewhere / "sub" / "third_tasks.py").write_text(
        TASK.format(name="{}").replace('"{}"', "NAME").replace("\nfrom", "\nfrom beside import NAME\nfrom", 1)
    )
    given = ("--import", "first_tasks.py", "--import=second_tasks", "--import", "sub/third_tasks.py")
    assert listed(capsys, "mine", *given) == ["first", "second", "third"]
    assert listed(capsys, *given)[-3:] == ["first", "second", "third"]  # read once, whatever how often asked for


def test_what_cannot_be_imported_is_one_line(elsewhere, capsys):
    (elsewhere / "fails.py").write_text("import jax\n\n1 / 0\n")
    (elsewhere / "leaves.py").write_text("raise SystemExit(3)")
    (elsewhere / "json.py").write_text("")
    declare(elsewhere / "again.py", "reach-v3")
    for name, reason in (
        ("nowhere.py", "--import nowhere.py: there is no such file"),
        ("no_such_module", "--import no_such_module: No module named 'no_such_module'"),
        ("fails.py", f"--import fails.py: ZeroDivisionError: division by zero ({elsewhere / 'fails.py'}, line 3)"),
        ("json.py", "--import json.py: another module is called json; rename the file"),
    ):
        assert complaint(capsys, "rollout", "first", "--import", name) == reason
    assert complaint(capsys, "tasks", "--import", "leaves.py").startswith("--import leaves.py: SystemExit: 3")
    assert "task 'reach-v3' is declared twice" in complaint(capsys, "tasks", "--import", "again.py")
    assert "again" not in sys.modules
    assert "Missing value for argument '--import'" in complaint(capsys, "tasks", "--import")


def test_a_file_that_declares_nothing_is_pointed_out(elsewhere, capsys):
    (elsewhere / "plain.py").write_text("X = 1")
    (elsewhere / "suite.py").write_text(
        "from mjx_metaworld.suites import register_suite\nregister_suite('two', 'MT10')"
    )
    declare(elsewhere / "first_tasks.py", "first")
    arguments = ["tasks", "reach-v3", "--import", "plain.py", "--import", "suite.py", "--import", "first_tasks.py"]
    with pytest.raises(SystemExit):
        cli.main(arguments)
    warning = "mjx-metaworld: warning: --import plain.py declares no task and no suite\n"
    assert capsys.readouterr().err == warning
    assert imports.given_flags() == " --import plain.py --import suite.py --import first_tasks.py"


def test_a_task_without_an_expert_points_to_other_policies(elsewhere, capsys):
    (elsewhere / "lazy.py").write_text(TASK.format(name="lazy").replace("suites=", "expert=None, suites="))
    expected = "no scripted policy for lazy; .*--policy random"
    assert re.search(expected, complaint(capsys, "rollout", "lazy", "--num-envs", "1", "--import", "lazy.py"))


def test_the_evaluation_that_training_suggests(elsewhere, capsys):
    declare(elsewhere / "first_tasks.py", "first")
    listed(capsys, "--import", "first_tasks.py")
    assert suggestion("first", Path("out")) == "Evaluate: mjx-metaworld eval out --import first_tasks.py"
    drawn = suggestion("first", Path("out"), ("friction=0.5,2", "terms:sticky", "terms:heavy"))
    assert drawn == "Evaluate: mjx-metaworld eval out --import first_tasks.py --import terms"
    assert "mjx-metaworld eval out --reference --import" in suggestion("reach-v3", Path("out"))


def test_installed_packages_offer_tasks_by_entry_points(elsewhere, capsys, monkeypatch):
    declare(elsewhere / "plugin_tasks.py", "plugged")
    monkeypatch.syspath_prepend(str(elsewhere))
    offered = [EntryPoint("plugin", "plugin_tasks", imports.GROUP)]
    monkeypatch.setattr(imports, "entry_points", lambda group: offered if group == imports.GROUP else [])
    assert listed(capsys, "plugged") == ["plugged"]
    offered.append(EntryPoint("gone", "gone_tasks", imports.GROUP))
    expected = "entry point gone of mjx_metaworld.tasks, gone_tasks: No module named 'gone_tasks'"
    assert complaint(capsys, "tasks") == expected


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_every_command_takes_it_and_its_help_runs_nothing(command, capsys):
    assert cli.parse(command, ["--import", "a.py", "--import", "b"]).imports == ("a.py", "b")
    with pytest.raises(SystemExit) as end:
        cli.main([command.name, "--import", "nowhere.py", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "--import FILE.py|MODULE" in out
    assert "command." not in out  # tyro's own name of a positional argument, where nothing says what it is


def test_commands_beside_metaworld_tell_what_there_is_instead(elsewhere, capsys):
    declare(elsewhere / "first_tasks.py", "first")
    for purpose, command in (("eval --reference", "eval first --reference"), ("demo", "demo --suite reach-v3,first")):
        refused = complaint(capsys, *command.split(), "--import", "first_tasks.py")
        assert refused.startswith(
            f"{purpose} compares with metaworld, which has no first. `mjx-metaworld eval` without"
        )
        assert "`mjx-metaworld parity --tasks first` compares the physics of their scenes" in refused
    for more, expected in (
        ("reach-v3,first", "metaworld has no first, whose scenes are compared with MuJoCo C: name such tasks apart"),
        ("first --pictures", "--pictures, --document and --guide are for metaworld's tasks; it has no first"),
    ):
        assert complaint(capsys, "parity", "--import", "first_tasks.py", "--tasks", *more.split()) == expected
