"""The LeRobot adapter's names of tasks, their texts, and the goals that seeds stand for."""

from __future__ import annotations

import numpy as np
import pytest
from support.metaworld_reference import seeded_goal

from mjx_metaworld.adapters.lerobot.goals import next_goal
from mjx_metaworld.adapters.lerobot.tasks import distinct_tasks, task_groups, task_texts
from mjx_metaworld.suites import list_tasks, resolve
from mjx_metaworld.tasks import task as declare


def test_groups_of_a_request():
    groups = task_groups("easy, medium,hard,very_hard,metaworld-reach-v3")
    assert {name: len(specs) for name, specs in groups.items()} == {
        "easy": 28, "medium": 11, "hard": 6, "very_hard": 5, "reach-v3": 1,
    }  # fmt: skip
    assert sorted(distinct_tasks(groups)) == sorted(list_tasks())
    assert list(task_groups(",".join(list_tasks()))) == list_tasks()


@pytest.mark.parametrize(("task", "said"), [("", "at least one"), ("reach-v3,reach-v3", "twice"), ("medum", "medium")])
def test_bad_requests_are_refused(task, said):
    with pytest.raises(ValueError, match=said):
        task_groups(task)


def test_corrected_texts_tell_all_tasks_apart():
    shared = {"push-v3": "Push the puck", "push-back-v3": "Push the puck"}
    assert task_texts("lerobot", shared) == shared
    corrected = task_texts("corrected", shared)
    assert corrected["push-v3"] == shared["push-v3"]
    assert corrected["push-back-v3"] != shared["push-back-v3"]
    with pytest.raises(ValueError, match="klingon"):
        task_texts("klingon", shared)  # type: ignore[arg-type]


def test_a_task_of_ones_own_is_told_by_its_description(scratch_registry):
    def reward(s):
        """Reach once more. Success: at the goal."""

    declare("reach-again", like="reach-v3")(reward)
    assert task_texts("lerobot", {"reach-v3": "Reach"}) == {"reach-v3": "Reach", "reach-again": "Reach once more"}


@pytest.mark.parametrize("task", ["pick-place-v3", "door-lock-v3"])  # the first rejects draws, the second does not
def test_a_seed_means_the_goal_of_lerobots_own_environment(task):
    (spec,) = resolve(task)
    for seed in (0, 1000):
        np.testing.assert_array_equal(next_goal(spec, np.random.default_rng(seed)), seeded_goal(task, seed))


@pytest.mark.full
@pytest.mark.parametrize("task", list_tasks())
def test_a_seed_means_the_goal_of_lerobots_own_environment_in_every_task(task):
    (spec,) = resolve(task)
    np.testing.assert_array_equal(next_goal(spec, np.random.default_rng(1001)), seeded_goal(task, 1001))
