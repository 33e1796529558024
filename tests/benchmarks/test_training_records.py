"""Training runs on record: from a folder to the page, and the command that a folder's run came from."""

from __future__ import annotations

import dataclasses
import json
import shlex

import jax
import pytest
from support.run_folders import write_run

from benchmarks import training_report, training_results
from benchmarks.training_report import DOCUMENTS, draw_curves, write_sections
from benchmarks.training_results import add_result, arguments_of, evaluate_run, load_results
from mjx_metaworld.cli import main as cli
from mjx_metaworld.cli.train import Train, command_of, configuration
from mjx_metaworld.training.run_folder import Run, RunTasks, key_words

ARGUMENTS = [
    Train("reach-v3"),
    Train("push-v3", algo="fastsac", seed=3, env_steps=5_000_000, stop_at_success=0.9),
    Train("MT10", preset="MT10-gpu", seed=2**32 - 1, set=("num_envs=20", "hidden=[16]")),
    Train("reach-v3,push-v3", algo="sac", eval_goals=3, set=("gamma=0.9",)),
    Train("reach-v3", randomise=("friction=0.5,1.5",)),
]


@pytest.mark.parametrize("args", ARGUMENTS)
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_the_command_of_a_run_makes_it_again(args, impl):
    run = Run(configuration(args), key_words(jax.random.key(args.seed, impl=impl)), impl, RunTasks())
    found = arguments_of(run)
    assert (configuration(found), found.seed) == (run.config, args.seed)
    command = next(command for command in cli.COMMANDS if command.name == "train")
    assert cli.parse(command, shlex.split(command_of(found))[2:]).command == found
    assert len(command_of(found)) <= len(command_of(args))


def answers(here: float, there: float):
    """What `eval` prints of two tasks."""
    returns = {"return_here": 1.0, "return_there": 2.0}
    more = {"reach-v3": 0.1, "push-v3": 0.0}
    rows = [{"task": t, "success_here": here + m, "success_there": there + m, **returns} for t, m in more.items()]
    return lambda *arguments: json.dumps(rows)


def test_a_folder_comes_on_record_and_into_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(training_results, "FILE", tmp_path / "training.json")
    monkeypatch.setattr(training_report, "CURVES", tmp_path / "results")
    monkeypatch.setattr(training_results, "call_cli", answers(0.5, 0.4))
    run = write_run(tmp_path / "run", {"reach-v3": [0.2, 0.6], "push-v3": [0.1, 0.5]}, seed=3)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "start", "env_steps": 0, "seconds": 0.0}\n' * 2)
    result = evaluate_run(run)
    assert result.command == "mjx-metaworld train MT10 --seed 3"
    assert (result.env_steps, result.seconds, result.parts, result.seed) == (200, 120.0, 2, 3)
    assert (result.success_here, result.success_there) == (pytest.approx(0.55), pytest.approx(0.45))
    assert evaluate_run(run, seconds=130.04).seconds == 130.0
    results = add_result([], dataclasses.replace(result, success_here=0.0))
    results = add_result(results, result)  # in place of the one before
    results = add_result(results, dataclasses.replace(result, seed=4, command=result.command.replace("3", "4")))
    assert [json.dumps(dataclasses.asdict(r)) for r in load_results()] == [
        json.dumps(dataclasses.asdict(r)) for r in results
    ]
    assert len(results) == 2
    draw_curves(results)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["MT10-ppo.png"]
    page = tmp_path / "page.md"
    sections = ("overview", "runs", "published")
    page.write_text("".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in sections))
    write_sections(page, results)
    text = page.read_text()
    assert "| [MT10](#mt10) | ppo | 1 cpu (x86_64, 2 cores) | 2 | 0 k | 2.0 | 55.0% (55) | 45.0% (45) |" in text
    assert "| ppo | 3 | 1 cpu (x86_64, 2 cores) | 200 | 2 | 2.0 | 55.0% | 45.0% | 1 | 2 |" in text
    assert "| reach-v3 | 60% | 50% |" in text
    assert "(results/MT10-ppo.png)" in text
    assert "arxiv.org/abs/2505.23150" in text


def test_a_run_in_trials_is_recorded_with_the_tasks_it_never_met(tmp_path, monkeypatch):
    monkeypatch.setattr(training_results, "FILE", tmp_path / "training.json")
    suites = {"reach-v3": "MT10", "push-v3": "MT10", "door-close-v3": "held out"}
    rows = [
        {"tasks": tasks, "task": task, "first_here": 0.1, "success_here": s, "success_there": s / 2, "return_here": 1.0}
        for s, (task, tasks) in zip((1.0, 0.5, 0.25), suites.items(), strict=True)
    ]
    monkeypatch.setattr(training_results, "call_cli", lambda *arguments: json.dumps(rows))
    result = evaluate_run(write_run(tmp_path / "run", {"reach-v3": [0.2], "push-v3": [0.1]}))
    assert (result.success_here, result.success_there, result.return_there) == (0.75, 0.375, None)
    assert [row.task for row in result.held_out] == ["door-close-v3"]
    add_result([], result)
    assert load_results()[0].held_out == result.held_out
    overview, chapter = training_report.overview([result]), training_report.runs_by_task([result])
    assert "| its held-out tasks, held out | ppo | 1 cpu (x86_64, 2 cores) | 1 | 0 k | 1.0 | 25.0%" in overview
    assert "| held out | door-close-v3 | 10% | 25% | 12% |" in chapter
    assert "| MT10 | reach-v3 | 10% | 100% | 50% |" in chapter


def test_a_run_without_evaluations_is_refused(tmp_path):
    with pytest.raises(ValueError, match="run has no evaluation yet"):
        evaluate_run(write_run(tmp_path / "run", {"reach-v3": []}))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_up_to_date(document, tmp_path):
    """If not: `python -m benchmarks.training`."""
    copy = tmp_path / document.name
    copy.write_text(document.read_text())
    write_sections(copy, load_results())
    assert copy.read_text() == document.read_text()
