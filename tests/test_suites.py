"""Suites and frozen goals against metaworld itself."""

from __future__ import annotations

import dataclasses
import pickle

import jax
import metaworld
import numpy as np
import pytest
from metaworld import env_dict
from metaworld.types import Task

import mjx_metaworld.suites as suites
from mjx_metaworld.tasks import registered, task


def reference_goals(tasks: list[Task]) -> dict[str, np.ndarray]:
    rand_vecs: dict[str, list[np.ndarray]] = {}
    for reference_task in tasks:
        rand_vecs.setdefault(reference_task.env_name, []).append(pickle.loads(reference_task.data)["rand_vec"])
    return {name: np.array(vectors) for name, vectors in rand_vecs.items()}


def assert_same_goals(drawn: list[Task], tasks: str | list[str], seed: int) -> None:
    names = [spec.name for spec in suites.resolve(tasks)]
    expected = reference_goals(drawn)
    assert list(expected) == names
    for name, vectors in zip(names, suites.goals(tasks, seed), strict=True):
        np.testing.assert_array_equal(vectors, expected[name], err_msg=name)  # the same draws: equal to the last bit


@pytest.mark.parametrize("name", ["reach-v3", "push-v3", "peg-insert-side-v3"])  # rejections: some, none, some
def test_goals_equal_mt1(name: str) -> None:
    assert_same_goals(metaworld.MT1(name, seed=7).train_tasks, name, seed=7)


@pytest.mark.ci
def test_goals_equal_ml1s_train_and_test_tasks() -> None:
    benchmark = metaworld.ML1("reach-v3", seed=7)
    for seed, tasks in ((7, benchmark.train_tasks), (8, benchmark.test_tasks)):
        (vectors,) = suites.goals("reach-v3", seed)
        np.testing.assert_array_equal(vectors, reference_goals(tasks)["reach-v3"])


def test_goals_of_a_suite_equal_metaworlds() -> None:
    """Its tasks draw from one generator, some with rejections; three of MT10, by what makes MT10's goals."""
    names = ["reach-v3", "peg-insert-side-v3", "push-v3"]
    classes = {name: env_dict.ALL_V3_ENVIRONMENTS[name] for name in names}
    settings = {name: env_dict.MT10_V3_ARGS_KWARGS[name] for name in names}
    assert_same_goals(metaworld._make_tasks(classes, settings, metaworld._MT_OVERRIDE, seed=0), names, 0)


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 42])
def test_goals_equal_mt10(seed: int) -> None:
    assert_same_goals(metaworld.MT10(seed=seed).train_tasks, "MT10", seed)


@pytest.mark.full
def test_goals_equal_mt50() -> None:
    assert_same_goals(metaworld.MT50(seed=3).train_tasks, "MT50", seed=3)


@pytest.mark.full
def test_goals_equal_ml10s_train_and_test_split() -> None:
    benchmark = metaworld.ML10(seed=3)
    for split, reference_tasks in (("train", benchmark.train_tasks), ("test", benchmark.test_tasks)):
        expected = reference_goals(reference_tasks)
        names = [spec.name for spec in suites.resolve(f"ML10-{split}")]
        assert list(expected) == names
        for name, vectors in zip(names, suites.goals(f"ML10-{split}", seed=3), strict=True):
            np.testing.assert_array_equal(vectors, expected[name], err_msg=name)


def test_bad_seeds_and_numbers_of_goals_are_named() -> None:
    with pytest.raises(ValueError, match="seed must be an integer from 0 to 4294967295, got -1"):
        suites.goals("reach-v3", -1)
    with pytest.raises(ValueError, match="num_goals must be a positive integer, got 0"):
        suites.goals("reach-v3", 1, 0)


