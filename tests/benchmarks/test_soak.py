"""The soak: what it counts, and that it goes on where it ended."""

from __future__ import annotations

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from benchmarks import soak, soak_extremes, soak_lanes
from benchmarks.soak import run
from benchmarks.soak_account import Account, Soak, load
from benchmarks.soak_lanes import BOUNDS, KINDS, kind_of_lanes
from benchmarks.soak_report import markdown, outcome, record
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.ci

QUIET = Console(quiet=True)


class Runaway(KinematicEngine):
    """Physics in which an object of pick-place begins to fly, without ever becoming infinite."""

    def step(self, scene, state, ctrl, cost_estimate, dynamics=None):
        state, poses, cost_estimate = super().step(scene, state, ctrl, cost_estimate, dynamics)
        flying = jnp.where(state.mocap_pos[2] > 0.3, 1e3, 0.0)
        return state.replace(qvel=state.qvel.at[9].set(flying)), poses, cost_estimate


@pytest.fixture(scope="module")
def args(tmp_path_factory) -> Soak:
    folder = tmp_path_factory.mktemp("soak")
    return Soak(6000, 100, 1, "reach-v3,push-v3", 20, folder=folder, results=None, document=None)


def kinematic_env(args: Soak) -> soak_lanes.CornerGoals:
    return soak.make_env(args.tasks, KinematicEngine)


@pytest.fixture(scope="module")
def soaked(args) -> Account:
    return run(args, QUIET, kinematic_env(args))


@pytest.fixture(scope="module")
def shapes(args) -> soak_lanes.Lanes:
    return soak.shapes_of(soak.VectorEnv(kinematic_env(args), args.num_envs))


def test_one_lane_in_ten_is_hostile_in_each_kind():
    kinds = kind_of_lanes(4096)
    assert np.mean(kinds >= 0) == pytest.approx(0.1, abs=1e-3)
    counts = np.bincount(kinds[kinds >= 0], minlength=len(KINDS))
    assert counts.min() > 0.9 * counts.max()


def test_nothing_happens_where_all_is_well(soaked):
    tally = soaked.tally
    assert tally is not None
    assert soaked.chunks * 20 * 100 == 6000
    assert (tally.not_finite, tally.differing, tally.unnoticed, tally.ill_after) == (0, 0, 0, 0)
    assert tally.beyond.tolist() == [0] * len(BOUNDS)
    assert tally.hostile_actions == 9 * 60  # of ten hostile lanes one has its states poisoned
    assert tally.probed == 3 * 50 - np.count_nonzero(tally.poisoned)
    assert [process.recompiled for process in soaked.processes] == [0]


def test_the_highest_values_have_the_state_and_the_steps_they_came_from(soaked):
    tally, paths = soaked.tally, soaked.paths
    extremes = paths.extremes
    np.testing.assert_array_equal(extremes.highest, tally.highest)
    assert (extremes.start <= extremes.end).all()
    assert extremes.end.max() > 0
    # What drove the hand there: the mocap moves by the action's hundredth.
    for start, end, mocap_pos in zip(extremes.start, extremes.end, paths.mocap_pos, strict=True):
        assert (np.abs(np.diff(mocap_pos[start:end], axis=0)) <= 0.01 + 1e-6).all()
    assert np.abs(paths.ctrl).max() <= 1


@pytest.mark.full
def test_mujoco_goes_as_far_from_there(tmp_path):
    """By the physics of users, over 25 steps, in which some lanes part from MuJoCo's in what they touch."""
    args = Soak(3200, 64, 1, "push-v3,door-lock-v3", 25, folder=tmp_path, results=None, document=None)
    env = soak.make_env(args.tasks)
    row = outcome(args, run(args, QUIET, env), env)
    compared = {bound["name"]: (bound["highest"], bound["mujoco"]) for bound in row["bounds"]}
    # Of the two one has no object, whose place counts here all the same; the others are no quantities of MuJoCo's.
    unknown = {"object below the floor", "quaternion off unit length", "reward outside 0 to 10"}
    assert {name for name, (_, theirs) in compared.items() if theirs == [None, None]} == unknown
    for name in compared.keys() - unknown:
        ours, (last_step, all_steps) = compared[name]
        assert last_step == pytest.approx(ours, rel=1e-2, abs=1e-4), name
        # The furthest of many beginnings, so some go further than the one here.
        assert all_steps > ours - 0.1 * abs(ours) - 1e-4, name


@pytest.mark.full
def test_faults_are_counted(args, monkeypatch, tmp_path):
    """An object that flies where the hand is high passes no bound but that of its speed, and all of it is finite; a
    reward that depends on other lanes is never the same beside others.
    """
    step = soak.VectorEnv.step

    def leaking(self, state, action):
        state, transition = step(self, state, action)
        return state, transition.replace(reward=transition.reward + 0.1 * jnp.mean(state.physics.mocap_pos))

    monkeypatch.setattr(soak.VectorEnv, "step", leaking)
    tally = run(dataclasses.replace(args, folder=tmp_path, steps=4000), QUIET, soak.make_env(args.tasks, Runaway)).tally
    assert tally is not None
    beyond = dict(zip((bound.name for bound in BOUNDS), tally.beyond.tolist(), strict=True))
    assert beyond.pop("object speed") > 0
    assert set(beyond.values()) == {0}
    assert tally.not_finite == 0
    assert tally.differing == tally.probed > 0


@pytest.mark.full
def test_what_is_asked_to_end_goes_on(args, soaked, shapes, monkeypatch, tmp_path):
    """The same counts and the same lanes as without an end."""
    again, seen = dataclasses.replace(args, folder=tmp_path), []

    def ask() -> int:
        seen.append(None)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)
        return 1

    with monkeypatch.context() as patch, soak.termination():
        patch.setattr(soak, "resident_mb", ask)
        with pytest.raises(soak.Terminated):
            run(again, QUIET, kinematic_env(again))
    assert load(again, shapes)[0].chunks == 2
    went_on = run(again, QUIET, kinematic_env(again))
    assert [process.chunks for process in went_on.processes] == [2, 1]
    jax.tree.map(np.testing.assert_array_equal, went_on.tally, soaked.tally)
    with np.load(args.folder / "soak.npz") as one, np.load(tmp_path / "soak.npz") as two:
        for name in set(one.files) - {"account"}:
            np.testing.assert_array_equal(one[name], two[name])


def test_a_folder_of_another_soak_is_refused(args, soaked, shapes):
    with pytest.raises(ValueError, match=r"holds another soak.*'seed': 0.*'seed': 1"):
        load(dataclasses.replace(args, seed=1), shapes)


def test_the_record_has_a_row_a_device(args, soaked, tmp_path, monkeypatch):
    monkeypatch.setattr(soak_extremes, "REPLAYS", 2)  # of the many MuJoCo C makes for a record
    path, row = tmp_path / "soak.json", outcome(args, soaked, kinematic_env(args))
    record(path, row | {"device": "another"})
    rows = record(path, row)
    assert record(path, row) == rows
    assert [each["device"] for each in rows] == ["another", row["device"]]
    table = markdown(rows)
    assert "| lane steps | 6,000 | 6,000 |" in table
    assert all(bound.reason in table for bound in soak_lanes.BOUNDS)
