"""Something to watch, by its name on the command line: tasks and a policy, a training run, a trajectory."""

from __future__ import annotations

from pathlib import Path

import jax
from rich.progress import Progress

from mjx_metaworld.cli.run import build, load_policy
from mjx_metaworld.trajectory import SUFFIX, Trajectory
from mjx_metaworld.types import StochasticPolicy
from mjx_metaworld.view.sources import Act, Simulation, Source, recording_of, spread

_LANES = 4  # at most, where nobody says how many


def open_source(
    bars: Progress, what: str, policy: str, num_lanes: int | None, num_steps: int, seed: int
) -> tuple[Source, str]:
    """Frames to watch, and a line of Markdown that says of what.

    Args:
        bars: progress bars, for what takes a while.
        what: tasks, the folder of a training run, or a trajectory's file.
        policy: of tasks, by its name, see `load_policy`.
        num_lanes: environments side by side; None for one a task, at most 4.
        num_steps: control steps an episode.
        seed: of what a policy draws.

    Raises:
        ValueError: if there is no such thing.
        CheckpointError: for a run whose checkpoint cannot be used.
    """
    if what.endswith(SUFFIX):
        if not Path(what).is_file():
            raise ValueError(f"there is no file {what}")
        trajectory = Trajectory.load(what)
        loading = bars.add_task(f"loading {', '.join(trajectory.tasks[:3])}", total=None)
        recording = recording_of(trajectory.env, trajectory)
        bars.remove_task(loading)
        return recording, f"**{what}**"
    env = build(bars, what, max_episode_steps=num_steps)
    act = batched(load_policy(env, policy))
    choice = spread(len(env.tasks), num_lanes or min(len(env.tasks), _LANES))
    return Simulation(env, act, choice, seed), f"**{what}**, {policy}"


def batched(policy: StochasticPolicy) -> Act:
    """A policy of one environment for a batch."""

    def act(state, key):
        return jax.vmap(policy)(state.obs, state.task, jax.random.split(key, state.task.shape[0]))

    return act
