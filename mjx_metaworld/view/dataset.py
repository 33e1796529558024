"""Episodes of an exported LeRobot dataset, simulated again by their actions from the goals that the export noted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.types import State
from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view.frames import frames_of
from mjx_metaworld.view.sources import Recording

NOTES = Path("meta", "mjx_metaworld.jsonl")  # a line an episode, in order: its task and goal vector
_INFO = Path("meta", "info.json")
_COLUMNS = ("episode_index", "frame_index", "action", "observation.environment_state")


class ExportedEpisode(NamedTuple):
    """An episode as a dataset has it."""

    task: str
    rand_vec: np.ndarray  # (rand,)
    actions: np.ndarray  # (steps, 4)
    obs: np.ndarray  # (steps, 39), each before its action


def is_dataset(path: Path) -> bool:
    """True of the folder of a LeRobot dataset."""
    return (path / _INFO).is_file()


def note_episode(folder: Path, task: str, rand_vec: np.ndarray) -> None:
    """Note an episode that was added to a dataset, so that it can be simulated again."""
    (folder / NOTES).parent.mkdir(parents=True, exist_ok=True)
    with (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"task": task, "rand_vec": np.asarray(rand_vec, float).tolist()}) + "\n")


def read_episodes(folder: Path, count: int) -> list[ExportedEpisode]:
    """The first episodes of a dataset, at most so many.

    Raises:
        ValueError: if the export did not note its goals, a file was altered, or there is no episode.
        ImportError: without pyarrow, which LeRobot brings.
    """
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]  # of the extra `lerobot`
    except ImportError as error:
        raise ImportError(f"datasets are read by pyarrow: {install_command('lerobot')}") from error
    if not (folder / NOTES).is_file():
        raise ValueError(f"{folder} does not tell the goals of its episodes ({NOTES} is missing); export it anew")
    notes = [_note_of(folder, line) for line in (folder / NOTES).read_bytes().splitlines()[:count]]
    rows: dict[int, list[tuple[int, list[float], list[float]]]] = {}
    for file in sorted((folder / "data").rglob("*.parquet")):
        try:
            table = parquet.read_table(file, columns=list(_COLUMNS))
        except Exception as error:  # pyarrow raises whatever its file format meets
            raise ValueError(f"{file} is broken: {(str(error).splitlines() or [''])[0]}") from error
        columns = [table[name].to_pylist() for name in _COLUMNS]
        for episode, *row in zip(*columns, strict=True):
            if episode < len(notes):
                rows.setdefault(episode, []).append(tuple(row))
        if max(columns[0], default=0) >= len(notes):
            break  # files are in the order of episodes, and those of a large dataset take minutes to read
    if not rows:
        raise ValueError(f"{folder} holds no episode")
    episodes = []
    for episode, of_episode in sorted(rows.items()):
        _, actions, obs = zip(*sorted(of_episode), strict=True)
        note = notes[episode]
        episodes.append(ExportedEpisode(*note, np.array(actions, np.float32), np.array(obs)))
    return episodes


def _note_of(folder: Path, line: bytes) -> tuple[str, np.ndarray]:
    """Task and goal vector of an episode's note."""
    try:
        note = json.loads(line)
        return str(note["task"]), np.array(note["rand_vec"], float)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / NOTES} is broken: {error}") from error


def replay_dataset(
    folder: Path, count: int, physics: PhysicsConfig | None = None
) -> tuple[MetaWorldEnv, Recording, float]:
    """Simulate the first episodes of a dataset again, side by side.

    Args:
        folder: of the dataset.
        count: episodes.
        physics: accuracy of the engine, that with which the dataset was written; the default when None.

    Returns:
        The environment, its frames, and the largest difference of an observation from the dataset's.

    Raises:
        ValueError, ImportError: as `read_episodes`.
    """
    episodes = read_episodes(folder, count)
    env = make(list(dict.fromkeys(episode.task for episode in episodes)), physics=physics)
    states = simulate_again(env, episodes)
    lengths = [len(episode.actions) for episode in episodes]
    obs = np.asarray(states.obs)
    differences = [
        np.abs(obs[:length, lane, :OBSERVATION_SIZE] - episode.obs[:, :OBSERVATION_SIZE]).max()
        for lane, (episode, length) in enumerate(zip(episodes, lengths, strict=True))
    ]
    return env, Recording(env.tasks, frames_of(env, states)), float(max(differences))


def simulate_again(env: MetaWorldEnv, episodes: Sequence[ExportedEpisode]) -> State:
    """States (moments, episodes) of episodes, each of which stays at its last state when it has ended."""
    names = [spec.name for spec in env.tasks]
    tasks = [names.index(episode.task) for episode in episodes]
    longest = max(len(episode.actions) for episode in episodes)
    actions = np.stack([np.pad(e.actions, ((0, longest - len(e.actions)), (0, 0))) for e in episodes], axis=1)
    ends = np.array([len(episode.actions) for episode in episodes])

    def step(state: State, now: tuple[Float[Array, "episodes 4"], Array]) -> tuple[State, State]:
        action, goes_on = now
        after = jax.vmap(env.step)(state, action)
        after = jax.tree.map(
            lambda new, old: jnp.where(goes_on.reshape(-1, *[1] * (new.ndim - 1)), new, old), after, state
        )
        return after, after

    lengths = [len(env.tasks[task].rand_low) for task in tasks]
    vectors = [episode.rand_vec[None, :size] for episode, size in zip(episodes, lengths, strict=True)]
    first = reset_to_goals(env, vectors, tasks)
    goes_on = np.arange(longest)[:, None] < ends
    _, states = jit(lambda first, *now: jax.lax.scan(step, first, now))(first, jnp.asarray(actions), goes_on)
    return jax.tree.map(lambda one, more: np.concatenate([np.asarray(one)[None], np.asarray(more)]), first, states)
