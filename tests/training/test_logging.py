"""What runs write down: records, plots, configurations, running statistics."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array, Float
from PIL import Image
from rich.console import Console
from support.run_folders import write_run
from tensorboardX.proto.event_pb2 import Event

from mjx_metaworld.cli import main as cli
from mjx_metaworld.cli.train import Train, command_of, configuration
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.training import PRESETS, logging, plot_success, plots
from mjx_metaworld.training.algorithm import EpisodeReport
from mjx_metaworld.training.checkpoint import Progress
from mjx_metaworld.training.logging import Recorder, task_table
from mjx_metaworld.training.normalize import (
    batch_moments,
    merge,
    no_moments,
    no_reward_scale,
    observe_rewards,
    standardise,
    task_moments,
)
from mjx_metaworld.training.records import line_of, read_records
from mjx_metaworld.training.requires import require


class Report(struct.PyTreeNode):
    episodes: EpisodeReport
    loss: Float[Array, ""]


REPORT = Report(
    EpisodeReport(success=jnp.array([0.5, jnp.nan]), episode_return=jnp.array([10.0, jnp.nan])), jnp.ones(())
)
EVALUATION = EpisodeStats(np.array([[True, False], [True, True]]), np.array([[1.0, 3.0], [5.0, 7.0]]))


def record(folder, resumed: Progress, upto: int) -> str:
    out = io.StringIO()
    with Recorder(folder, ["a", "b"], 400, Console(file=out, width=80), resumed) as recorder:
        for i in range(resumed.iteration + 1, upto + 1):
            progress = Progress(i, 100 * i, 2.0 * i)
            recorder.iteration(progress, REPORT)
            recorder.evaluation(progress, EVALUATION)
    return out.getvalue()


def test_records_are_complete_and_go_on_where_the_checkpoint_was(tmp_path):
    printed = record(tmp_path, Progress(), 3)
    rows = [line.split() for line in printed.splitlines()]
    assert ["100", "2", "s", "0:00:06", "50", "75.0%", "4", "50.0%", "10"] in rows  # 300 steps are left
    assert max(map(len, printed.splitlines())) <= 80
    assert "\nReturn: undiscounted, mean over episodes" in printed
    assert printed.startswith("Compiling")  # no bar says it where the output is a file
    start, iteration, evaluation, *_ = read_records(tmp_path)
    assert start == {"kind": "start", "env_steps": 0, "seconds": 0.0}
    assert iteration == {
        "kind": "iteration", "env_steps": 100, "seconds": 2.0, "loss": 1.0, "episodes.success": 0.5,
        "episodes.success/a": 0.5, "episodes.episode_return": 10.0, "episodes.episode_return/a": 10.0,
    }  # fmt: skip
    assert evaluation == {
        "kind": "evaluation", "env_steps": 100, "seconds": 2.0, "success": 0.75, "episode_return": 4.0,
        "success/a": 0.5, "success/b": 1.0, "episode_return/a": 2.0, "episode_return/b": 6.0,
    }  # fmt: skip
    whole = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(whole + '{"kind": "itera')  # a kill cut the last line short
    record(tmp_path, Progress(2, 200, 4.0), 3)  # what came after the checkpoint comes again, once
    again = (tmp_path / "metrics.jsonl").read_text().splitlines()
    start = again.index(line_of({"kind": "start", "env_steps": 200, "seconds": 4.0}).strip())
    assert again[:start] + again[start + 1 :] == whole.splitlines()


def test_tensorboard_gets_the_same_figures(tmp_path):
    record(tmp_path, Progress(), 2)
    (file,) = (tmp_path / "tensorboard").iterdir()
    scalars = {(value.tag, event.step): value.simple_value for event in events(file) for value in event.summary.value}
    assert scalars == {
        (f"{line['kind']}/{name}", line["env_steps"]): figure
        for line in read_records(tmp_path)
        for name, figure in line.items()
        if name not in ("kind", "env_steps", "seconds")
    }


def events(file: Path) -> list[Event]:
    """The records of a TensorBoard file: eight bytes of length and four of checksum before each, four after it."""
    data, found = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_a_terminal_shows_progress_and_the_time_that_is_left(tmp_path, monkeypatch):
    out = io.StringIO()
    now = 0.0
    console = Console(file=out, width=120, force_terminal=True, color_system=None, get_time=lambda: now)
    with Recorder(tmp_path, ["a", "b"], 400, console, Progress()) as recorder:
        for i in range(1, 3):
            now = 60.0 * i
            recorder.iteration(Progress(i, 100 * i, now), REPORT)
    # Half of it in two minutes, so as much is left; iterations of a minute are long, on a GPU or a busy machine.
    assert re.search(r"training .* 200/400 env steps 0:02:00 0:02:00", out.getvalue())


def test_the_bar_says_what_takes_its_time(tmp_path):
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    with Recorder(tmp_path, ["a", "b"], 400, console, Progress()) as recorder:
        evaluate = recorder.watched(lambda state: state)
        for phase in ("compiling", "compiling the evaluation", "training", "evaluating"):
            if phase == "training":
                recorder.iteration(Progress(1, 100, 1.0), REPORT)
            elif "evalua" in phase:
                assert evaluate(EVALUATION) is EVALUATION
            recorder._bars.refresh()
            assert phase in out.getvalue()


def test_the_curve_is_there_while_a_run_goes_on_and_whole_when_it_is_stopped(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        logging, "plot_success", lambda folders, output: drawn.append(len(read_records(folders[0], "evaluation")))
    )
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(logging.time, "perf_counter", lambda: next(clock))
    recorder = Recorder(tmp_path, ["a", "b"], 400, Console(quiet=True), Progress())
    with contextlib.suppress(KeyboardInterrupt), recorder:
        recorder.evaluation(Progress(1, 100, 2.0), EVALUATION)
        assert drawn == [1]
        recorder.evaluation(Progress(2, 200, 4.0), EVALUATION)
        assert drawn == [1], "to draw takes ten seconds here, so the run goes on first"
        raise KeyboardInterrupt
    assert drawn == [1, 2]
    with Recorder(tmp_path, ["a", "b"], 400, Console(quiet=True), Progress(2, 200, 4.0)):
        assert drawn == [1, 2]
    assert drawn == [1, 2], "nothing new came"


def test_a_full_disk_is_not_hidden_by_the_curve(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space for the curve")

    monkeypatch.setattr(logging, "plot_success", full)
    recorder = Recorder(tmp_path, ["a", "b"], 400, Console(quiet=True), Progress())
    recorder._drawn = False
    recorder.__enter__()
    recorder.__exit__(OSError, OSError("no space for the records"), None)  # the records' error goes on
    recorder._drawn = False
    with pytest.raises(OSError, match="no space for the curve"):
        recorder.__exit__(None, None, None)


def test_the_end_is_told_by_task(tmp_path):
    write_run(tmp_path / "run", {"reach": [0.4, 0.9, 0.8], "push": [0.0, 0.1, 0.3]})
    out = io.StringIO()
    Console(file=out, width=80).print(task_table(tmp_path / "run"))
    rows = [line.strip("│").split("│") for line in out.getvalue().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["reach", "80.0%", "80", "90.0%", "200"],
        ["push", "30.0%", "30", "30.0%", "300"],
        ["mean of 2 tasks", "55.0%", "55", "55.0%", "300"],
    ]
    assert task_table(write_run(tmp_path / "single", {"reach": [0.4]})) is None
    assert task_table(tmp_path) is None


def test_success_is_plotted(tmp_path):
    record(tmp_path, Progress(), 3)
    plot_success([tmp_path], tmp_path / "success.png")
    assert np.asarray(Image.open(tmp_path / "success.png").convert("L")).std() > 5  # not blank
    with pytest.raises(ValueError, match="no evaluation"):
        plot_success([tmp_path / "tensorboard"], tmp_path / "none.png")


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "draw_success", lambda curves, output: drawn.append(set(curves)))
    one, two = (write_run(tmp_path / sweep / "reach-v3-ppo-0", {"reach": [0.4]}) for sweep in ("fast", "slow"))
    plot_success([one], tmp_path / "success.png")
    plot_success([one, two], tmp_path / "success.png")
    assert drawn == [{"reach-v3-ppo-0"}, {str(one), str(two)}]
    with pytest.raises(ValueError, match=r"drawn once, got .*reach-v3-ppo-0 2 times"):
        plot_success([one, one], tmp_path / "success.png")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboardX, which is missing.*pip install .*\[train\]"):
        require("tensorboardX")


def test_the_command_line_makes_configurations():
    config = configuration(Train("reach-v3", env_steps=10, set=("num_envs=64", "hidden=[32,32]", "clip=1")))
    assert (config.tasks, config.env_steps, config.stop_at_success) == ("reach-v3", 10, 0.98)  # of the preset
    assert (config.algorithm.num_envs, config.algorithm.hidden, config.algorithm.clip) == (64, (32, 32), 1.0)
    assert configuration(Train("MT10", preset="MT10-gpu")).algorithm.num_envs == 4096
    assert configuration(Train("push-v3")).stop_at_success is None
    for bad, message in (
        (Train(preset="none"), "unknown preset 'none'; available: reach-v3-cpu"),
        (Train(set=("width=3",)), "expected name=value with one of num_envs"),
        (Train(set=("num_envs=many",)), "num_envs must be an integer such as 128, got 'many'"),
        (Train(set=("hidden=64",)), r"hidden must be a list such as \[128,128\], got '64'"),
        (Train(eval_goals=51), r"eval_goals must be in 1..50, got 51"),
        (Train(stop_at_success=2.0), r"stop_at_success must be in \(0, 1\], got 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            configuration(bad)


@pytest.mark.parametrize(
    "args",
    [
        Train(),
        Train("reach-v3,push-v3", algo="sac", seed=3, env_steps=10, stop_at_success=0.5, devices=1),
        Train("reach-v3", set=("num_envs=64", "hidden=[32,32]"), output=Path("out/a run")),
    ],
)
def test_the_command_line_can_be_told_again(args):
    program, name, *words = shlex.split(command_of(args))
    assert (program, name) == ("mjx-metaworld", "train")
    command = next(command for command in cli.COMMANDS if command.name == name)
    assert cli.parse(command, words).command == args


def test_presets_have_names_of_their_own():
    assert len({entry.name for entry in PRESETS}) == len(PRESETS)


# --- running statistics ---


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 2**31), st.floats(0.01, 100.0))
def test_merged_moments_are_those_of_all_values(sizes, seed, size):
    generator = np.random.default_rng(seed)
    batches = [generator.normal(size, size, (n, 3)).astype(np.float32) for n in sizes]
    moments = no_moments((3,))
    for batch in batches:
        moments = merge(moments, batch_moments(jnp.asarray(batch)))
    together = np.concatenate(batches)
    # float32 keeps about 1e-6 of the values' size
    np.testing.assert_allclose(moments.mean, together.mean(0), atol=1e-5 * size)
    np.testing.assert_allclose(moments.variance, together.var(0), atol=1e-4 * size**2)


def test_moments_by_task_leave_the_absent_alone():
    values, task = jnp.array([1.0, 3.0, 10.0]), jnp.array([0, 0, 2])
    moments = merge(no_moments((3,)), task_moments(values, task, 3))
    np.testing.assert_allclose(moments.mean, [2.0, 0.0, 10.0])
    np.testing.assert_allclose(moments.variance, [1.0, 1.0, 0.0])
    again = merge(moments, task_moments(values[:0], task[:0], 3))
    jax.tree.map(np.testing.assert_array_equal, again, moments)


def test_observations_are_standardised_but_for_the_one_hot_vector():
    obs = jnp.array([[1.0, 5.0, 0.0, 1.0], [3.0, 5.0, 1.0, 0.0]])
    scaled = standardise(merge(no_moments((2,)), batch_moments(obs[:, :2])), obs)
    np.testing.assert_allclose(scaled, [[-1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]])


def test_rewards_are_scaled_by_the_returns_of_their_task():
    # Two steps an episode, gamma 0.5: task 0 has the sums 1 and 1.5 of its past rewards, task 1 a hundred times these.
    reward = jnp.tile(jnp.array([1.0, 100.0]), (4, 1))
    done = jnp.tile(jnp.array([False, True])[:, None], (2, 2))
    task = jnp.tile(jnp.arange(2), (4, 1))
    scale = no_reward_scale(2, 2)
    np.testing.assert_array_equal(scale.divisor(), [1.0, 1.0])
    for rows in (slice(0, 1), slice(1, 4)):  # sums go on over the end of a rollout
        scale = observe_rewards(scale, reward[rows], done[rows], task[rows], 0.5)
    expected = np.sqrt((1.0 + 1.5**2) / 2)
    np.testing.assert_allclose(scale.divisor(), [expected, 100 * expected], rtol=1e-6)
