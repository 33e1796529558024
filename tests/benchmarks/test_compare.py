"""What `benchmarks.compare` measures: the same actions for all, only stepping timed, nothing beyond the memory."""

import time

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.compare import Args, plan
from benchmarks.compare_report import BASELINE, Row, markdown
from benchmarks.peers import Figure, Job


def test_every_system_steps_under_random_actions_and_under_experts():
    jobs = list(plan(Args(num_envs=(8,), mt10_envs=(4,))))
    for suite in ("MT50", "MT10"):
        by_actions = [
            {(system, job.num_envs) for system, s, job in jobs if (s, job.actions) == (suite, actions)}
            for actions in ("random", "experts")
        ]
        assert by_actions[0] == by_actions[1]
        assert {system for system, _ in by_actions[0]} >= {BASELINE, "EnvPool", "mjx_metaworld"}
    assert not any(job.peer == "mjbatch" for *_, job in jobs), "it needs an interpreter of its own"


def test_experts_act_on_their_own_lanes():
    """Lane i is task i modulo their number, and the same observation means another action to another expert."""
    job = Job("sync", ("reach-v3", "button-press-v3"), num_envs=4, actions="experts")
    obs = np.tile(np.linspace(0.1, 0.9, 39), (4, 1))
    actions = peers.actions_of(job)(obs)
    assert actions.shape == (4, 4)
    assert np.all(np.abs(actions) <= 1.0)
    np.testing.assert_array_equal(actions[:2], actions[2:])
    assert np.any(actions[0] != actions[1])


def test_thinking_is_not_counted():
    def act(obs):
        time.sleep(0.05)
        return obs

    def step(action):
        time.sleep(0.01)
        return action

    rate = peers.rate_of(step, np.zeros((10, 39)), act, seconds=0.03)
    assert 10 / 0.06 < rate <= 10 / 0.01, "ten environments a hundredth of a second, and not six"


def test_what_does_not_fit_the_memory_is_refused():
    peers.check_memory(1e6)
    with pytest.raises(MemoryError, match=r"it would need 1000000\.0 GB more, and [\d.]+ GB are available"):
        peers.check_memory(1e15)


def test_a_rate_is_beside_the_reference_under_the_same_actions():
    figures = {("random", 1): 100.0, ("experts", 1): 50.0, ("random", 8): 400.0, ("experts", 8): 400.0}
    rows = [
        Row(BASELINE if n == 1 else "ours", "MT10", n, actions, Figure(rate, 0.0, {}))
        for (actions, n), rate in figures.items()
    ]
    rows.append(Row("EnvPool", "MT10", 8, "random", "MemoryError: too much"))
    table = markdown(rows, "a machine")
    assert "| ours | MT10 | random | 8 | 400 | 4.0 | 0 |" in table
    assert "| ours | MT10 | experts | 8 | 400 | 8.0 | 0 |" in table
    assert "EnvPool did not run 8 environments of MT10, random: MemoryError: too much." in table
