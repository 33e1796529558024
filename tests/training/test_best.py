"""The policy of a run's best evaluation: kept once, whatever a kill takes back, and evaluated by its path."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from support.run_folders import write_run
from support.training_probes import Silent, assert_bitwise_equal, probe_learner

from mjx_metaworld.cli.main import main
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.training import CheckpointError, PPOConfig, TrainConfig, load, train
from mjx_metaworld.training.checkpoint import Checkpoints, Progress, policy_part
from mjx_metaworld.training.loop import Schedule, begin, run_loop

TINY = TrainConfig(
    "reach-v3",
    PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1),
    env_steps=48,
    eval_every=16,
    eval_goals=1,
    checkpoint_every=16,
)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "best").glob("*"))


@pytest.mark.parametrize("algorithm", ["ppo", "fastsac"])
def test_the_best_is_kept_and_a_run_that_was_taken_back_goes_on_from_it(tmp_path, algorithm):
    learner = probe_learner(algorithm)
    state = learner.init(jax.random.key(0))
    better = learner.init(jax.random.key(1))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.offer(state, Progress(1, success=0.0))
    assert checkpoints.best() is None
    assert not (tmp_path / "best").exists()
    for iteration, success in ((2, 0.5), (3, 0.4), (4, 0.5)):
        checkpoints.offer(state, Progress(iteration, success=success))
    assert checkpoints.best() == Progress(2, success=0.5)
    checkpoints.close()
    # A kill took the run back to its first iteration, and there it fares better than it did in the second.
    again = Checkpoints(tmp_path)
    again.offer(state, Progress(2, success=0.5))
    assert kept(tmp_path) == ["1"]
    again.offer(better, Progress(1, success=0.6))
    assert kept(tmp_path) == ["2"]
    again.close()
    for path in (tmp_path / "best" / "2" / "progress").iterdir():
        shutil.copy(path, tmp_path)
        path.write_text("{")
    broken = Checkpoints(tmp_path)  # which the run does not need to go on
    assert broken.best() is None
    broken.close()
    for path in (tmp_path / "best" / "2" / "progress").iterdir():
        shutil.copy(tmp_path / path.name, path)
    best = Checkpoints(tmp_path, "best")
    restored = best.restore(lambda key: policy_part(learner.init(key)))
    best.close()
    assert restored is not None
    found, progress = restored
    assert progress == Progress(1, success=0.6)
    assert_bitwise_equal(found, policy_part(better))
    assert found.env_state is None
    size = sum(path.stat().st_size for path in (tmp_path / "best").rglob("*"))
    assert size < 400_000  # kilobytes of networks, whatever the buffer holds


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run on a probe, of three iterations, whose second evaluation is the best."""
    learner, folder = probe_learner("ppo"), write_run(tmp_path / "run", {"reach-v3": []}, config=TINY)
    monkeypatch.setattr(sys.modules["mjx_metaworld.training.train"], "build", lambda config: (None, learner))
    success = iter((0.2, 0.6, 0.4))

    def evaluate(state):
        return EpisodeStats(np.full((1, 1), next(success)), np.zeros((1, 1)))

    steps = learner.steps_per_iteration
    checkpoints = Checkpoints(folder)
    start = begin(learner, jax.random.key(5), checkpoints)
    run_loop(learner, evaluate, Schedule(3 * steps, steps, steps, None), start, Silent(), checkpoints, began=0.0)
    checkpoints.close()
    return folder


@pytest.mark.ci
def test_any_checkpoint_is_loaded_by_its_path(run, tmp_path):
    second, newest, best = (load(run / path) for path in ("checkpoints/2", "", "best"))
    assert [found.progress.iteration for found in (second, newest, best)] == [2, 3, 2]
    assert_bitwise_equal(best.state, policy_part(second.state))
    obs, task = np.ones((2, 2), np.float32), np.zeros(2, np.int32)
    np.testing.assert_array_equal(best.policy(obs, task), second.policy(obs, task))
    assert not np.array_equal(best.policy(obs, task), newest.policy(obs, task))
    for path in ("checkpoints", "best/2"):
        assert load(run / path).progress.iteration in (2, 3)
    with pytest.raises(CheckpointError, match=r"checkpoints holds no checkpoint 7; there are 1, 2, 3"):
        load(run / "checkpoints" / "7")
    with pytest.raises(CheckpointError, match=r"holds no training run"):
        load(tmp_path)
    for path in run.glob("best/*"):
        shutil.rmtree(path)
    with pytest.raises(CheckpointError, match=r"best holds no checkpoint yet"):
        load(run / "best")


def test_a_missing_checkpoint_is_told_with_those_that_there_are(tmp_path, capsys):
    for number in range(3):
        (tmp_path / "checkpoints" / str(number)).mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "checkpoints" / "9")])
    assert ended.value.code == 2
    assert f"; in {tmp_path / 'checkpoints'} there are 0, 1, 2\n" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("kinematic")
def test_the_best_is_trained_for_and_evaluated(tmp_path, capsys, monkeypatch):
    success = iter((0.2, 0.6, 0.4))

    def make(*args, **kwargs):
        return lambda state: EpisodeStats(np.full((1, 1), next(success)), np.zeros((1, 1)))

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["mjx_metaworld.training.train"], "make_evaluator", make)
        result = train(TINY, jax.random.key(0), tmp_path / "run")
    assert result.best is not None
    assert (result.progress.success, result.best.success, result.best.iteration) == (0.4, 0.6, 2)
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "run" / "best"), "--num-goals", "1", "--num-steps", "2", "--json"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["task"] == "reach-v3"
    assert "after 32 env steps" in " ".join(said.err.split())
