"""Expert demonstrations as a LeRobot dataset."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mjx_metaworld.processes.installed import install_command

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
except ImportError as error:
    raise ImportError(f"the exporter needs rich: {install_command('lerobot')}") from error

from mjx_metaworld.adapters.lerobot.camera import draw
from mjx_metaworld.adapters.lerobot.demonstrations import Demonstration, demonstrate
from mjx_metaworld.adapters.lerobot.tasks import TaskTexts, distinct_tasks, task_groups, task_texts
from mjx_metaworld.adapters.lerobot.vector_env import AGENT_POS, ENVIRONMENT_STATE
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.inputs.folders import check_folder
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.processes.locks import exclusive
from mjx_metaworld.processes.signals import postponed, termination
from mjx_metaworld.rendering.render import Renderer, check_renderer
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS
from mjx_metaworld.view.dataset import note_episode

Images = Literal["none", "image", "video"]
_ROBOT = "metaworld"  # as in LeRobot's own Meta-World datasets
_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}  # a line with a path or a name


@dataclass(frozen=True)
class Export:
    """Write episodes of the scripted experts as a LeRobot dataset."""

    tasks: str = "MT50"  # tasks, difficulty groups and suites, separated by commas
    output: Path = Path("out/metaworld_experts")  # a new directory
    repo_id: str = "local/metaworld_experts"  # the dataset's name
    episodes: int = 50  # of each task
    seed: int = 0  # of each task's first episode, meaning the goals of LeRobot's own environment; the next has seed + 1
    keep_failures: bool = False  # keep episodes without success instead of trying the next seeds in their place
    attempts: int = 4  # give a task up after so many times `episodes` attempts
    max_episode_steps: int = EPISODE_STEPS
    physics: tuple[str, ...] = ()  # the engine's accuracy where not the default: box_pairs=20 max_contacts=64
    batch_size: int = 256  # episodes simulated at once
    images: Images = "none"  # pictures of LeRobot's camera, as PNG files' bytes or as MP4 files
    image_size: int = 480  # pixels a side
    renderer: Renderer = "opengl"  # or device, faster and all but alike; auto: device where it can draw
    texts: TaskTexts = "lerobot"  # "corrected": push-back-v3 does not share the text of push-v3

    def __post_init__(self) -> None:
        for name in ("episodes", "attempts", "max_episode_steps", "batch_size", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.images not in get_args(Images):
            raise ValueError(f"unknown images {self.images!r}; available: {', '.join(get_args(Images))}")
        check_renderer(self.renderer)
        physics_of(self.physics)  # raises for what is none
        task_groups(self.tasks)  # raises for unknown names


class MissingLeRobotError(ImportError):
    """LeRobot, which writes the dataset, cannot be imported."""


@dataclass(frozen=True)
class Written:
    """Number of a task's episodes in the dataset."""

    task: str
    episodes: int


@dataclass(frozen=True)
class Exported:
    """The dataset that was written."""

    output: str
    repo_id: str
    written: tuple[Written, ...]


