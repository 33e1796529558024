"""`mjx-metaworld eval`: what is refused before anything is evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from support.run_folders import write_run

from mjx_metaworld.cli import evaluate, evaluate_checkpoint
from mjx_metaworld.cli.evaluate import Eval, run_eval
from mjx_metaworld.suites import resolve
from mjx_metaworld.training import CheckpointError, CloneConfig, PPOConfig, RL2Config, TrainConfig


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"policy": "no_such_module:load"}, "got policy no_such_module:load"),
        ({"policy": "expert"}, "got policy expert"),
        ({"policy": "expert", "one_hot": True}, "got policy expert, one_hot True"),
    ],
)
def test_a_run_takes_nothing_that_is_for_tasks(tmp_path, monkeypatch, bad, told):
    monkeypatch.setattr(evaluate_checkpoint, "evaluate_checkpoint", lambda *args, **kwargs: [])
    folder = write_run(tmp_path / "run", {"x": [0.1]})
    assert run_eval(Eval(str(folder)), Console(quiet=True)) == []
    with pytest.raises(ValueError, match=f"are for tasks; .*run has a policy of its own, {told}"):
        run_eval(Eval(str(folder), **bad), Console(quiet=True))


def test_tasks_are_meant_where_a_folder_of_their_name_holds_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MT10", "reach-v3,push-v3", "plain"):
        (tmp_path / name).mkdir()
    asked = []
    monkeypatch.setattr(evaluate, "_compare", lambda args, *_: asked.append(args.tasks))
    run_eval(Eval("MT10"), Console(quiet=True))
    run_eval(Eval("reach-v3,push-v3"), Console(quiet=True))
    assert asked == ["MT10", "reach-v3,push-v3"]
    with pytest.raises(CheckpointError, match=r"plain holds no training run \(run.json is missing\)"):
        run_eval(Eval("plain"), Console(quiet=True))
    monkeypatch.setattr(evaluate_checkpoint, "evaluate_checkpoint", lambda folder, *_, **__: [folder])
    write_run(tmp_path / "MT10", {"x": [0.1]})
    assert run_eval(Eval("MT10"), Console(quiet=True)) == [Path("MT10")]


def test_a_list_of_tasks_may_be_longer_than_the_name_of_a_file():
    tasks = ",".join(spec.name for spec in resolve("MT25"))
    assert len(tasks) > 255
    with pytest.raises(ValueError, match="renderer is for checkpoints"):
        run_eval(Eval(tasks, renderer="opengl"), Console(quiet=True))


def test_processes_are_for_what_can_act_in_them(tmp_path):
    assert Eval("reach-v3", policy="expert", processes=1).processes == 1
    with pytest.raises(ValueError, match="policy mine:make acts in this process"):
        Eval("reach-v3", policy="mine:make", processes=1)
    for algorithm, reference, told in (
        (PPOConfig(), False, "give --reference, too, or leave out processes 3"),
        (CloneConfig(), True, "processes is of policies that act on observations, got 3; that of .*CloneConfig sees"),
        (RL2Config(), False, "give --reference, too, or leave out processes 3"),
    ):
        folder = tmp_path / type(algorithm).__name__
        write_run(folder, {"reach-v3": [0.1]}, config=TrainConfig("reach-v3", algorithm))
        with pytest.raises(ValueError, match=told):
            run_eval(Eval(str(folder), reference=reference, processes=3), Console(quiet=True))
