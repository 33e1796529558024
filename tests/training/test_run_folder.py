"""A run's folder: one process at a time, a good end when asked, and clear words for disks and files that fail."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array, Float, Key
from rich.console import Console
from support.training_probes import Silent, assert_bitwise_equal, probe_learner, run_probe

from mjx_metaworld.cli import train as command
from mjx_metaworld.processes.locks import LockedError, exclusive
from mjx_metaworld.processes.signals import Terminated
from mjx_metaworld.suites import register_suite, resolve
from mjx_metaworld.tasks.registry import find_task
from mjx_metaworld.training import SinkError, TrainConfig, load, plot_success, train
from mjx_metaworld.training import train as train_function
from mjx_metaworld.training.checkpoint import CheckpointError, Checkpoints, Progress
from mjx_metaworld.training.ppo import PPOConfig
from mjx_metaworld.training.run_folder import LOCK_FILE, RunTasks, note_start, open_run, read_run
from mjx_metaworld.training.sac import SACConfig
from mjx_metaworld.training.train import run_folder

TINY = TrainConfig(
    "reach-v3",
    PPOConfig(num_envs=4, horizon=4, episode_steps=8, hidden=(8,), minibatches=1),
    env_steps=32,
    eval_goals=1,
    checkpoint_every=16,
)
TINY_SAC = SACConfig(
    num_envs=4,
    horizon=4,
    episode_steps=8,
    hidden=(8,),
    updates_per_step=1 / 16,
    batch_per_task=8,
    replay_size=64,
    warmup_steps=17,
)
pytestmark = pytest.mark.usefixtures("kinematic")


class Small(struct.PyTreeNode):
    """A train state in which nothing is learnt."""

    key: Key[Array, ""]
    lane_keys: Key[Array, " envs"]
    numbers: Float[Array, " numbers"]


def init(key: Key[Array, ""]) -> Small:
    key, drawn, lanes = jax.random.split(key, 3)
    return Small(key, jax.random.split(lanes, 3), jax.random.normal(drawn, (5000,)))


def saved(folder: Path, impl: str = "threefry2x32") -> Small:
    """A train state of which a folder holds checkpoints of two iterations."""
    state = jax.jit(init)(jax.random.key(5, impl=impl))
    checkpoints = Checkpoints(folder)
    for iteration in (1, 2):
        checkpoints.save(state, Progress(iteration, 16 * iteration))
    checkpoints.close()
    return state


def restored(folder: Path, number: int | None = None) -> Small:
    checkpoints = Checkpoints(folder)
    try:
        found = checkpoints.restore(init, number=number)
    finally:
        checkpoints.close()
    assert found is not None
    return found[0]


def record_of(folder: Path) -> Path:
    return folder / "checkpoints" / "2" / "progress" / "metadata"


class Signalling(Silent):
    """Records during whose third iteration a signal comes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def iteration(self, progress, report) -> None:
        if progress.iteration == 3:
            signal.raise_signal(self._number)


@pytest.mark.ci
@pytest.mark.parametrize("evaluation_due", [False, True])
def test_a_run_that_is_asked_to_end_saves_unless_an_evaluation_would_be_lost(interruptible, tmp_path, evaluation_due):
    with pytest.raises(KeyboardInterrupt):
        run_probe(tmp_path, 100, 50, records=Signalling(signal.SIGINT), evaluate_every=3 if evaluation_due else 50)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == (None if evaluation_due else 3)
    checkpoints.close()
    if not evaluation_due:
        assert_bitwise_equal(run_probe(tmp_path, 4)[0], run_probe(tmp_path / "straight", 4)[0])


def stopped(monkeypatch, folder: Path, error: BaseException) -> tuple[BaseException, str]:
    """What a run raises and prints last whose loop ends with an error."""

    def fail(*args, **kwargs):
        assert (folder / LOCK_FILE).exists()
        raise error

    monkeypatch.setattr(sys.modules["mjx_metaworld.training.train"], "run_loop", fail)
    monkeypatch.setattr(sys.modules["mjx_metaworld.training.train"], "begin", lambda *args: (None, Progress()))
    out = io.StringIO()
    console = Console(file=out, width=80)  # the last line is not broken, so that it can be copied
    with pytest.raises(type(error) if isinstance(error, KeyboardInterrupt) else CheckpointError) as caught:
        train_function(TINY, jax.random.key(0), folder, console, again="mjx-metaworld train")
    assert not (folder / LOCK_FILE).exists()
    return caught.value, out.getvalue().splitlines()[-1]


