"""First episodes that end early, so that a batch holds all phases of an episode."""

from __future__ import annotations

import numpy as np
import pytest
from support.training_probes import probe

from mjx_metaworld.training.episodes import early_end


@pytest.mark.parametrize(
    ("lanes_of_task", "horizon", "ends"), [(4, 5, [5, 10, 15]), (4, 1, [5, 10, 15]), (3, 10, [10])]
)
def test_first_episodes_end_all_over_an_episodes_length(lanes_of_task, horizon, ends):
    """In lanes that are as many as an episode's rollouts, fewer, or more; each task's first lane has a whole one."""
    env = probe(lambda task, obs, action: task * 1.0, num_envs=2 * lanes_of_task, num_tasks=2, episode_steps=20)
    early = np.stack([early_end(env, horizon, np.int32(i)) for i in range(20 // horizon)])
    for task in (0, 1):
        at, lane = np.nonzero(early[:, task::2])
        assert sorted(set((at + 1) * horizon)) == ends
        assert 0 not in lane
        assert len(lane) == len(set(lane))
