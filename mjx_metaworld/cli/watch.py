"""Something to watch, by its name on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from mjx_metaworld.cli.acting import check_no_policy, is_trajectory, open_acting, open_trajectory
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.view.dataset import is_dataset, replay_dataset
from mjx_metaworld.view.sources import Simulation, Source, recording_of, spread

_LANES = 4  # at most, where nobody says how many


def open_source(
    bars: Progress,
    what: str,
    policy: str,
    num_lanes: int | None,
    num_steps: int,
    seed: int,
    physics: Sequence[str] = (),
) -> tuple[Source, str]:
    """Frames to watch, and a line of Markdown that says of what.

    Args:
        bars: progress bars, for what takes a while.
        what: tasks, the folder of a training run or of an exported dataset, or a trajectory's file.
        policy: of tasks, by its name, see `load_policy`.
        num_lanes: environments side by side; None for one a task, at most 4.
        num_steps: control steps an episode.
        seed: of what a policy draws.
        physics: fields of the engine's accuracy that are other than the default or the run's, as `name=value`.

    Raises:
        ValueError: if there is no such thing.
        CheckpointError: for a run whose checkpoint cannot be used.
    """
    if is_trajectory(what):
        if num_lanes is not None:
            raise ValueError(f"lanes is for what is simulated; {what} has its own, got --lanes {num_lanes}")
        trajectory = open_trajectory(what, policy, physics)
        loading = bars.add_task(f"loading {', '.join(trajectory.tasks[:3])}", total=None)
        recording = recording_of(trajectory.env, trajectory)
        bars.remove_task(loading)
        return recording, f"**{what}**"
    if is_dataset(Path(what)):
        check_no_policy(what, policy)
        simulating = bars.add_task("simulating the dataset's episodes", total=None)
        _, recording, difference = replay_dataset(Path(what), num_lanes or _LANES, physics_of(physics))
        bars.remove_task(simulating)
        return recording, f"**{what}**, simulated again: observations differ by {difference:.1g} at most"
    acting = open_acting(bars, what, policy, num_steps, physics)
    num_tasks = len(acting.env.tasks)
    choice = spread(num_tasks, num_lanes or min(num_tasks, _LANES))
    return Simulation(acting.env, acting.act, choice, seed), acting.title