def test_the_last_words_say_how_to_go_on(monkeypatch, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    _, last = stopped(monkeypatch, tmp_path, Terminated())
    assert last == f"Ended before the first checkpoint in {tmp_path}. Begin anew: mjx-metaworld train"
    assert signal.getsignal(signal.SIGTERM) is before
    full, _ = stopped(monkeypatch, tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert str(full).startswith(f"{tmp_path} cannot be written: [Errno 28] No space left on device. Ended before")
    monkeypatch.setattr(Checkpoints, "newest", lambda self: 3)
    _, last = stopped(monkeypatch, tmp_path, KeyboardInterrupt())
    assert last == f"Ended with the checkpoint at 48 env steps in {tmp_path}. Go on: mjx-metaworld train"


def test_a_second_run_in_the_folder_is_refused_and_harms_nothing(tmp_path):
    open_run(tmp_path, TINY, jax.random.key(0), {})
    with exclusive(tmp_path, tmp_path / LOCK_FILE):
        whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(LockedError, match=rf"{tmp_path} is in use: process {os.getpid()} on"):
            train(TINY, jax.random.key(0), tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_a_task_that_is_declared_otherwise_is_warned_of(tmp_path):
    key = jax.random.key(0)

    def open_again(declared: dict[str, str]) -> None:
        open_run(tmp_path, TINY, key, {}, RunTasks(declared=declared))

    open_again({"own-task (Python 3.11)": "a digest"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_again({"own-task (Python 3.11)": "a digest"})
        open_again({"own-task (Python 3.12)": "another"})  # whose functions are compiled anew
    with pytest.warns(UserWarning, match=r"own-task .*: the task or its scene is another one than when this run began"):
        open_again({"own-task (Python 3.11)": "another"})


def test_a_suite_that_has_other_tasks_by_now_is_another_run(tmp_path, scratch_registry):
    suite, key = dataclasses.replace(TINY, tasks="mine"), jax.random.key(0)
    open_run(tmp_path, suite, key, {}, RunTasks(("reach-v3", "push-v3")))
    register_suite("mine", ["push-v3", "reach-v3"])  # each with the other's head
    with pytest.raises(CheckpointError, match="holds another run: tasks reach-v3, push-v3, now push-v3, reach-v3"):
        train(suite, key, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="tasks reach-v3, push-v3, now push-v3, reach-v3: mine is another suite"):
        load(tmp_path)
    register_suite("mine", ["reach-v3", "push-v3"])
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        load(tmp_path)


def test_lists_and_numbers_of_numpy_are_the_run_that_they_began(tmp_path):
    """As scripts and sweeps give them; written down they are tuples and Python's numbers."""
    ppo = dataclasses.replace(TINY.algorithm, hidden=[8], learning_rate=np.float64(1e-3), clip=1)
    given = dataclasses.replace(TINY, tasks=["reach-v3"], env_steps=np.int64(TINY.env_steps), algorithm=ppo)
    key = jax.random.key(0)
    open_run(tmp_path, given, key, {})
    open_run(tmp_path, dataclasses.replace(given, env_steps=np.int32(7)), key, {})
    assert read_run(tmp_path).config == given
    assert type(given.algorithm.clip) is float
    assert dataclasses.replace(TINY, tasks=find_task("reach-v3"), physics=None).tasks == ("reach-v3",)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("eval_goals", 2.0, "eval_goals must be an integer, got 2.0"),
        ("env_steps", True, "env_steps must be an integer, got True"),
        ("stop_at_success", float("nan"), "stop_at_success must be a finite number, got nan"),
        ("tasks", dataclasses.replace(find_task("reach-v3"), name="reach-of-mine"), "declare reach-of-mine with @task"),
    ],
)
def test_fields_of_other_types_are_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **{name: value})


@pytest.mark.parametrize("broken", ["make", pytest.param("write", marks=pytest.mark.ci)])
def test_a_sinks_server_that_is_down_is_not_the_folders_fault(tmp_path, broken):
    class Tracker:
        def write(self, kind, progress, figures):
            raise ConnectionError("tracking server refused the connection")

        def close(self):
            pass

    def make(folder, config):
        if broken == "make":
            raise ConnectionError("tracking server refused the connection")
        return Tracker()

    said = "a sink could not be made" if broken == "make" else "the sink Tracker takes no figures"
    with pytest.raises(SinkError, match=rf"{said}: tracking server refused the connection\. Ended"):
        train(TINY, jax.random.key(0), tmp_path, sinks=[make])


@pytest.mark.ci
def test_folders_are_named_by_texts_too(tmp_path):
    folder = str(tmp_path / "run")
    train(TINY, jax.random.key(0), folder)
    assert load(folder).progress.env_steps == TINY.env_steps
    plot_success([folder], str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").exists()


@pytest.mark.parametrize("key", [0, np.zeros(2), jax.random.split(jax.random.key(0), 3)])
def test_what_is_not_one_key_is_refused(tmp_path, key):
    with pytest.raises(TypeError, match=r"key must be (a random key|one random key, got \(3,\))"):
        train(TINY, key, tmp_path)


# --- checkpoints ---


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_are_restored_with_their_implementation_whatever_the_default_is(tmp_path, impl):
    state = saved(tmp_path, impl)
    for default in ("threefry2x32", "rbg"):
        with jax.default_prng_impl(default):
            found = restored(tmp_path)
        assert str(jax.random.key_impl(found.key)) == str(jax.random.key_impl(found.lane_keys)) == impl
        assert_bitwise_equal(found, state)


@pytest.mark.full
@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
@pytest.mark.parametrize("algorithm", ["ppo", "sac", "fastsac", "clone"])
def test_runs_of_any_implementation_go_on_bit_by_bit(tmp_path, impl, algorithm):
    whole, _ = run_probe(tmp_path / "whole", 3, algorithm=algorithm, impl=impl)
    run_probe(tmp_path / "parts", 1, algorithm=algorithm, impl=impl)
    assert_bitwise_equal(run_probe(tmp_path / "parts", 3, algorithm=algorithm)[0], whole)


def test_the_command_goes_on_with_the_implementation_that_it_began_with(monkeypatch, tmp_path):
    began = []

    def note(config, key, folder, *args, **kwargs):
        open_run(folder, config, key, {})
        began.append(str(jax.random.key_impl(key)))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "train", note)
    for implementation in ("rbg", "threefry2x32"):
        with jax.default_prng_impl(implementation), pytest.raises(KeyboardInterrupt):
            command.run_train(command.Train(output=tmp_path, devices=1, seed=7), Console(quiet=True))
    assert began == ["rbg", "rbg"]
    assert read_run(tmp_path).key == [0, 7, 0, 7]
    with pytest.raises(CheckpointError, match="random key of rbg, now of threefry2x32"):
        open_run(tmp_path, read_run(tmp_path).config, jax.random.key(7), {})


def test_run_folders_are_named_by_the_seed_whatever_the_implementation():
    names = {run_folder(TINY, jax.random.key(7, impl=impl)).name for impl in ("threefry2x32", "rbg", "unsafe_rbg")}
    assert names == {"reach-v3-ppo-7"}


def test_each_run_of_a_sweep_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = jax.random.key(7)
    wider = dataclasses.replace(TINY, algorithm=dataclasses.replace(TINY.algorithm, gamma=0.5))
    first = run_folder(TINY, key)
    assert run_folder(wider, key) == first, "nothing is there yet"
    open_run(first, TINY, key, {})
    assert run_folder(TINY, key) == first
    assert run_folder(dataclasses.replace(TINY, env_steps=2 * TINY.env_steps), key) == first, "a longer run goes on"
    own = run_folder(wider, key)
    assert own != first
    open_run(own, wider, key, {})
    assert run_folder(wider, key) == own, "the same command goes on"
    assert run_folder(dataclasses.replace(wider, reward_version="v1"), key) not in (first, own)


def test_a_run_notes_what_it_goes_on_with_once_it_does(tmp_path):
    key, longer = jax.random.key(0), dataclasses.replace(TINY, env_steps=2 * TINY.env_steps)
    open_run(tmp_path, TINY, key, {"device": "one"}, RunTasks(("reach-v3",), {"own-task": "a digest"}))
    began = (tmp_path / "run.json").read_text()
    open_run(tmp_path, longer, key, {"device": "another"})
    assert (tmp_path / "run.json").read_text() == began
    note_start(tmp_path, longer, key, {"device": "another"}, RunTasks(("reach-v3",), {"own-task-2": "another digest"}))
    run = read_run(tmp_path)
    assert (run.config, json.loads((tmp_path / "run.json").read_text())["device"]) == (longer, "another")
    assert run.tasks == (("reach-v3",), {"own-task": "a digest", "own-task-2": "another digest"})


def test_the_folder_of_many_tasks_has_a_name_that_a_file_system_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key, names = jax.random.key(7), tuple(spec.name for spec in resolve("MT25"))
    folders = set()
    for tasks in (names, names[::-1], ",".join(names)):
        folder = run_folder(dataclasses.replace(TINY, tasks=tasks), key)
        assert re.fullmatch(r"25-tasks-[0-9a-f]{8}-ppo-7", folder.name)
        folder.mkdir(parents=True)
        folders.add(folder)
    assert len(folders) == 3
    few = names[:5]
    assert run_folder(dataclasses.replace(TINY, tasks=few), key).name == f"{'+'.join(few)}-ppo-7"


def test_64_bits_go_on_with_64_bits_only(tmp_path):
    with jax.enable_x64(True):
        state = saved(tmp_path)
        assert state.numbers.dtype == np.float64
        assert_bitwise_equal(restored(tmp_path), state)
    with pytest.raises(CheckpointError, match=r"64 bits and this process computes with 32.*JAX_ENABLE_X64=1"):
        restored(tmp_path)


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "fastsac", "clone"])
def test_an_iteration_keeps_the_types_of_a_train_state_of_64_bits(algorithm):
    with jax.enable_x64(True):
        learner = probe_learner(algorithm)
        state = jax.eval_shape(learner.init, jax.random.key(0))
        after, _ = jax.eval_shape(learner.iterate, state)
    assert state.env_state.obs.dtype == np.float64
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)


