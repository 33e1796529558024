"""Figures beside the run's own lines: what a sink gets, and Weights & Biases behind a module that stands for it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from mjx_metaworld.training import PPOConfig, TrainConfig, weights_and_biases
from mjx_metaworld.training.checkpoint import Progress
from mjx_metaworld.training.logging import Recorder
from mjx_metaworld.training.sinks import Sink, TensorBoard, WeightsAndBiases

CONFIG = TrainConfig("reach-v3", PPOConfig())


class Service:
    """What of wandb is used: it refuses steps that go back, and goes on with a run that it knows."""

    def __init__(self) -> None:
        self.runs = {}
        self.asked = []

    def init(self, **asked):
        self.asked.append(asked)
        return self.runs.setdefault((asked["project"], asked["id"]), Run())

    def Settings(self, **settings):
        return SimpleNamespace(**settings)


class Run:
    def __init__(self) -> None:
        self.step, self.logged, self.finished = 0, {}, 0

    def log(self, figures, step):
        assert step >= self.step
        self.step = step
        self.logged.setdefault(step, {}).update(figures)

    def finish(self):
        self.finished += 1


@pytest.fixture
def service(monkeypatch) -> Service:
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    return service


def test_a_run_is_sent_and_gone_on_with(service, tmp_path):
    sink = weights_and_biases("meta")(tmp_path, CONFIG)
    assert isinstance(sink, Sink)
    asked = service.asked[0]
    assert (asked["project"], asked["name"], asked["dir"], asked["resume"]) == (
        "meta",
        tmp_path.name,
        str(tmp_path),
        "allow",
    )
    assert asked["config"]["algorithm"]["name"] == "ppo"
    sink.write("iteration", Progress(1, 100, 2.0), {"loss": 0.5})
    sink.write("evaluation", Progress(1, 100, 2.5), {"success": 1.0})
    sink.write("iteration", Progress(2, 200, 4.0), {"loss": 0.4})
    sink.close()
    # A kill took the run back to the step before; what is there already is not sent again.
    again = weights_and_biases("meta")(tmp_path, CONFIG)
    again.write("iteration", Progress(1, 100, 9.0), {"loss": 0.5})
    again.write("iteration", Progress(3, 300, 6.0), {"loss": 0.3})
    (run,) = service.runs.values()
    assert run.logged == {
        100: {"seconds": 2.5, "iteration/loss": 0.5, "evaluation/success": 1.0},
        200: {"seconds": 4.0, "iteration/loss": 0.4},
        300: {"seconds": 6.0, "iteration/loss": 0.3},
    }
    assert run.finished == 1
    weights_and_biases("other")(tmp_path, CONFIG)
    assert len(service.runs) == 2
    assert json.loads((tmp_path / "wandb.json").read_text())["project"] == "other"


def test_the_recorder_writes_to_every_sink(tmp_path):
    class Noted:
        def __init__(self):
            self.figures = []

        def write(self, kind, progress, figures):
            self.figures.append((kind, progress.env_steps, dict(figures)))

        def close(self):
            raise AssertionError("whoever made it closes it")

    sink = Noted()
    with Recorder(tmp_path, ["a"], 400, Console(quiet=True), Progress(), [sink]) as recorder:
        recorder._write("iteration", Progress(1, 100, 2.0), {"loss": 1.0, "gap": float("nan")})
    assert sink.figures == [("iteration", 100, {"loss": 1.0})]


def test_what_is_missing_or_refused_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"--wandb needs wandb, which is missing: pip install .*\[wandb\]"):
        weights_and_biases("project")

    class Closed(Service):
        def init(self, **asked):
            raise Exception("api_key not configured (no-tty).\ncall wandb.login")

    with pytest.raises(RuntimeError, match=r"cannot begin: api_key not configured .*WANDB_MODE=offline"):
        WeightsAndBiases(Closed(), "project", tmp_path, CONFIG)


@pytest.mark.full
def test_wandb_itself_takes_it_offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for env_steps in (100, 200):
        sink = weights_and_biases("project")(tmp_path, CONFIG)
        sink.write("evaluation", Progress(1, env_steps, 2.0), {"success": 0.5})
        sink.close()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_a_board_that_finds_no_room_is_given_up(tmp_path, monkeypatch):
    """Its thread ends, and what tensorboardX does at the exit does nothing, so that neither prints a traceback."""
    board = TensorBoard(tmp_path, Progress())
    board.write("iteration", Progress(1, 10), {"loss": 0.5})
    writer = board._board.file_writer.event_writer
    worker = writer._worker

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        board.close()
    assert not worker.is_alive()
    writer.close()
