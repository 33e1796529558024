"""Policies at work, by their names on the command line: tasks and a policy, or a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from mjx_metaworld.cli.run import build, check_policy_name, load_policy
from mjx_metaworld.episodes import batched
from mjx_metaworld.inputs.folders import no_run
from mjx_metaworld.inputs.settings import physics_of
from mjx_metaworld.trajectory import SUFFIX, Trajectory
from mjx_metaworld.view.acting import Acting, acting_of_run, is_run

EXPERT = "expert"  # the policy where none is named


def is_trajectory(what: str) -> bool:
    """True of the name of a trajectory's file."""
    return what.endswith(SUFFIX)


def check_no_policy(what: str, policy: str) -> None:
    """Check that no policy is named for a recording.

    Raises:
        ValueError: if one is.
    """
    if policy != EXPERT:
        raise ValueError(f"{what} is a recording; --policy {policy} is for tasks")


def open_trajectory(what: str, policy: str = EXPERT, physics: Sequence[str] = ()) -> Trajectory:
    """Read a trajectory's file.

    Raises:
        ValueError: if there is none, or a policy or `physics` is given, which are for what is simulated.
    """
    check_no_policy(what, policy)
    if physics:
        raise ValueError(f"physics is for what is simulated; {what} holds states")
    if not Path(what).is_file():
        raise ValueError(f"there is no file {what}")
    return Trajectory.load(what)


def open_acting(bars: Progress, what: str, policy: str, num_steps: int, physics: Sequence[str] = ()) -> Acting:
    """The policy and the environment that are meant.

    Args:
        bars: progress bars, for what takes a while.
        what: tasks, or the folder of a training run or of one of its checkpoints.
        policy: of tasks, by its name, see `load_policy`.
        num_steps: control steps an episode of tasks; runs have their own.
        physics: fields of the engine's accuracy that are other than the default or the run's, as `name=value`.

    Raises:
        ValueError: if there is no such thing.
        CheckpointError: for a run whose checkpoint cannot be used.
    """
    path = Path(what)
    if is_run(path):
        if policy != EXPERT:
            raise ValueError(f"{what} is a training run with a policy of its own; --policy {policy} is for tasks")
        loading = bars.add_task("loading the checkpoint", total=None)
        acting = acting_of_run(path, physics)
        bars.remove_task(loading)
        return acting
    if "/" in what:
        raise ValueError(no_run(path))
    check_policy_name(policy)
    env = build(bars, what, max_episode_steps=num_steps, physics=physics_of(physics))
    return Acting(env, batched(load_policy(env, policy)), f"**{what}**, {policy}")