@pytest.mark.full
@pytest.mark.parametrize("algorithm", ["ppo", "sac", "fastsac", "clone"])
def test_runs_of_64_bits_go_on_bit_by_bit(tmp_path, algorithm):
    with jax.enable_x64(True):
        whole, _ = run_probe(tmp_path / "whole", 3, algorithm=algorithm)
        run_probe(tmp_path / "parts", 1, algorithm=algorithm)
        assert_bitwise_equal(run_probe(tmp_path / "parts", 3, algorithm=algorithm)[0], whole)


def test_checkpoints_without_a_record_are_read(tmp_path):
    """Those of before keys, width and digest were written."""
    state = saved(tmp_path)
    file = record_of(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text())["progress"]))
    assert_bitwise_equal(restored(tmp_path), state)


def test_every_data_file_that_is_cut_short_is_noticed_or_does_not_count(tmp_path):
    whole = tmp_path / "whole"
    state, newest, noticed = saved(whole), Path("checkpoints", "2"), 0
    for number, path in enumerate(path for path in (whole / newest).rglob("*") if "/d/" in str(path)):
        copy = tmp_path / str(number)
        shutil.copytree(whole, copy)
        part = copy / path.relative_to(whole)
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        try:
            assert_bitwise_equal(restored(copy, 2), state)
        except CheckpointError as error:
            assert f"{copy / newest} is broken" in str(error)  # noqa: PT017 - the other outcome is as good
            noticed += 1
    assert noticed


