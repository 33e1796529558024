"""`mjx-metaworld train`: learn tasks from scratch; the same command again goes on from the last checkpoint."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from mjx_metaworld.cli.benchmark import claim_devices, claim_devices_of_all, default_devices
from mjx_metaworld.cli.imports import FLAG, given_flags
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.cli.output import print_line
from mjx_metaworld.inputs.folders import check_folder
from mjx_metaworld.inputs.keys import key_of_seed
from mjx_metaworld.inputs.settings import physics_of, with_settings
from mjx_metaworld.processes.cluster import connect
from mjx_metaworld.processes.hosts import from_leader, is_leader
from mjx_metaworld.suites import in_metaworld, resolve
from mjx_metaworld.training.checkpoint import BEST
from mjx_metaworld.training.config import ALGORITHMS, PRESETS, TrainConfig, preset, sight_of, tasks_text
from mjx_metaworld.training.run_folder import RUN_FILE, read_run
from mjx_metaworld.training.sinks import weights_and_biases
from mjx_metaworld.training.train import run_folder, train

_DEFAULT_TASKS = "reach-v3"


@dataclass(frozen=True)
class Train:
    """Learn tasks from scratch; the same command again goes on from the last checkpoint."""

    # What to learn; by default the tasks of --preset, or reach-v3 where none is given.
    tasks: Annotated[Positional[str | None], arg(metavar="[SUITE|TASK]")] = None
    algo: Literal["ppo", "sac", "fastsac", "rl2", "clone"] = "ppo"
    preset: str | None = None  # a ready-made configuration; by default that of the task on CPU, if there is one
    seed: int = 0
    env_steps: int | None = None  # over all lanes; with a larger number a finished run goes on
    eval_every: int | None = None  # environment steps between two evaluations
    eval_goals: int | None = None  # of the 50 frozen goals a task
    checkpoint_every: int | None = None  # environment steps between two checkpoints
    stop_at_success: float | Literal["never"] | None = None  # end once an evaluation's mean success is at least this
    randomise: tuple[str, ...] = ()  # drawn anew in every training episode: friction=0.5,1.5 or module:function
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default: box_pairs=20 max_contacts=64
    set: tuple[str, ...] = ()  # the algorithm's settings, such as num_envs=64 hidden=[64,64]
    devices: int | None = None  # divide environments and updates among so many (of each process); None: see the guide
    distributed: bool = False  # be one of several processes: of Slurm, Open MPI, Cloud TPU, or started by hand
    output: Path | None = None  # folder of the run; by default out/train/TASKS-ALGO-SEED
    wandb: Annotated[str | None, arg(metavar="PROJECT")] = None  # of Weights & Biases that gets the figures, too


@dataclass(frozen=True)
class TrainResult:
    """Progress of a run."""

    folder: str
    env_steps: int
    seconds: float
    success: float  # of the last evaluation
    best_success: float  # of any evaluation


def _notes() -> str:
    """Names for `--preset` and `--set`, as the help shows them."""
    width = max(len(entry.name) for entry in PRESETS) + 2
    presets = "\n".join(f"  {entry.name:{width}}{entry.meant_for}" for entry in PRESETS)
    settings = "\n".join(
        f"  --algo {name}: " + " ".join(f"{key}={_as_typed(value)}" for key, value in vars(known.config()).items())
        for name, known in ALGORITHMS.items()
    )
    return f"\n\npresets:\n{presets}\n\nsettings for --set, with their defaults:\n{settings}"


def _as_typed(value: object) -> str:
    """A setting's value as `--set` takes it."""
    return json.dumps(value, separators=(",", ":"))


NOTES = _notes()


def run_train(args: Train, console: Console) -> TrainResult:
    """Train, with a row of the table for every evaluation.

    Raises:
        ValueError: for unknown tasks, presets or settings, a bad number of devices, or a file in the folder's place.
        CheckpointError: if the folder holds another run or a broken checkpoint, or cannot be written.
        LockedError: if another process trains in the folder.
        LeaderError: in the other processes of a run, for these errors of the first.
        LostError: if another process of the run has ended.
        ImportError: if wandb is asked for and missing.
    """
    config = configuration(args)
    if args.distributed:
        connect()
        devices = claim_devices_of_all(config.algorithm.num_envs, args.devices)
        console = console if is_leader() else Console(quiet=True)
    else:
        # To look for what suits starts JAX, after which a CPU's devices cannot become more.
        devices = claim_devices(_usual_devices(config) if args.devices is None else args.devices)
    sinks = [weights_and_biases(args.wandb)] if args.wandb is not None and is_leader() else []
    folder, impl = from_leader(lambda: _begun(args, config))
    folder, key = Path(folder), key_of_seed(args.seed, impl)
    print_line(console, _announcement(args, config, folder))
    trained = train(
        config,
        key,
        folder,
        console,
        devices if len(devices) > 1 else None,  # one needs no mesh: this is the program of a plain `VectorEnv`
        on_loaded=release_freed,
        again=command_of(args),
        sinks=sinks,
    )
    progress = trained.progress
    tasks = tasks_text(config)
    print_line(
        console,
        f"{tasks}: success {progress.success:.1%} on the frozen goals after {progress.env_steps:,} env steps, "
        f"{progress.seconds:,.0f} s. {suggestion(tasks, folder, config.randomise)}",
    )
    best = trained.best or progress
    if best.success > progress.success:
        kept = f"kept in {folder / BEST}."
        print_line(console, f"Best: {best.success:.1%} after {best.env_steps:,} env steps, {kept}")
    return TrainResult(str(folder), progress.env_steps, round(progress.seconds, 1), progress.success, best.success)


