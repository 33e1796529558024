"""An export that is asked to end leaves a dataset of whole episodes; with a stand-in for LeRobot's writer."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from rich.console import Console

from mjx_metaworld.adapters.lerobot import export as export_module
from mjx_metaworld.adapters.lerobot.export import Export, run_export
from mjx_metaworld.processes.locks import LockedError, exclusive
from mjx_metaworld.processes.signals import Terminated
from mjx_metaworld.suites import resolve
from mjx_metaworld.view.dataset import NOTES

STEPS = 3
DEMONSTRATION = SimpleNamespace(task=0, last_state=SimpleNamespace(episode=SimpleNamespace(rand_vec=np.zeros(6))))


class Dataset:
    """What LeRobot's dataset does with frames and episodes, and a signal at a step of its writing."""

    signals: ClassVar[dict[str, int]] = {}  # by the step during which they come, to the second episode
    made: ClassVar[list[Dataset]] = []

    def __init__(self) -> None:
        self.buffer: list[Any] = []
        self.episodes: list[int] = []
        self.finalized = False

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> Dataset:
        cls.made.append(cls())
        return cls.made[-1]

    def _at(self, step: str) -> None:
        if len(self.episodes) == 1 and (number := self.signals.get(step)):
            signal.raise_signal(number)

    def add_frame(self, frame: Any) -> None:
        self.buffer.append(frame)
        if len(self.buffer) == 2:
            self._at("frame")

    def save_episode(self) -> None:
        self._at("save")
        self.episodes.append(len(self.buffer))
        self.buffer = []

    def finalize(self) -> None:
        assert self.buffer == []
        self.finalized = True


@pytest.fixture
def lerobot(monkeypatch):
    names = ("", ".datasets", ".datasets.lerobot_dataset", ".envs", ".envs.metaworld")
    modules = {f"lerobot{name}": ModuleType(name) for name in names}
    modules["lerobot.datasets.lerobot_dataset"].__dict__["LeRobotDataset"] = Dataset
    modules["lerobot.envs.metaworld"].__dict__["TASK_DESCRIPTIONS"] = {"reach-v3": "Reach a goal position"}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(export_module, "make", lambda *args, **kwargs: SimpleNamespace(tasks=resolve("reach-v3")))
    monkeypatch.setattr(export_module, "demonstrate", lambda *args, **kwargs: iter([DEMONSTRATION] * 4))
    monkeypatch.setattr(export_module, "frames", lambda *args: [{"next.reward": 0.0}] * STEPS)
    Dataset.made.clear()


@pytest.mark.parametrize("step", ["frame", "save"])
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_the_episode_that_a_signal_meets_is_written_and_the_dataset_closed(
    lerobot, interruptible, monkeypatch, tmp_path, step, number, raised
):
    monkeypatch.setattr(Dataset, "signals", {step: number})
    out = io.StringIO()
    output = tmp_path / "new" / "data[set]"
    with pytest.raises(raised):
        run_export(Export("reach-v3", output, episodes=4), Console(file=out, width=300))
    (dataset,) = Dataset.made
    assert dataset.episodes == [STEPS] * 2
    assert dataset.finalized
    assert f"Ended: {output} holds 2 whole episodes and can be read." in out.getvalue()
    assert list(output.parent.iterdir()) == [output]  # no lock
    assert len((output / NOTES).read_text().splitlines()) == 2


def test_the_dataset_is_named_as_it_is(lerobot, interruptible, monkeypatch, tmp_path):
    monkeypatch.setattr(Dataset, "signals", {})
    out = io.StringIO()
    output = tmp_path / "data[set]"
    run_export(Export("reach-v3", output, repo_id="me/set[1]", episodes=5), Console(file=out, width=30))
    assert out.getvalue().splitlines()[-2:] == [
        f"4 episodes of 1 tasks in {output} (me/set[1])",
        "reach-v3: only 4 of 5 episodes succeeded",
    ]


def test_two_exports_cannot_share_a_folder(lerobot, tmp_path):
    output = tmp_path / "dataset"
    with (
        exclusive(output, tmp_path / "dataset.lock"),
        pytest.raises(LockedError, match=rf"{output} is in use: process {os.getpid()}"),
    ):
        run_export(Export("reach-v3", output, episodes=4), Console(quiet=True))
    assert Dataset.made == []
