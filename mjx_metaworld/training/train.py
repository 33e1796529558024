"""`train`: a run on Meta-World tasks, from its configuration to a folder with checkpoints and records."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Key
from rich.console import Console

from mjx_metaworld.build.identity import declarations
from mjx_metaworld.build.machine import describe_machine, versions
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.inputs.keys import one_key
from mjx_metaworld.physics.config import PhysicsConfig, changed_fields
from mjx_metaworld.processes.cache import digest_of
from mjx_metaworld.processes.hosts import LostError, any_process, exchange, from_leader, is_leader, is_loss
from mjx_metaworld.processes.locks import exclusive
from mjx_metaworld.processes.signals import postponed, termination
from mjx_metaworld.randomise.naming import missing_module, term_of
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, goals, resolve
from mjx_metaworld.training.algorithm import Algorithm, Observe, observation, training_env
from mjx_metaworld.training.checkpoint import CHECKPOINTS, CheckpointError, Checkpoints, Progress, policy_part
from mjx_metaworld.training.config import (
    ALGORITHMS,
    TrainConfig,
    algorithm_name,
    as_json,
    differences,
    tasks_text,
    trial_episodes_of,
)
from mjx_metaworld.training.devices import own_part
from mjx_metaworld.training.evaluation import make_evaluator
from mjx_metaworld.training.logging import Recorder, Unrecorded, task_table
from mjx_metaworld.training.loop import Schedule, begin, finished, run_loop
from mjx_metaworld.training.recurrent import RecurrentPolicy
from mjx_metaworld.training.run_folder import (
    LOCK_FILE,
    RUN_FILE,
    RunTasks,
    find_checkpoint,
    key_words,
    note_start,
    open_run,
    other_tasks,
    read_run,
)
from mjx_metaworld.training.shared_checkpoints import SharedCheckpoints
from mjx_metaworld.training.sinks import MakeSink, Sink, SinkError, open_sinks
from mjx_metaworld.training.state_arrays import key_impl
from mjx_metaworld.training.trial_evaluation import TrialLength, make_trial_evaluator
from mjx_metaworld.types import Policy
from mjx_metaworld.vector import Device, VectorEnv

_LONGEST_TASKS = 190  # bytes in a folder's name, for which file systems have 255 with algorithm, seed and digest
_LAST_LINE: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}


class Trained(NamedTuple):
    """Result of a run, or of its newest checkpoint."""

    config: TrainConfig
    env: MetaWorldEnv  # as its scenes are, whatever training has randomised
    state: Any  # the algorithm's train state
    policy: Policy  # deterministic; acts on what `observe` makes of states
    progress: Progress
    observe: Observe = observation
    best: Progress | None = None  # at the run's best evaluation, whose policy `load(folder / "best")` has
    recurrent: RecurrentPolicy | None = None  # instead of `policy`, of one that learns in trials


def train(
    config: TrainConfig,
    key: Key[Array, ""],
    folder: Path | str | None = None,
    console: Console | None = None,
    devices: Sequence[Device] | None = None,
    *,
    on_loaded: Callable[[], None] = lambda: None,
    again: str = "call train again",
    sinks: Sequence[MakeSink] = (),
) -> Trained:
    """Train, or go on with the run in the folder from its newest checkpoint, with the same random stream.

    Args:
        config: what to train, and how long.
        key: the only source of randomness.
        folder: of this run alone: `run.json`, `checkpoints/`, `best/`, `metrics.jsonl`, `tensorboard/`, `success.png`;
            by default what `run_folder` names.
        console: where table and progress bar go; nowhere by default.
        devices: divide the environments and the updates among these; one by default, or those of all processes that
            `jax.distributed` has connected. A run may go on on another number of devices or processes, with results
            that differ by rounding (and by the actions that an evaluation in trials draws). Of several processes all
            call this alike, and the first alone writes and prints.
        on_loaded: called when the tasks are loaded, before anything is compiled.
        again: what makes the run go on, such as a command, for the last line of one that was asked to end.
        sinks: make what gets the run's figures, too, such as `weights_and_biases(project)`.

    Raises:
        ValueError: for unknown tasks, a batch too small for them, or one that the devices do not divide; if connected
            processes differ in what to train, or one of them has none of the devices.
        CheckpointError: if the folder holds another run, a broken checkpoint, or something else, or cannot be written.
        TypeError: if `key` is not one random key.
        LockedError: if another process trains in the folder.
        LeaderError: in the other processes, if the first raises one of these of the folder.
        DivergedError: if networks or statistics are no longer finite.
        SinkError: if a sink cannot reach or write what it needs.
        LostError: if another process has ended without the others.
        KeyboardInterrupt: after SIGINT or SIGTERM (as `Terminated`), when the iteration is done and saved.
        ImportError: if the extra `train` is not installed.
    """
    began = time.perf_counter()
    console = console if console is not None and is_leader() else Console(quiet=True)
    devices = _devices_of_all(devices)
    key = one_key(key)
    _check_alike(config, key)
    folder = Path(from_leader(lambda: str(folder or run_folder(config, key))))
    with termination(), contextlib.ExitStack() as held:
        try:
            with console.status("Loading the tasks"):
                env, algorithm = build(config, devices)
            on_loaded()
        except KeyboardInterrupt:
            console.print(f"Ended before the tasks were loaded. Go on: {again}", **_LAST_LINE)
            raise

        tasks = RunTasks(tuple(spec.name for spec in env.tasks), declarations(env.tasks))

        def hold() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(exclusive(folder, folder / LOCK_FILE))
            open_run(folder, config, key, _facts(devices), tasks)

        from_leader(hold)
        checkpoints = Checkpoints(folder) if jax.process_count() == 1 else SharedCheckpoints(folder)
        try:
            made: list[Sink] = []
            from_leader(lambda: made.extend(open_sinks(sinks, folder, config)))
            for sink in made:
                held.callback(sink.close)
            noted = functools.partial(note_start, folder, config, key, _facts(devices), tasks)
            state, progress = _run(config, key, folder, console, (env, algorithm), checkpoints, began, made, noted)
        except KeyboardInterrupt:
            console.print(_going_on(folder, checkpoints.newest(), algorithm, again), **_LAST_LINE)
            raise
        except OSError as error:  # a full disk, say
            going_on = _going_on(folder, checkpoints.newest(), algorithm, again)
            raise CheckpointError(f"{folder} cannot be written: {error}. {going_on}") from error
        except SinkError as error:
            raise SinkError(f"{error}. {_going_on(folder, checkpoints.newest(), algorithm, again)}") from error
        except Exception as error:
            if not is_loss(error):
                raise
            going_on = _going_on(folder, checkpoints.newest(), algorithm, again)
            reason = (str(error).splitlines() or [""])[0]
            raise LostError(f"another process has ended or cannot be reached ({reason}). {going_on}") from error
        else:
            best = checkpoints.best()
        finally:
            checkpoints.close()
    any_process(False)  # the others do not end before the first has closed all it writes
    return _trained(config, env, algorithm, state, progress, best)


def _run(
    config: TrainConfig,
    key: Key[Array, ""],
    folder: Path,
    console: Console,
    built: tuple[MetaWorldEnv, Algorithm],
    checkpoints: Checkpoints | SharedCheckpoints,
    began: float,
    sinks: Sequence[Sink],
    noted: Callable[[], None],
) -> tuple[Any, Progress]:
    """Train in an opened folder, from its newest checkpoint or from the start; the last train state and progress."""
    env, algorithm = built
    schedule = Schedule(config.env_steps, config.eval_every, config.checkpoint_every, config.stop_at_success)
    with console.status("Compiling the start"):
        state, progress = begin(algorithm, key, checkpoints)
    if finished(progress, schedule):
        done = f"{folder} is done: {progress.env_steps:,} env steps, success {progress.success:.1%}."
        console.print(done, **_LAST_LINE)
        return state, progress
    from_leader(noted)  # but of a run that is done the record stays
    if progress.iteration:
        console.print(f"Going on from the checkpoint at {progress.env_steps:,} env steps.")
    names = [spec.name for spec in env.tasks]
    with console.status("Resetting to the frozen goals"):
        evaluate = _evaluator(config, env, algorithm)

    def run(asked: Callable[[], bool]) -> tuple[Any, Progress]:
        written = Recorder(folder, names, config.env_steps, console, progress, sinks) if is_leader() else Unrecorded()
        with written as records:
            watched, start = records.watched(evaluate), (state, progress)
            return run_loop(algorithm, watched, schedule, start, records, checkpoints, began, asked)

    if jax.process_count() == 1:
        state, progress = run(lambda: False)
    else:
        with postponed("this iteration", insist=True) as received:
            state, progress = run(lambda: any_process(received()))
    table = task_table(folder) if is_leader() else None
    if table is not None:
        console.print(table)
    return state, progress


def _devices_of_all(devices: Sequence[Device] | None) -> Sequence[Device] | None:
    """The devices to train on; those of all processes where there are several.

    Raises:
        ValueError: if one of several processes has none of them.
    """
    if jax.process_count() == 1:
        return devices
    devices = jax.devices() if devices is None else devices
    without = set(range(jax.process_count())) - {device.process_index for device in devices}
    if without:
        raise ValueError(f"devices must be some of every process, got none of {sorted(without)}")
    return devices


def _check_alike(config: TrainConfig, key: Key[Array, ""]) -> None:
    """Check that all processes are to train the same.

    Raises:
        ValueError: if they are not.
    """
    told = exchange(int(digest_of(as_json(config), key_words(key), key_impl(key))[:15], 16))
    if len(set(told)) > 1:
        differing = [index for index, number in enumerate(told) if number != told[0]]
        raise ValueError(f"processes {differing} are to train something else than process 0; start all of them alike")


def _evaluator(config: TrainConfig, env: MetaWorldEnv, algorithm: Algorithm) -> Callable[[Any], EpisodeStats]:
    """The evaluation on the frozen goals; in trials as long as those of training, of which the last episode counts."""
    frozen = [vectors[: config.eval_goals] for vectors in goals(config.tasks, config.goals_seed)]
    trial_episodes = trial_episodes_of(config.algorithm)
    if algorithm.recurrent is None or trial_episodes is None:
        return make_evaluator(env, frozen, algorithm.policy, lanes=algorithm.sharding, observe=algorithm.observe)
    length = TrialLength(trial_episodes - 1)
    in_trials = make_trial_evaluator(env, frozen, algorithm.recurrent, length, lanes=algorithm.sharding)
    return lambda state: in_trials(state).counted()


def _going_on(folder: Path, newest: int | None, algorithm: Algorithm, again: str) -> str:
    """The last line of a run that was asked to end."""
    if not is_leader():
        return f"Go on: {again}"
    if newest is None:
        return f"Ended before the first checkpoint in {folder}. Begin anew: {again}"
    steps = newest * algorithm.steps_per_iteration
    return f"Ended with the checkpoint at {steps:,} env steps in {folder}. Go on: {again}"


def run_folder(config: TrainConfig, key: Key[Array, ""]) -> Path:
    """Default folder of a run: its tasks, its algorithm and its seed below `out/train`.

    Instead of tasks whose names are too long for a folder's it has their number and a digest. Where the folder holds a
    run of other settings, its name ends in a digest of these, so that each run of a sweep has its own and the same
    command finds it again.
    """
    tasks = config.tasks if isinstance(config.tasks, str) else "+".join(config.tasks)
    if len(tasks.encode()) > _LONGEST_TASKS:
        tasks = f"{len(resolve(config.tasks))}-tasks-{digest_of(tasks)[:8]}"
    words = key_words(key)
    half = len(words) // 2
    if half > 1 and words[:half] == words[half:]:  # "rbg" has the words of the default twice
        words = words[:half]
    seed = "-".join(str(word) for word in words).removeprefix("0-")  # of `jax.random.key(7)` 7 alone
    folder = Path("out", "train", f"{tasks}-{algorithm_name(config.algorithm)}-{seed}")
    if not (folder / RUN_FILE).exists() or not differences(read_run(folder).config, config):
        return folder
    # Not how long and how often.
    physics = changed_fields(config.physics).items()
    evaluated = config.eval_goals, config.goals_seed
    evaluated = () if evaluated == (NUM_GOALS, GOALS_SEED) else evaluated  # runs of the usual goals keep their names
    shaping = digest_of(config.tasks, config.reward_version, config.algorithm, *config.randomise, *physics, *evaluated)
    return folder.with_name(f"{folder.name}-{shaping[:6]}")


def load(path: Path | str, physics: PhysicsConfig | None = None) -> Trained:
    """A checkpoint of a run.

    Args:
        path: the run's folder, of which the newest counts; its folder `best`, whose train state lacks what only going
            on needs; or one of the numbered folders below either.
        physics: accuracy of its environment; the run's own when None.

    Raises:
        CheckpointError: if the path is of no run, the checkpoint is not there or broken, its suite has other tasks by
            now, or the run draws by a function of a module that is not imported yet.
        ImportError: if the extra `train` is not installed.
    """
    place = find_checkpoint(Path(path))
    if not (place.run / place.kind).is_dir():
        raise CheckpointError(f"{path} holds no checkpoint yet")
    run = read_run(place.run)
    config = run.config if physics is None else dataclasses.replace(run.config, physics=physics)
    _import_nothing(place.run, config)
    other = other_tasks(run, [spec.name for spec in resolve(config.tasks)])
    if other is not None:
        raise CheckpointError(f"the run in {place.run} has {other}: {tasks_text(config)} is another suite here")
    env, algorithm = build(config)
    checkpoints = Checkpoints(place.run, place.kind)
    init = algorithm.init if place.kind == CHECKPOINTS else lambda key: policy_part(algorithm.init(key))
    try:
        restored = checkpoints.restore(init, number=place.number)
    finally:
        checkpoints.close()
    if restored is None:
        raise CheckpointError(f"{path} holds no checkpoint yet")
    state, progress = restored
    return _trained(config, env, algorithm, state, progress, None)


def _import_nothing(folder: Path, config: TrainConfig) -> None:
    """Refuse a run whose terms lie in a module that is yet to be imported: a folder may be anybody's."""
    missing = [module for module in map(missing_module, config.randomise) if module is not None]
    if missing:
        raise CheckpointError(
            f"the run in {folder} draws by a function of the module {missing[0]}, and opening a run imports nothing: "
            f"import it before, on the command line by --import {missing[0]}"
        )