def test_an_altered_number_is_noticed(tmp_path):
    saved(tmp_path)
    file = record_of(tmp_path)
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"progress": record["progress"] | {"env_steps": 7}}))
    with pytest.raises(CheckpointError, match="not those that were written"):
        restored(tmp_path, 2)


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_ones(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    state = saved(tmp_path)
    checkpoints = Checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "save", full)
        with pytest.raises(CheckpointError, match=r"checkpoints/3 cannot be written .*No space left.*earlier ones"):
            checkpoints.save(state, Progress(3))
    checkpoints.close()
    assert_bitwise_equal(restored(tmp_path), state)


@pytest.mark.full
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("algorithm", [TINY.algorithm, TINY_SAC], ids=["ppo", "sac"])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_the_tasks_are_trained_with_any_width_and_key(tmp_path, algorithm, x64, impl):
    config = dataclasses.replace(TINY, algorithm=algorithm, eval_every=1_000)
    with jax.enable_x64(x64):
        key = jax.random.key(3, impl=impl)
        train(config, key, tmp_path / "parts")
        longer = dataclasses.replace(config, env_steps=64)
        parts = train(longer, key, tmp_path / "parts")
        whole = train(longer, key, tmp_path / "whole")
        assert_bitwise_equal(parts.state, whole.state)
        assert_bitwise_equal(load(tmp_path / "parts").state, whole.state)
