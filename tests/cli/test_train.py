"""`mjx-metaworld train`: what its arguments come to before anything is trained."""

from __future__ import annotations

import dataclasses
import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from mjx_metaworld.cli import train as command
from mjx_metaworld.cli.train import Train, command_of, configuration
from mjx_metaworld.training import PRESETS
from mjx_metaworld.training.checkpoint import Progress


@pytest.mark.parametrize("entry", PRESETS, ids=lambda entry: entry.name)
def test_a_preset_brings_its_tasks(entry):
    algo = next(name for name, known in command.ALGORITHMS.items() if type(entry.config.algorithm) is known.config)
    args = Train(algo=algo, preset=entry.name)
    assert configuration(args) == entry.config
    assert configuration(dataclasses.replace(args, tasks="push-v3")).tasks == "push-v3"
    assert "reach-v3" not in command_of(args).split()


def test_without_a_preset_there_is_a_default_task():
    assert configuration(Train()) == configuration(Train("reach-v3"))
    assert configuration(Train(algo="fastsac")) == configuration(Train("reach-v3", algo="fastsac"))


def test_a_number_of_devices_is_claimed_before_jax_starts(monkeypatch, tmp_path):
    def starts_jax(num_envs):
        raise AssertionError("must not come to this")

    def claim(count):
        raise RuntimeError(f"{count} claimed")

    monkeypatch.setattr(command, "claim_devices", claim)
    monkeypatch.setattr(command, "default_devices", starts_jax)
    with pytest.raises(RuntimeError, match="4 claimed"):
        command.run_train(Train(output=tmp_path, devices=4), Console(quiet=True))
    monkeypatch.setattr(command, "default_devices", lambda num_envs: num_envs)
    with pytest.raises(RuntimeError, match="128 claimed"):
        command.run_train(Train(output=tmp_path, set=("num_envs=128",)), Console(quiet=True))


def test_a_bar_may_be_taken_away_and_what_is_trained_is_told(tmp_path):
    assert configuration(Train()).stop_at_success == 0.98
    args = Train(stop_at_success="never", env_steps=5000)
    assert configuration(args).stop_at_success is None
    assert command._announcement(args, configuration(args), tmp_path) == (
        f"reach-v3 by the preset reach-v3-cpu, for 5,000 env steps, in {tmp_path}."
    )
    args = Train("push-v3,reach-v3", stop_at_success=0.5)
    until = "or until 50.0% of the frozen goals are reached"
    told = command._announcement(args, configuration(args), tmp_path)
    assert told == f"push-v3,reach-v3 by ppo, for 1,000,000 env steps, {until}, in {tmp_path}."


def test_lines_about_a_run_hold_its_folder_as_it_is(tmp_path, monkeypatch):
    trained = SimpleNamespace(progress=Progress(2, 20, 2.0, 0.2), best=Progress(1, 10, 1.0, 0.5))
    monkeypatch.setattr(command, "train", lambda *_, **__: trained)
    folder = tmp_path / "a[ppo]b"
    command.run_train(Train(output=folder, devices=1), Console(file=(out := io.StringIO()), width=80))
    begun, ended, best = out.getvalue().splitlines()
    assert begun.endswith(f", in {folder}.")
    assert ended.endswith(f" 2 s. Evaluate beside CPU metaworld: mjx-metaworld eval '{folder}' --reference")
    assert best == f"Best: 50.0% after 10 env steps, kept in {folder / 'best'}."