def _trained(
    config: TrainConfig,
    env: MetaWorldEnv,
    algorithm: Algorithm,
    state: Any,
    progress: Progress,
    best: Progress | None,
) -> Trained:
    acting = state if jax.process_count() == 1 else own_part(policy_part(state))
    recurrent = None if algorithm.recurrent is None else algorithm.recurrent(acting)
    return Trained(config, env, state, algorithm.policy(acting), progress, algorithm.observe, best, recurrent)


def environment(config: TrainConfig, randomise: Sequence[str] = ()) -> MetaWorldEnv:
    """Environment of a configuration's tasks, with the observations that its policy takes.

    Args:
        config: of a run.
        randomise: terms, see `randomise.naming`; none for the scenes as they are.

    Raises:
        ValueError: for unknown tasks or terms.
    """
    return make(
        config.tasks,
        one_hot=len(resolve(config.tasks)) > 1 and trial_episodes_of(config.algorithm) is None,
        reward_version=config.reward_version,
        max_episode_steps=config.algorithm.episode_steps,
        randomise=[term_of(text) for text in randomise] or None,
        physics=config.physics,
    )


def build(config: TrainConfig, devices: Sequence[Device] | None = None) -> tuple[MetaWorldEnv, Algorithm]:
    """Environment of a configuration as its scenes are, and the algorithm; tasks have as many lanes, but for one.

    The algorithm's own lanes draw what is to be randomised.

    Raises:
        ValueError: for unknown tasks, a batch too small for them, or one that the devices do not divide.
    """
    env = environment(config)
    drawing = environment(config, config.randomise) if config.randomise else env
    lanes = VectorEnv(drawing, config.algorithm.num_envs, resample_task=False, devices=devices)
    learning = training_env(lanes, trial_episodes_of(config.algorithm))
    return env, ALGORITHMS[algorithm_name(config.algorithm)].make(config.algorithm, learning)


def _facts(devices: Sequence[Device] | None) -> dict[str, Any]:
    packages = ("mjx-metaworld", "jax", "jaxlib", "flax", "optax", "mujoco", "metaworld")
    return {
        "device": jax.devices()[0].device_kind,
        "devices": 1 if devices is None else len(devices),
        "processes": jax.process_count(),
        "machine": describe_machine(),
        "versions": versions(*packages),
    }
