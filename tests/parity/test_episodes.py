"""Whole episodes of the scripted experts on the true physics and on the live CPU reference."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from support import mt50
from support.metaworld_reference import shared_env
from support.mt50 import LANES, compiled, environment, goals

import mjx_metaworld as mw
from mjx_metaworld.parity.episodes import run_experts
from mjx_metaworld.parity.record import rollout, run_reference_expert
from mjx_metaworld.parity.reference import reference_policy, start_reference
from mjx_metaworld.suites import resolve
from mjx_metaworld.testing import KinematicEngine

MT10 = [spec.name for spec in resolve("MT10")]
NUM_GOALS, NUM_STEPS = 6, 120  # those that succeed do so within 100 steps


def succeeds_there(name: str, rand_vec: np.ndarray) -> bool:
    """True if the reference's expert succeeds; the rest of the episode is not simulated."""
    cpu_env, act = shared_env(name), reference_policy(name).get_action
    first = start_reference(cpu_env, name, rand_vec)
    turns = rollout(cpu_env, first, act, style="expert", num_steps=NUM_STEPS, rounded=False)
    return any(turn.take().metrics.success for turn in turns)


def test_closed_loop_of_mt10():
    """Experts' success on frozen goals, here minus there: within 2 points in the mean, 10 on every task.

    Of 6 goals one may turn out otherwise on a task (a contact decides peg-insert).
    """
    names = [spec.name for spec in environment().tasks]
    rows = [names.index(name) for name in MT10]
    lanes = np.resize(np.repeat(rows, NUM_GOALS), LANES)  # the lanes beyond the 60 repeat the first
    state = mt50.started(lanes, np.resize(np.tile(np.arange(NUM_GOALS), len(MT10)), LANES))
    success = np.zeros(LANES, bool)
    for _ in range(NUM_STEPS):
        state = compiled().step(state, jnp.clip(compiled().expert(state.obs, state.task), -1.0, 1.0))
        success |= np.asarray(state.metrics.success) > 0
    ours = success[: len(MT10) * NUM_GOALS].reshape(len(MT10), NUM_GOALS)
    theirs = [
        [succeeds_there(name, rand_vec) for rand_vec in goals()[row][:NUM_GOALS]]
        for name, row in zip(MT10, rows, strict=True)
    ]
    gaps = ours.mean(axis=1) - np.mean(theirs, axis=1)
    assert abs(gaps.mean()) <= 0.02
    assert np.abs(gaps).max() <= 1 / 6 + 1e-6


def test_experts_run_in_one_batch():
    """The function that the parity table and the demo run, on two tasks of which one needs no dynamics."""
    env = mw.make(["reach-v3", "drawer-open-v3"], engine=KinematicEngine)
    found = run_experts(env, [vectors[:3] for vectors in (mw.goals(spec.name, 1)[0] for spec in env.tasks)], 100)
    assert found.stats.success.tolist() == [[True] * 3, [False] * 3]
    assert (found.stats.episode_return[0] > 100).all()
    assert found.state.episode.step.tolist() == [100] * 6
    with pytest.raises(ValueError, match="positive multiple of 10, got 15"):
        run_experts(env, [np.zeros((1, 6))] * 2, 15)


@pytest.mark.full
def test_closed_loop():
    """Experts' success on two frozen goals a task: within 2 points in the mean, no task otherwise on both goals."""
    few = tuple(rand_vecs[:2] for rand_vecs in goals())
    names = [spec.name for spec in environment().tasks]
    ours = run_experts(environment(), few, num_steps=150).stats.success.mean(axis=1)
    outcomes = [run_reference_expert(name, rand_vecs, 150) for name, rand_vecs in zip(names, few, strict=True)]
    gaps = ours - np.array([[outcome.success for outcome in episodes] for episodes in outcomes]).mean(axis=1)
    assert abs(gaps.mean()) <= 0.02
    assert not np.any(np.abs(gaps) > 0.5), [name for name, gap in zip(names, gaps, strict=True) if abs(gap) > 0.5]
