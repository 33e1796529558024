"""Exported datasets: their episodes are simulated again by their actions, and are the same."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from support.watched import watched

from mjx_metaworld.vector import reset_to_goals
from mjx_metaworld.view import dataset
from mjx_metaworld.view.dataset import (
    NOTES,
    ExportedEpisode,
    is_dataset,
    note_episode,
    read_episodes,
    replay_dataset,
    simulate_again,
)

pytestmark = pytest.mark.ci

LENGTHS = (5, 3)


@pytest.fixture(scope="module")
def env():
    return watched().env


@pytest.fixture(scope="module")
def episodes(env) -> list[ExportedEpisode]:
    """Two of random actions, as an export would write them."""
    vectors = [np.array([[0.0, 0.6, 0.02, x, 0.8, 0.2]]) for x in (-0.05, 0.05)]
    state = reset_to_goals(env, vectors, (0, 0))
    step = jax.jit(jax.vmap(env.step))
    actions = np.random.default_rng(0).uniform(-1, 1, (max(LENGTHS), 2, 4)).astype(np.float32)
    obs = []
    for action in actions:
        obs.append(np.asarray(state.obs))
        state = step(state, action)
    return [
        ExportedEpisode("reach-v3", vectors[i][0], actions[:length, i], np.stack(obs)[:length, i])
        for i, length in enumerate(LENGTHS)
    ]


def test_episodes_are_simulated_again(env, episodes):
    states = simulate_again(env, episodes)
    assert states.task.shape == (max(LENGTHS) + 1, 2)
    for lane, episode in enumerate(episodes):
        np.testing.assert_allclose(states.obs[: len(episode.obs), lane], episode.obs, atol=1e-6)
    # The shorter one stays where it ended.
    np.testing.assert_array_equal(states.episode.step[:, 1], [0, 1, 2, 3, 3, 3])


def test_a_dataset_is_read_as_it_was_exported(env, episodes, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="LeRobot brings pyarrow")
    import pyarrow  # pyright: ignore[reportMissingImports]

    for episode in episodes:
        note_episode(tmp_path, episode.task, episode.rand_vec)
    with pytest.raises(ValueError, match="holds no episode"):
        read_episodes(tmp_path, 4)
    (tmp_path / "meta" / "info.json").write_text("{}")
    assert is_dataset(tmp_path)
    for number, episode in enumerate(episodes):
        file = tmp_path / "data" / "chunk-000" / f"file-{number:03}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        steps = len(episode.actions)
        columns = {
            "episode_index": np.full(steps, number),
            "frame_index": np.arange(steps)[::-1],  # in any order
            "action": episode.actions[::-1].tolist(),
            "observation.environment_state": episode.obs[::-1].tolist(),
        }
        parquet.write_table(pyarrow.table(columns), file)
    for read, episode in zip(read_episodes(tmp_path, 4), episodes, strict=True):
        jax.tree.map(np.testing.assert_array_equal, read, episode)
    (tmp_path / "data" / "chunk-000" / "file-002.parquet").write_text("of episodes that are not asked for")
    assert len(read_episodes(tmp_path, 1)) == 1
    with pytest.raises(ValueError, match=r"file-002\.parquet is broken"):
        read_episodes(tmp_path, 4)
    (tmp_path / "data" / "chunk-000" / "file-002.parquet").unlink()
    monkeypatch.setattr(dataset, "make", lambda names, physics: env)
    _, recording, difference = replay_dataset(tmp_path, 4)
    assert (recording.num_lanes, len(recording)) == (2, max(LENGTHS) + 1)
    assert difference < 1e-6
    (tmp_path / NOTES).unlink()
    with pytest.raises(ValueError, match="does not tell the goals"):
        read_episodes(tmp_path, 4)


def test_an_ordinary_folder_is_no_dataset(tmp_path):
    assert not is_dataset(tmp_path)