def test_goals_lie_in_bounds_and_are_accepted() -> None:
    for spec, vectors in zip(suites.resolve("MT50"), suites.goals("MT50", 3), strict=True):
        assert vectors.shape == (suites.NUM_GOALS, len(spec.rand_low))
        assert (vectors >= spec.rand_low).all()
        assert (vectors <= spec.rand_high).all()
        assert all(spec.accepts(v) for v in vectors)


def test_the_accept_rule_is_one_formula_for_numpy_and_jax() -> None:
    """On padded vectors, as a batch of all tasks draws them, and on a task's own; against the rule task by task."""
    rng, counts = np.random.default_rng(0), np.zeros(2, int)
    for spec in suites.resolve("MT50"):
        vectors = rng.uniform(spec.rand_low, spec.rand_high, (200, len(spec.rand_low))).astype(np.float32)
        other = vectors[:, 3:5] if spec.separate_from is None else np.asarray(spec.separate_from, np.float32)
        apart = vectors[:, :2] - other if spec.min_separation else np.zeros((200, 2))
        expected = np.sum(apart**2, axis=1) >= spec.min_separation**2
        assert [bool(spec.accepts(v)) for v in vectors] == expected.tolist(), spec.name
        padded = np.pad(vectors, ((0, 0), (0, 7 - vectors.shape[1])))
        by_jax = jax.jit(spec.separation.accepts)(padded)
        np.testing.assert_array_equal(by_jax, expected, err_msg=spec.name)
        counts += np.bincount(expected, minlength=2)
    assert (counts > 100).all()


def test_a_goal_vector_without_places_is_accepted() -> None:
    spec = dataclasses.replace(registered()[0], rand_low=(), rand_high=(), min_separation=0.0, separate_from=None)
    assert spec.accepts(np.zeros(0))


def test_mt10_is_metaworlds() -> None:
    assert [spec.name for spec in suites.resolve("MT10")] == list(
        metaworld.MT10.__init__.__globals__["_env_dict"].MT10_V3
    )
    assert "MT10" in suites.list_suites()


def test_difficulty_groups_partition_the_tasks() -> None:
    sizes = {"easy": 28, "medium": 11, "hard": 6, "very_hard": 5}
    assert suites.list_suites()[-4:] == list(sizes)
    groups = {name: [spec.name for spec in suites.resolve(name)] for name in sizes}
    assert {name: len(tasks) for name, tasks in groups.items()} == sizes
    assert sorted(name for group in groups.values() for name in group) == sorted(suites.list_tasks())


def test_every_task_is_listed_and_resolves() -> None:
    assert set(suites.list_tasks()) == {spec.name for spec in registered()}
    for name in suites.list_tasks():
        (spec,) = suites.resolve(name)
        assert spec.name == name
    chosen = suites.resolve(["push-v3", "reach-v3"])
    assert [spec.name for spec in chosen] == ["push-v3", "reach-v3"]


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(ValueError, match=r"pick-place-v3"):
        suites.resolve("pick_place-v3")
    with pytest.raises(ValueError, match="MT10"):
        suites.resolve("MT1O")
    with pytest.raises(ValueError, match="unknown"):
        suites.resolve(["reach-v3", "no such thing"])
    with pytest.raises(ValueError, match="twice"):
        suites.resolve(["reach-v3", "reach-v3"])
    with pytest.raises(ValueError, match="no tasks"):
        suites.resolve([])


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        task("reach-v3", like="reach-v3")(registered()[0].reward)


def test_a_string_may_name_several_tasks():
    assert suites.resolve("reach-v3, push-v3") == suites.resolve(["reach-v3", "push-v3"])
    assert suites.resolve("MT10,sweep-v3") == (*suites.resolve("MT10"), *suites.resolve("sweep-v3"))
    with pytest.raises(ValueError, match="given twice: reach-v3"):
        suites.resolve("reach-v3,MT10")
    for nothing in ("", ",", "reach-v3,reech-v3"):
        with pytest.raises(ValueError, match="unknown task or suite"):
            suites.resolve(nothing)
