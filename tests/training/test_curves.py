"""Curves of runs: grouping by configuration, common places, and folders that are none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.run_folders import FACTS, write_run

from mjx_metaworld.training import PPOConfig, SACConfig, TrainConfig
from mjx_metaworld.training.curves import common_end, group_curves, read_curve

CONFIG = TrainConfig("MT10", PPOConfig())
OTHER = TrainConfig("MT10", SACConfig())
SOLVED = dataclasses.replace(CONFIG, stop_at_success=0.9)


def groups_of(folders, labels=()):
    return group_curves([read_curve(folder) for folder in folders], labels)


def test_seeds_of_one_configuration_are_a_group(tmp_path):
    runs = [
        write_run(tmp_path / "a", {"x": [0.1], "y": [0.3]}, seed=0),
        write_run(tmp_path / "b", {"x": [0.1], "y": [0.3]}, seed=0, config=TrainConfig("MT10", SACConfig())),
        write_run(tmp_path / "c", {"x": [0.2], "y": [0.4]}, seed=1, config=dataclasses.replace(CONFIG, env_steps=7)),
        write_run(tmp_path / "d", {"x": [0.2], "y": [0.4]}, config=TrainConfig("MT10", PPOConfig(hidden=(8,)))),
        write_run(tmp_path / "e", {"x": [0.2], "y": [0.4]}, facts=FACTS | {"devices": 2}),
        write_run(tmp_path / "f", {"x": [0.2], "y": [0.4]}, config=dataclasses.replace(CONFIG, eval_goals=9)),
    ]
    groups = groups_of(runs)
    assert [[curve.folder.name for curve in group.curves] for group in groups] == [
        ["a", "c"],
        ["b"],
        ["d"],
        ["e"],
        ["f"],
    ]
    assert groups[0].label == "ppo on 1 cpu (x86_64, 2 cores) eval_goals=50 hidden=[128,128]"
    assert groups[1].label == "sac"
    assert groups[2].label == "ppo on 1 cpu (x86_64, 2 cores) eval_goals=50 hidden=[8]"
    np.testing.assert_allclose(groups[0].scores("env_steps", np.array([100.0])), [[[0.1, 0.3], [0.2, 0.4]]])
    assert [group.label for group in groups_of(runs[:2], ("one", "two"))] == ["one", "two"]


def test_a_curve_goes_straight_between_evaluations(tmp_path):
    curve = read_curve(write_run(tmp_path / "a", {"x": [0.0, 0.5], "y": [0.2, 1.0]}, seconds=30.0))
    np.testing.assert_allclose(curve.at("env_steps", np.array([100.0, 150.0])), [[0.0, 0.2], [0.25, 0.6]])
    np.testing.assert_allclose(curve.at("seconds", np.array([45.0])), [[0.25, 0.6]])


def test_what_has_ended_at_its_bar_counts_from_then_on(tmp_path):
    quick = write_run(tmp_path / "quick", {"x": [0.5, 0.95]}, config=SOLVED)
    slow = write_run(tmp_path / "slow", {"x": [0.1, 0.2, 0.3, 0.4]}, config=SOLVED, seed=1)
    stopped = write_run(tmp_path / "stopped", {"x": [0.1, 0.2, 0.3]}, config=OTHER)
    (both,) = groups_of([quick, slow])
    assert both.end("env_steps") == 400  # the quick one would be as good
    np.testing.assert_allclose(both.scores("env_steps", both.places("env_steps"))[-1, :, 0], [0.95, 0.4])
    (alone,) = groups_of([quick])
    assert alone.end("env_steps") == 200
    ended, going = groups_of([quick, stopped])
    assert common_end([ended, going], "env_steps") == common_end([going, ended], "env_steps") == 300
    (unsolved,) = groups_of([stopped])
    assert (unsolved.end("env_steps"), unsolved.known("env_steps")) == (300, 300)
    assert ended.known("seconds") == float("inf")


def test_a_run_that_ended_at_its_very_bar_counts_as_ended(tmp_path):
    episodes = np.arange(50) >= np.array([[4, 5, 5, 3, 5, 5, 5, 0, 2, 3]]).T
    by_task = {f"task-{i}": [float(rate)] for i, rate in enumerate(episodes.mean(1))}
    bar = float(episodes.mean())  # the training loop ends at it
    assert np.mean([rate for (rate,) in by_task.values()]) < bar, "rounded otherwise"
    config = dataclasses.replace(CONFIG, stop_at_success=bar)
    assert read_curve(write_run(tmp_path / "at", by_task, config=config)).solved
    by_task["task-0"] = [by_task["task-0"][0] - 1 / 50]
    assert not read_curve(write_run(tmp_path / "below", by_task, config=config)).solved


def test_runs_without_a_common_range_have_no_mean(tmp_path):
    short = write_run(tmp_path / "short", {"x": [0.1]}, seconds=10)
    late = write_run(tmp_path / "late", {"x": [0.9, 0.9]}, seed=1, every=500, seconds=30)
    other = write_run(tmp_path / "other", {"x": [0.2, 0.3]}, config=OTHER)
    for order in ([short, late], [late, short]):
        (group,) = groups_of(order)
        for axis in ("env_steps", "seconds"):
            first, last = group.gap(axis) or (None, None)
            assert first is not None
            assert last is not None
            assert (first.folder, last.folder) == (short, late)
            assert len(group.places(axis)) == 0
    (alone,) = groups_of([other])
    assert alone.gap("env_steps") is None
    assert common_end([group, alone], "env_steps") == 200, "where the others can be compared"
    ended = write_run(tmp_path / "ended", {"x": [0.95]}, config=SOLVED, seed=2)
    (solved,) = groups_of([ended, late])
    assert solved.gap("env_steps") is None, "the solved one would be as good"


def test_the_same_tasks_in_another_order_are_another_group(tmp_path):
    def write(name, tasks, seed, rates):
        return write_run(tmp_path / name, rates, seed=seed, config=TrainConfig(tasks, PPOConfig()))

    one = write("one", "x,y", 0, {"x": [0.1], "y": [0.3]})
    spaced = write("spaced", "x, y", 1, {"x": [0.1], "y": [0.3]})
    listed = write("listed", ("x", "y"), 2, {"x": [0.1], "y": [0.3]})
    turned = write("turned", "y,x", 3, {"y": [0.1], "x": [0.3]})
    groups = groups_of([one, spaced, listed, turned])
    assert [len(group.curves) for group in groups] == [3, 1]
    assert [group.label for group in groups] == ["ppo tasks=x,y", "ppo tasks=y,x"]


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = write_run(tmp_path / "one", {"x": [0.1], "y": [0.1]})
    same = write_run(tmp_path / "same", {"x": [0.1], "y": [0.1]})
    other = write_run(tmp_path / "other", {"x": [0.1], "z": [0.1]})
    empty = write_run(tmp_path / "empty", {"x": []})
    with pytest.raises(ValueError, match=r"one has the tasks x, y, .*other has x, z; compare runs of the same tasks"):
        groups_of([one, other])
    with pytest.raises(ValueError, match=r"one and .*same are the same run.*key \[0, 0\]"):
        groups_of([one, same])
    with pytest.raises(
        ValueError, match=r"labels must be 1, one for each group of runs of the same settings .*one\); got 2: a, b"
    ):
        groups_of([one], ("a", "b"))
    with pytest.raises(ValueError, match="empty has no evaluation yet"):
        read_curve(empty)
    with pytest.raises(ValueError, match=r"metrics.jsonl is a file, not the folder of a run"):
        read_curve(one / "metrics.jsonl")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        read_curve(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no training run.*these in it do: .*empty, .*one"):
        read_curve(tmp_path)
    (one / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json is broken"):
        read_curve(one)
