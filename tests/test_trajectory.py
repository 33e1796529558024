"""Trajectories: what is kept of a simulation, in memory and in files that hold no code."""

from __future__ import annotations

import dataclasses
import json
import operator
import pickle

import jax
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.suites import resolve

pytestmark = pytest.mark.usefixtures("kinematic")


@pytest.fixture(scope="module")
def env(kinematic):
    return mw.make(["reach-v3", "door-open-v3"], physics=mw.PhysicsConfig(max_contacts=52))


@pytest.fixture(scope="module")
def states(env):
    reset = jax.jit(jax.vmap(jax.vmap(env.reset)))
    return reset(jax.random.split(jax.random.key(0), (3, 2)), np.tile([0, 1], (3, 1)))


def test_a_file_gives_back_what_was_saved(env, states, tmp_path):
    trajectory = mw.Trajectory.of(env, states, every=4)
    path = tmp_path / "new" / "some.npz"
    trajectory.save(path)
    again = mw.Trajectory.load(str(path))
    assert (again.tasks, again.every, len(again)) == (("reach-v3", "door-open-v3"), 4, 3)
    assert jax.tree.structure(again.states) == jax.tree.structure(trajectory.states)
    jax.tree.map(np.testing.assert_array_equal, again.states, trajectory.states)
    assert [path.name for path in path.parent.iterdir()] == ["some.npz"]
    assert [spec.name for spec in again.env.tasks] == list(again.tasks)
    assert again.physics == again.env.engine.config.accuracy == env.engine.config.accuracy


def with_own(key, drawn, nominal):
    return drawn.replace(own={"b": {"mass": nominal.free_mass}, "a": (jax.random.uniform(key), [nominal.task])})


def test_what_terms_of_ones_own_draw_is_kept(tmp_path):
    env = mw.make(["reach-v3", "door-open-v3"], randomise=with_own)
    states = jax.jit(jax.vmap(jax.vmap(env.reset)))(jax.random.split(jax.random.key(0), (3, 2)))
    trajectory = mw.Trajectory.of(env, states)
    trajectory.save(tmp_path / "own.npz")
    again = mw.Trajectory.load(tmp_path / "own.npz")
    assert jax.tree.structure(again.states) == jax.tree.structure(trajectory.states)
    jax.tree.map(np.testing.assert_array_equal, again.states.randomised.own, trajectory.states.randomised.own)


def test_batches_one_after_the_other_are_a_trajectory_too(env, states):
    batches = [jax.tree.map(lambda x, i=i: x[i], states) for i in range(3)]
    both = mw.Trajectory.of(env, batches), mw.Trajectory.of(env, states)
    jax.tree.map(np.testing.assert_array_equal, both[0].states, both[1].states)


def test_what_is_no_trajectory_is_refused(env, states, tmp_path):
    with pytest.raises(ValueError, match=r"\(moments, lanes\), got \(2,\)"):
        mw.Trajectory.of(env, jax.tree.map(lambda x: x[0], states))
    with pytest.raises(ValueError, match="at least one moment"):
        mw.Trajectory.of(env, [])
    with pytest.raises(ValueError, match=r"at least one moment and one lane, got \(0, 2\)"):
        mw.Trajectory.of(env, jax.tree.map(lambda x: x[:0], states))
    with pytest.raises(ValueError, match=r"the same lanes, got \[\(1,\), \(2,\)\]"):
        mw.Trajectory.of(env, [jax.tree.map(lambda x, n=n: x[0, :n], states) for n in (2, 1)])
    with pytest.raises(ValueError, match=r"in 0\.\.1 \(reach-v3, door-open-v3\), got 0\.\.7"):
        mw.Trajectory.of(env, states.replace(task=np.array([[0, 7]] * 3)))
    other = mw.Trajectory.of(env, states).replace(tasks=("reach-v3",))
    other.save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"other\.npz is no trajectory: tasks of states must be in 0\.\.0"):
        mw.Trajectory.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="every must be"):
        mw.Trajectory.of(env, states, every=0)
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        mw.Trajectory.of(env, states).save(tmp_path / "some.zip")
    with pytest.raises(FileNotFoundError):
        mw.Trajectory.load(tmp_path / "none.npz")


@pytest.mark.parametrize("content", ["garbage", "arrays", "another format", "another struct", "pickle"])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    path = tmp_path / "some.npz"
    described = {"format": 1, "tasks": ["reach-v3"], "every": 1, "states": {"value": None}}
    if content == "another format":
        described["format"] = 99
    if content == "garbage":
        path.write_bytes(b"no zip file at all")
    elif content == "arrays":
        np.savez(path, some=np.zeros(3))
    elif content == "pickle":
        path.write_bytes(pickle.dumps(described))
    else:
        np.savez(path, description=np.frombuffer(json.dumps(described).encode(), np.uint8))
    with pytest.raises(ValueError, match=r"some\.npz is no trajectory"):
        mw.Trajectory.load(path)


def test_a_trajectory_is_drawn(env, states, tmp_path):
    trajectory = mw.Trajectory.of(env, jax.tree.map(lambda x: x[:1], states))
    path = tmp_path / "some.npz"
    trajectory.save(path)
    size = {"width": 32, "height": 24, "backend": "raycast"}
    drawn = mw.render(env, trajectory.states, **size)
    assert drawn.shape == (1, 2, 24, 32, 3)
    np.testing.assert_array_equal(mw.render(trajectory, **size), drawn)
    np.testing.assert_array_equal(mw.render(path, **size), drawn)
    with pytest.raises(TypeError, match="holds its states"):
        mw.render(trajectory, states)
    with pytest.raises(TypeError, match="drawn in a state"):
        mw.render(env)
    with pytest.raises(ValueError, match="there is no folder"):
        mw.render(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no training run"):
        mw.render(tmp_path)


def test_a_task_that_is_not_declared_is_drawn_until_it_is_read_from_a_file(states, tmp_path):
    reach, door = resolve("reach-v3,door-open-v3")
    own = dataclasses.replace(reach, name="my-own-reach"), dataclasses.replace(door, description="another of its name")
    trajectory = mw.Trajectory.of(mw.make(own), states)
    assert all(map(operator.is_, trajectory.env.tasks, own))
    path = tmp_path / "some.npz"
    trajectory.save(path)
    again = mw.Trajectory.load(path)
    assert (again.tasks, again.specs) == (("my-own-reach", "door-open-v3"), ())
    with pytest.raises(ValueError, match="unknown task or suite 'my-own-reach'"):
        _ = again.env


def test_record_takes_a_policy_or_a_run(env, tmp_path):
    with pytest.raises(ValueError, match="an environment and a policy, or a training run"):
        mw.record(env)
    with pytest.raises(ValueError, match="an environment and a policy, or a training run"):
        mw.record(tmp_path, mw.expert(env))
    with pytest.raises(ValueError, match="num_steps must be"):
        mw.record(env, mw.expert(env), num_steps=3, every=4)
