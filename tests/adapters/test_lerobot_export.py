"""Expert demonstrations for LeRobot: which episodes, their rows, and the dataset where LeRobot is installed."""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib
import sys
import types

import jax
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.adapters.lerobot import demonstrations as demonstrations_module
from mjx_metaworld.adapters.lerobot.demonstrations import Demonstration, Frames, demonstrate
from mjx_metaworld.adapters.lerobot.export import Export, MissingLeRobotError, export, features, frames, run_export
from mjx_metaworld.adapters.lerobot.goals import next_goal

TASKS = ("reach-v3", "push-back-v3")
LANES = 8


def recorded(task: int, seed: int, steps: int, success: bool) -> Demonstration:
    """An episode made up of numbers that tell what they are."""
    env = mw.make(TASKS)
    state = jax.device_get(jax.eval_shape(lambda: env.reset(jax.random.key(0), task)))
    last = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
    obs = np.arange(steps)[:, None] + np.linspace(0, 0.5, 39)
    ends = np.arange(steps) == steps - 1
    physics = jax.tree.map(lambda x: np.zeros((steps, *x.shape)), last.physics)
    return Demonstration(
        task, seed, Frames(physics, obs, np.full((steps, 4), 0.5), np.arange(steps), ends & success), last
    )


def test_further_seeds_replace_failures(monkeypatch):
    """With an expert that fails on every third seed, and on push-back always."""
    episodes = {
        (task, success): recorded(task, 0, 1, success) for task in range(len(TASKS)) for success in (False, True)
    }

    def compile_fake(env, batch_size):
        def simulate(tasks, seeds):
            assert len(tasks) <= batch_size
            for task, seed in zip(tasks.tolist(), seeds.tolist(), strict=True):
                yield episodes[task, task == 0 and seed % 3 > 0]._replace(seed=seed)

        return simulate

    monkeypatch.setattr(demonstrations_module, "_compile", compile_fake)
    env = mw.make(TASKS)

    def seeds_of(task: int, *, only_successes: bool, batch_size: int) -> list[int]:
        done = demonstrate(env, 4, seed=10, only_successes=only_successes, max_attempts=7, batch_size=batch_size)
        return sorted(d.seed for d in done if d.task == task)

    for batch_size in (3, 100):
        assert seeds_of(0, only_successes=True, batch_size=batch_size) == [10, 11, 13, 14]
        assert seeds_of(1, only_successes=True, batch_size=batch_size) == []
        assert seeds_of(1, only_successes=False, batch_size=batch_size) == [10, 11, 12, 13]


def test_rows_of_the_dataset():
    args = Export("reach-v3,push-back-v3")
    rows = frames(mw.make(TASKS), recorded(0, 0, 3, success=True), args)
    assert len(rows) == 3
    columns = features(args)
    for step, row in enumerate(rows):
        assert {name: (value.shape, str(value.dtype)) for name, value in row.items()} == {
            name: (column["shape"], column["dtype"]) for name, column in columns.items()
        }
        assert row["next.reward"] == step
        assert row["next.done"] == row["next.success"] == (step == 2)
        np.testing.assert_array_equal(row["observation.state"], row["observation.environment_state"][:4])
    pictured = Export("reach-v3", images="video", image_size=32)
    assert features(pictured)["observation.image"]["shape"] == (32, 32, 3)


@pytest.mark.parametrize(
    "bad", [{"episodes": 0}, {"batch_size": 0}, {"images": "gif"}, {"image_size": -1}, {"tasks": "MT11"}]
)
def test_export_refuses_what_it_cannot_write(bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values()))).replace("-", r"\-")):
        Export(**bad)


def test_a_file_in_the_way_of_the_folder_is_named(monkeypatch, tmp_path):
    for name in ("lerobot", "lerobot.datasets", "lerobot.envs"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    dataset, tasks = types.ModuleType("lerobot.datasets.lerobot_dataset"), types.ModuleType("lerobot.envs.metaworld")
    dataset.LeRobotDataset, tasks.TASK_DESCRIPTIONS = object, {}
    for module in (dataset, tasks):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (file := tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"output .*file/x must be a folder, and .*file is a file"):
        export(Export("reach-v3", output=file / "x"))


def test_without_lerobot_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lerobot", None)  # an import of it fails, whether it is installed or not
    monkeypatch.delitem(sys.modules, "mjx_metaworld.adapters.lerobot.config", raising=False)
    with pytest.raises(MissingLeRobotError, match=r"pip install .*\[lerobot\]"):
        export(Export("reach-v3", tmp_path / "dataset"))
    with pytest.raises(ImportError, match=r"pip install .*\[lerobot\]"):
        importlib.import_module("mjx_metaworld.adapters.lerobot.config")


@pytest.mark.full
def test_expert_episodes_end_at_their_success_and_replay():
    env = mw.make(TASKS, max_episode_steps=200)
    done = list(demonstrate(env, 3, seed=0, only_successes=True, max_attempts=12, batch_size=LANES))
    assert [d.task for d in done].count(0) == [d.task for d in done].count(1) == 3
    step = jax.jit(env.step)
    for d in done:
        assert d.succeeded
        assert d.frames.success.sum() == 1
        assert np.abs(d.frames.action).max() <= 1
        goal = next_goal(env.tasks[d.task], np.random.default_rng(d.seed))
        state = env.reset_to(d.task, goal)
        for t, action in enumerate(d.frames.action):
            # One lane alone and the same lane of a batch differ in the last bits, which contacts amplify.
            np.testing.assert_allclose(state.obs, d.frames.obs[t], atol=1e-2)
            state = step(state, action)
        states = d.states()
        np.testing.assert_array_equal(states.physics.qpos, d.frames.physics.qpos)
        assert states.task.shape == (len(d.frames.reward),)


@pytest.mark.full
@pytest.mark.parametrize("images", ["none", "image", "video"])
def test_lerobot_loads_the_exported_dataset(images, tmp_path):
    pytest.importorskip("lerobot")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from rich.console import Console

    root = tmp_path / "dataset"
    args = Export("reach-v3", root, "local/test", episodes=2, batch_size=LANES, images=images, image_size=64)
    run_export(args, Console())
    dataset = LeRobotDataset("local/test", root=root)
    assert (dataset.num_episodes, dataset.fps) == (2, 80)
    rows = [dataset[i] for i in range(len(dataset))]
    ends = [i for i, row in enumerate(rows) if row["next.done"]]
    assert len(ends) == 2
    assert ends[-1] == len(rows) - 1
    assert [i for i, row in enumerate(rows) if row["next.success"]] == ends
    assert {row["task"] for row in rows} == {"Reach a goal position"}
    assert rows[0]["observation.environment_state"].shape == (39,)
    if images != "none":
        assert rows[0]["observation.image"].shape == (3, 64, 64)  # LeRobot hands out channels first
        assert rows[0]["observation.image"].std() > 0.05  # a picture, not a blank
    with pytest.raises(ValueError, match="exists"):
        run_export(args, Console())
