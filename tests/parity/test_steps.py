"""Parity with the live CPU reference: first observations, and one control step from injected states.

The quick form takes twelve states of an expert's episode of every task; `--ci` forty more of the expert and of random
actions of the tasks of MT10; `--full` as many as the design asks for.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from support import mt50
from support.metaworld_reference import shared_env
from support.mt50 import LANES, compiled, environment, goals, recorded

from mjx_metaworld.parity import steps as parity
from mjx_metaworld.parity.reference import start_reference
from mjx_metaworld.suites import resolve

NAMES = [spec.name for spec in resolve("MT50")]
EACH_TASK = pytest.mark.parametrize("task", range(len(NAMES)), ids=NAMES)
OF_MT10 = [NAMES.index(spec.name) for spec in resolve("MT10")]


def entries_of(steps: parity.Steps) -> np.ndarray:
    """Errors of the observed entries of all steps, in the shared compilation's batches."""
    count = len(steps.action)
    parts = [jax.tree.map(lambda x, i=i: x[i : i + LANES], steps) for i in range(0, count, LANES)]
    errors = [parity.step_errors(compiled().step, part, pad_to=LANES) for part in parts]
    # A success within rounding of its threshold may differ.
    assert np.mean(np.concatenate([part.success for part in errors])) <= 0.01
    return np.concatenate([part.entries.ravel() for part in errors])


@functools.cache
def recorded_entries(task: int) -> np.ndarray:
    """Of the twelve states of one episode that `mt50` records."""
    return entries_of(recorded(task))


@functools.cache
def first_observations(first: int) -> np.ndarray:
    """(100, 39): of every task with its frozen goals `first` and `first + 1`."""
    state = mt50.started(mt50.TASK_OF_LANE, first + np.arange(LANES) // len(NAMES))
    return np.asarray(state.obs)


def reset_errors(task: int, num_goals: int) -> list[float]:
    """Largest errors of the task's first observations, a goal each."""
    errors = []
    for index in range(num_goals):
        expected = start_reference(shared_env(NAMES[task]), NAMES[task], goals()[task][index])
        ours = first_observations(index // 2 * 2)[task + len(NAMES) * (index % 2)]
        errors.append(float(np.abs(ours - expected).max()))
    return errors


@EACH_TASK
def test_first_observation(task):
    """Bar of the design: 1e-5, which float32 meets with room."""
    assert max(reset_errors(task, 2)) < 1e-5


# Tasks whose one-step errors have a tail beyond the bar of 1e-3 in the long form, each with the contact behind it.
RARE_TAILS = {
    # The phantom contact of the button's rod with its housing, see docs/known_differences.md; 1.03e-3 measured.
    "button-press-v3": 2e-3,
}


@EACH_TASK
def test_one_control_step(task):
    """Bars of the design over one expert episode: median 1e-5 and, with few entries, 1e-3 at the 99th percentile."""
    entries = recorded_entries(task)
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < 1e-3


def test_one_control_step_over_all_tasks():
    """The same bars over the entries of all tasks, without exceptions."""
    entries = np.concatenate([recorded_entries(task) for task in range(50)])
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < 1e-3


@pytest.mark.ci
@pytest.mark.parametrize("style", ["expert", "random"])
@pytest.mark.parametrize("task", OF_MT10, ids=[NAMES[task] for task in OF_MT10])
def test_one_control_step_of_more_states_of_mt10(task, style):
    """Those of another goal; all that the long form takes of MT10, thinned."""
    steps = parity.record_steps(environment(), task, goals()[task][1:2], style=style, num_steps=160, every=4)
    entries = entries_of(steps)
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < 1e-3


@pytest.mark.parametrize("task", OF_MT10[:1], ids=NAMES[OF_MT10[0] :][:1])
def test_errors_as_the_parity_table_has_them(task):
    """The functions behind its columns, on few states."""
    assert parity.reset_error(environment(), task, goals()[task][:1]) < 1e-5
    assert parity.reward_error(environment().tasks[task], recorded(task)) < 1e-5


@pytest.mark.full
@EACH_TASK
def test_first_observation_of_more_goals(task):
    assert max(reset_errors(task, 10)) < 1e-5


@pytest.mark.full
@pytest.mark.parametrize("style", ["expert", "random"])
@EACH_TASK
def test_one_control_step_of_more_states(task, style):
    steps = parity.record_steps(environment(), task, goals()[task][:2], style=style, num_steps=160, every=2)
    entries = entries_of(steps)
    assert np.median(entries) < 1e-5
    assert np.quantile(entries, 0.99) < RARE_TAILS.get(NAMES[task], 1e-3)