def run_export(args: Export, console: Console) -> Exported:
    """Write the dataset and print how many episodes each task got.

    Raises:
        MissingLeRobotError: if LeRobot is not installed.
        ValueError: if the output directory exists, or a file keeps it from being made.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        written = export(args, progress)
    short = {name: count for name, count in written.items() if count < args.episodes}
    console.print(f"{written.total()} episodes of {len(written)} tasks in {args.output} ({args.repo_id})", **_AS_IT_IS)
    for name, count in short.items():
        console.print(f"{name}: only {count} of {args.episodes} episodes succeeded", style="yellow", **_AS_IT_IS)
    return Exported(str(args.output), args.repo_id, tuple(Written(name, count) for name, count in written.items()))


def export(args: Export, progress: Progress | None = None) -> Counter[str]:
    """Write a LeRobot dataset of expert episodes; asked to end before it is done, it leaves one of whole episodes.

    Args:
        args: what to write.
        progress: bars to draw, if any.

    Returns:
        How many episodes each task got.

    Raises:
        MissingLeRobotError: if LeRobot is not installed.
        ValueError: if the output directory exists, or a file keeps it from being made.
        LockedError: if another process writes it.
        KeyboardInterrupt: after SIGINT or SIGTERM (as `Terminated`), when the dataset has been closed.
    """
    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
        from lerobot.envs.metaworld import TASK_DESCRIPTIONS
    except ImportError as error:
        raise MissingLeRobotError(
            f"LeRobot cannot be imported ({error}); it writes the dataset. Install it beside this package: "
            f"{install_command('lerobot')}"
        ) from error
    if args.output.exists():
        raise ValueError(f"output {args.output} exists; name a new directory")
    check_folder(args.output)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    lock = args.output.with_name(f"{args.output.name}.lock")  # beside it: LeRobot makes the directory itself
    with exclusive(args.output, lock), termination():
        return _write(args, progress or Progress(disable=True), LeRobotDataset, TASK_DESCRIPTIONS)


def _write(args: Export, bars: Progress, dataset_class: Any, descriptions: dict[str, str]) -> Counter[str]:
    """The dataset, by LeRobot's class and with LeRobot's texts of the tasks."""
    compiling = bars.add_task("loading and compiling", total=1)
    tasks, physics = distinct_tasks(task_groups(args.tasks)), physics_of(args.physics)
    env = make(tasks, max_episode_steps=args.max_episode_steps, physics=physics)
    texts = task_texts(args.texts, descriptions)
    dataset = dataset_class.create(
        args.repo_id,
        CONTROL_RATE,
        features(args),
        root=args.output,
        robot_type=_ROBOT,
        use_videos=args.images == "video",
    )
    written = Counter({spec.name: 0 for spec in env.tasks})
    writing = bars.add_task("episodes", total=len(env.tasks) * args.episodes)
    demonstrations = demonstrate(
        env,
        args.episodes,
        seed=args.seed,
        only_successes=not args.keep_failures,
        max_attempts=args.attempts * args.episodes,
        batch_size=min(args.batch_size, len(env.tasks) * args.episodes),
        on_compiled=lambda: bars.advance(compiling),
    )
    try:
        for demonstration in demonstrations:
            name = env.tasks[demonstration.task].name
            rows = frames(env, demonstration, args)
            with postponed("this episode"):
                for frame in rows:
                    dataset.add_frame({**frame, "task": texts[name]})
                dataset.save_episode()
                note_episode(args.output, name, np.asarray(demonstration.last_state.episode.rand_vec))
                written[name] += 1
            bars.advance(writing)
    except KeyboardInterrupt:
        bars.console.print(_left(args, written), **_AS_IT_IS)
        raise
    finally:
        with postponed(""):
            dataset.finalize()  # without it the files lack their ends
    return written


def _left(args: Export, written: Counter[str]) -> str:
    """The last line of an export that was asked to end."""
    if not written.total():
        return f"Ended before the first episode; delete {args.output} and export again."
    return (
        f"Ended: {args.output} holds {written.total()} whole episodes and can be read. An export does not go on in a "
        "folder: delete it to begin anew, or export the rest to another."
    )


def features(args: Export) -> dict[str, dict[str, Any]]:
    """The columns of the dataset, as `LeRobotDataset.create` takes them."""
    columns: dict[str, dict[str, Any]] = {
        "observation.state": {"dtype": "float32", "shape": (AGENT_POS,), "names": ["x", "y", "z", "gripper"]},
        "observation.environment_state": {"dtype": "float32", "shape": (ENVIRONMENT_STATE,), "names": ["keypoints"]},
        "action": {"dtype": "float32", "shape": (4,), "names": ["x", "y", "z", "gripper"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    if args.images != "none":
        shape = (args.image_size, args.image_size, 3)
        columns["observation.image"] = {"dtype": args.images, "shape": shape, "names": ["height", "width", "channels"]}
    return columns


def frames(env: MetaWorldEnv, demonstration: Demonstration, args: Export) -> list[dict[str, Any]]:
    """The rows of an episode, without its text."""
    recorded = demonstration.frames
    steps = len(recorded.reward)
    columns = {
        "observation.state": recorded.obs[:, :AGENT_POS].astype(np.float32),
        "observation.environment_state": recorded.obs.astype(np.float32),
        "action": recorded.action.astype(np.float32),
        "next.reward": recorded.reward.astype(np.float32)[:, None],
        "next.success": recorded.success[:, None],
        "next.done": (np.arange(steps) == steps - 1)[:, None],
    }
    if args.images != "none":
        columns["observation.image"] = draw(
            env, demonstration.states(), np.arange(steps), args.image_size, args.image_size, args.renderer
        )
    return [{name: column[step] for name, column in columns.items()} for step in range(steps)]