def _announcement(args: Train, config: TrainConfig, folder: Path) -> str:
    """A line on what is about to be trained, by which settings, how long, and where."""
    named = _preset_of(args)
    by = args.algo if named is None else f"the preset {named}"
    bar = config.stop_at_success
    ends = "" if bar is None else f", or until {bar:.1%} of the frozen goals are reached"
    return f"{tasks_text(config)} by {by}, for {config.env_steps:,} env steps{ends}, in {folder}."


def _usual_devices(config: TrainConfig) -> int:
    """Devices where no number is given; cameras use all cores of a CPU, however many devices these are to JAX."""
    return 1 if sight_of(config.algorithm) else default_devices(config.algorithm.num_envs)


def _begun(args: Train, config: TrainConfig) -> tuple[str, str | None]:
    """Folder of the run, and the implementation of its random keys if it has begun.

    Raises:
        ValueError: if a file is in the folder's place.
        CheckpointError: if the run cannot be read.
    """
    folder = args.output or run_folder(config, key_of_seed(args.seed))
    check_folder(folder)
    return str(folder), read_run(folder).key_impl if (folder / RUN_FILE).exists() else None


def command_of(args: Train) -> str:
    """The command line with these arguments, as a shell takes it."""
    words = ["mjx-metaworld", "train", *([] if args.tasks is None else [args.tasks])]
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        if field.name != "tasks" and value != field.default:
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words) + given_flags()


def suggestion(tasks: str, folder: Path, randomise: Sequence[str] = ()) -> str:
    """The command that evaluates what was trained, beside metaworld where that has all the tasks.

    Opening a run imports nothing, so the modules of its own terms are named.
    """
    command = f"mjx-metaworld eval {shlex.quote(str(folder))}"
    modules = dict.fromkeys(term.partition(":")[0] for term in randomise if ":" in term)
    command_flags = given_flags() + "".join(f" {FLAG} {shlex.quote(module)}" for module in modules)
    if all(in_metaworld(spec) for spec in resolve(tasks)):
        return f"Evaluate beside CPU metaworld: {command} --reference{command_flags}"
    return f"Evaluate: {command}{command_flags}"


def _preset_of(args: Train) -> str | None:
    """Name of the preset that is asked for, or of that of the tasks and the algorithm for a CPU, if there is one."""
    if args.preset is not None:
        return args.preset
    tasks = (args.tasks or _DEFAULT_TASKS).removesuffix("-train")  # meta-learning is named by both splits
    own = f"{tasks}-cpu" if args.algo == "ppo" else f"{tasks}-{args.algo}-cpu"
    return own if any(entry.name == own for entry in PRESETS) else None


def configuration(args: Train) -> TrainConfig:
    """The preset, or the algorithm's defaults, with what the command line changes.

    Raises:
        ValueError: if something is unknown or does not fit.
    """
    named = _preset_of(args)
    given = _DEFAULT_TASKS if args.tasks is None else args.tasks
    config = TrainConfig(given, ALGORITHMS[args.algo].config()) if named is None else preset(named)
    tasks = config.tasks if args.tasks is None else args.tasks
    names = ("env_steps", "eval_every", "eval_goals", "checkpoint_every", "stop_at_success")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.stop_at_success == "never":
        changes["stop_at_success"] = None
    if args.randomise:
        changes["randomise"] = args.randomise
    if args.physics:
        changes["physics"] = physics_of(args.physics, config.physics)
    algorithm = with_settings(config.algorithm, args.set)
    if type(algorithm) is not ALGORITHMS[args.algo].config:
        raise ValueError(f"the preset {args.preset!r} is not for --algo {args.algo}")
    return dataclasses.replace(config, tasks=tasks, algorithm=algorithm, **changes)
