"""Parity of all 50 tasks with the live CPU reference, on few states; `--full` takes as many as `test_parity.py`."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from mt50 import LANES, compiled, environment, goals, recorded

from mjx_metaworld.parity import steps as parity
from mjx_metaworld.parity.episodes import run_experts
from mjx_metaworld.parity.reference import run_reference_expert
from mjx_metaworld.suites import resolve

NAMES = [spec.name for spec in resolve("MT50")]
EACH_TASK = pytest.mark.parametrize("task", range(len(NAMES)), ids=NAMES)


def entries_of(steps: parity.Steps) -> np.ndarray:
    """Errors of the observed entries of all steps, in the shared compilation's batches."""
    count = len(steps.action)
    parts = [jax.tree.map(lambda x, i=i: x[i : i + LANES], steps) for i in range(0, count, LANES)]
    errors = [parity.step_errors(compiled().step, part, pad_to=LANES) for part in parts]
    assert np.mean(np.concatenate([part.success for part in errors])) <= 0.01
    return np.concatenate([part.entries.ravel() for part in errors])


@EACH_TASK
def test_first_observation(task):
    """Bar of the design: 1e-5, which float32 meets with room."""
    assert parity.reset_error(environment(), task, goals()[task][:1]) < 1e-5


# Tasks whose one-step errors have a tail beyond the bar of 1e-3 in the long form, each with the contact behind it.
RARE_TAILS = {
    # The phantom contact of the button's rod with its housing, see docs/known_differences.md; 1.03e-3 measured.
    "button-press-v3": 2e-3,
}


@EACH_TASK
def test_one_control_step(task):
    """Bars of the design over one expert episode: median 1e-5 and, with few entries, 1e-3 at the 99th percentile."""
    entries = entries_of(recorded(task))
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < 1e-3


def test_one_control_step_over_all_tasks():
    """The same bars over the entries of all tasks, without exceptions."""
    entries = np.concatenate([entries_of(recorded(task)) for task in range(50)])
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < 1e-3


@pytest.mark.full
@EACH_TASK
def test_first_observation_of_more_goals(task):
    assert parity.reset_error(environment(), task, goals()[task][:10]) < 1e-5


@pytest.mark.full
@pytest.mark.parametrize("style", ["expert", "random"])
@EACH_TASK
def test_one_control_step_of_more_states(task, style):
    """As many states as `test_parity.py` takes of MT10."""
    steps = parity.record_steps(environment(), task, goals()[task][:2], style=style, num_steps=160, every=2)
    entries = entries_of(steps)
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < RARE_TAILS.get(NAMES[task], 1e-3)


@pytest.mark.full
def test_closed_loop():
    """Experts' success on two frozen goals a task: within 2 points in the mean, no task otherwise on both goals."""
    few = tuple(rand_vecs[:2] for rand_vecs in goals())
    ours = run_experts(environment(), few, num_steps=150).stats.success.mean(axis=1)
    outcomes = [run_reference_expert(name, rand_vecs, 150) for name, rand_vecs in zip(NAMES, few, strict=True)]
    gaps = ours - np.array([[outcome.success for outcome in episodes] for episodes in outcomes]).mean(axis=1)
    assert abs(gaps.mean()) <= 0.02
    assert not np.any(np.abs(gaps) > 0.5), [name for name, gap in zip(NAMES, gaps, strict=True) if abs(gap) > 0.5]
