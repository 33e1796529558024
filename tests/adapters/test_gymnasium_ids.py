"""What metaworld registers besides its suites, and its faults that are none here; both run live, with few goals."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import metaworld
import mujoco
import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from mjx_metaworld.adapters.gymnasium import make_custom_ml, make_custom_mt, make_mt
from mjx_metaworld.adapters.gymnasium.dealing import deal_goals, deal_list, deal_tasks
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import resolve

pytestmark = pytest.mark.usefixtures("kinematic", "few_goals")

SEED = 3
TASKS = ["reach-v3", "drawer-open-v3"]
NUM_GOALS = 4
NEAR = 1e-3  # of observations: float32, and reach's puck at rest wobbles by some 1e-4 in both, unlike


def their_goals(envs: VectorEnv) -> list[np.ndarray]:
    """The goals that each of metaworld's sub-environments chooses from."""
    return [np.stack([pickle.loads(task.data)["rand_vec"] for task in tasks]) for tasks in envs.get_attr("tasks")]


def assert_same_choices(ours: VectorEnv, theirs: VectorEnv, start: str, count: int = 6) -> None:
    """Both choose the same goals, time and again."""
    for _ in range(count):
        for envs in (ours, theirs):
            envs.reset() if start == "reset" else envs.call(start)
        pairs = zip(ours.get_attr("goals"), ours.get_attr("current_task_idx"), strict=True)
        for (goals, chosen), expected in zip(pairs, theirs.get_attr("_last_rand_vec"), strict=True):
            np.testing.assert_array_equal(goals[chosen], expected)


# --- single environments ---


@pytest.mark.parametrize(
    ("observability", "task"),
    [
        ("hidden", "drawer-open-v3"),
        ("observable", "drawer-open-v3"),
        *(
            pytest.param(kind, task, marks=pytest.mark.full)
            for kind in ("hidden", "observable")
            for task in ("reach-v3", "push-v3", "door-open-v3", "peg-insert-side-v3")
        ),
    ],
)
def test_one_goal_hidden_or_observable(observability, task):
    given = {"env_name": task, "seed": SEED}
    ours, theirs = (gym.make(f"{space}/goal_{observability}", **given) for space in ("mjx-metaworld", "Meta-World"))
    for seed in (None, 8, None):  # the goal stays
        (obs, _), (expected, _) = ours.reset(seed=seed), theirs.reset(seed=seed)
        assert (obs.dtype, obs.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(obs, expected, atol=NEAR)
        assert (obs[36:] == 0).all() == (observability == "hidden")
    suffixed = gym.make(f"mjx-metaworld/goal_{observability}", env_name=f"{task}-goal-{observability}", seed=SEED)
    np.testing.assert_array_equal(suffixed.reset()[0], obs)
    batch = gym.make_vec(f"mjx-metaworld/goal_{observability}", num_envs=2, **given)
    np.testing.assert_array_equal(batch.reset()[0], [obs, obs])


def test_the_first_goals_and_a_place_among_several_tasks():
    given = {"env_name": "drawer-open-v3", "seed": SEED, "num_goals": 3}
    given |= {"use_one_hot": True, "env_id": 1, "num_tasks": 3}
    ours, theirs = (gym.make(f"{space}/MT1", **given) for space in ("mjx-metaworld", "Meta-World"))
    seen = set()
    for _ in range(8):
        (obs, _), (expected, _) = ours.reset(), theirs.reset()
        np.testing.assert_allclose(obs, expected, atol=NEAR)
        seen.add(tuple(obs[36:39]))
    assert obs[39:].tolist() == [0, 1, 0]
    assert len(seen) == 3
    with pytest.raises(ValueError, match="one-hot ids must be below num_tasks, 3, got 3"):
        gym.make("mjx-metaworld/MT1", **(given | {"env_id": 3}))


def test_the_length_of_an_episode_is_what_was_asked_for():
    action = np.zeros(4, np.float32)
    longer = gym.make("mjx-metaworld/drawer-open-v3", max_episode_steps=510, seed=SEED)
    longer.reset()
    assert [longer.step(action)[3] for _ in range(510)] == [False] * 509 + [True]
    usual = gym.make("mjx-metaworld/drawer-open-v3", seed=SEED, recurrent_info_in_obs=True)
    usual.reset()
    steps = [usual.step(action) for _ in range(500)]
    assert [truncated for *_, truncated, _ in steps] == [False] * 499 + [True]
    assert ["episode" in info for *_, info in steps] == [False] * 499 + [True]
    assert [obs[-1] for obs, *_ in steps] == [0.0] * 499 + [1.0]  # the recurrent info tells of the end, too
    assert steps[-1][-1]["episode"]["l"] == 500
    assert steps[-1][-1]["episode"]["r"] == pytest.approx(sum(float(reward) for _, reward, *_ in steps))
    for mode in (None, "sync"):
        envs = gym.make_vec("mjx-metaworld/drawer-open-v3", max_episode_steps=2, vectorization_mode=mode)
        envs.reset()
        assert [envs.step(action[None])[3].item() for _ in range(2)] == [False, True]


@pytest.mark.parametrize("name", ["MT10", "ML10-train", "ML1-test", "custom-mt-envs", "custom-ml-envs", "easy"])
def test_a_suite_is_no_single_environment(name):
    with pytest.raises(ValueError, match="make_vec"):
        gym.make(f"mjx-metaworld/{name}", seed=42)


def test_numbers_of_numpy():
    one, two, seed = np.int64(1), np.int32(2), np.uint8(SEED)
    given = {"num_envs": two, "seed": seed, "num_goals": np.int64(NUM_GOALS), "max_episode_steps": np.int16(9)}
    envs = make_custom_mt(TASKS, **given)
    expected = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS)
    np.testing.assert_array_equal(envs.reset()[0], expected.reset()[0])
    np.testing.assert_array_equal(envs.reset(seed=seed)[0], expected.reset(seed=SEED)[0])
    np.testing.assert_array_equal(envs.reset(seed=[seed, one])[0], expected.reset(seed=[SEED, 1])[0])
    single = gym.make("mjx-metaworld/drawer-open-v3", seed=seed)
    np.testing.assert_array_equal(single.reset(seed=one)[0], single.reset(seed=1)[0])
    for wrong in (-1, 0.5, "1"):
        with pytest.raises(ValueError, match="seed must be an integer >= 0, got"):
            make_mt("reach-v3", seed=wrong)


# --- batches: who gets which goals and chooses how ---


def test_lists_of_tasks_are_dealt_as_metaworld_deals_them():
    names = ["drawer-open-v3", "reach-v3", "drawer-open-v3"]
    lanes = deal_list([spec for name in names for spec in resolve(name)], 1, seed=SEED, num_goals=NUM_GOALS)
    theirs = gym.make_vec("Meta-World/custom-mt-envs", envs_list=names, vector_strategy="sync", seed=SEED)
    for lane, expected in zip(lanes, their_goals(theirs), strict=True):
        np.testing.assert_array_equal(lane.goals, expected)
    for _ in range(6):
        theirs.reset()
        chosen = [lane.goals[lane.choose_for_reset()] for lane in lanes]
        for goal, expected in zip(chosen, theirs.get_attr("_last_rand_vec"), strict=True):
            np.testing.assert_array_equal(goal, expected)
    assert [lane.one_hot_id for lane in lanes] == [0, 1, 2]
    assert [lane.one_hot_id for lane in deal_list(resolve("reach-v3"), 3, seed=None)] == [0, 0, 0]
    theirs.close()


@pytest.mark.full
def test_a_task_that_is_listed_twice_has_two_environments():
    given = {"envs_list": ["reach-v3", "reach-v3"], "vector_strategy": "sync", "seed": SEED, "use_one_hot": True}
    ours = gym.make_vec("mjx-metaworld/custom-mt-envs", num_goals=NUM_GOALS, **given)
    theirs = gym.make_vec("Meta-World/custom-mt-envs", **given)
    np.testing.assert_allclose(ours.reset()[0], theirs.reset()[0], atol=NEAR)
    theirs.close()


@pytest.mark.parametrize("split", [pytest.param("train", marks=pytest.mark.full), "test"])
def test_lists_for_meta_learning_are_dealt_as_metaworld_deals_them(split, monkeypatch):
    # The second task's goals come after all of the first one's.
    monkeypatch.setattr(metaworld, "_N_GOALS", 50 if split == "train" else 8)
    lists = {"train_envs": TASKS, "test_envs": ["door-open-v3"]}
    given = {"split": split, "seed": SEED, "meta_batch_size": 4, "total_tasks_per_cls": 8} | lists
    theirs = gym.make_vec("Meta-World/custom-ml-envs", vector_strategy="sync", **given)
    tasks = resolve(lists[f"{split}_envs"])
    lanes = deal_goals(tasks, 4, seed=SEED, goals_per_task=8, task_select="random")
    for lane, expected in zip(lanes, their_goals(theirs), strict=True):
        np.testing.assert_array_equal(lane.goals, expected)
    assert set(theirs.get_attr("terminate_on_success")) == {False}
    assert set(theirs.get_attr("sample_tasks_on_reset")) == {True}
    theirs.close()


def test_lists_for_meta_learning_make_environments():
    ours = make_custom_ml(TASKS, ["door-open-v3"], seed=SEED, meta_batch_size=2, recurrent_info_in_obs=True)
    obs, _ = ours.reset()
    assert obs.shape == (2, 45)
    assert (obs[:, 36:] == 0).all()
    assert ours.get_attr("terminate_on_success") == (False, False)
    assert ours.get_attr("sample_tasks_on_reset") == (True, True)
    with pytest.raises(ValueError, match="test_envs must have no task of train_envs, got reach-v3 in both"):
        make_custom_ml(TASKS, ["reach-v3"])
    with pytest.raises(ValueError, match="split must be train or test, got 'both'"):
        make_custom_ml(TASKS, ["door-open-v3"], split="both")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ML10-train", {}),
        ("ML1-test", {"env_name": "drawer-open-v3"}),
        ("custom-ml-envs", {"train_envs": TASKS, "test_envs": ["door-open-v3"]}),
    ],
)
def test_two_numbers_of_environments_are_one(name, options):
    with pytest.raises(ValueError, match="give one of them, got 30 and 20"):
        gym.make_vec(f"mjx-metaworld/{name}", num_envs=30, meta_batch_size=20, **options)


def test_a_default_is_no_second_number_of_environments():
    given: dict[str, Any] = {"env_name": "drawer-open-v3", "seed": SEED}
    both = ({"meta_batch_size": 2, "num_envs": number} for number in (None, 1, np.int64(2)))
    for options in ({"meta_batch_size": 2}, {"num_envs": 2}, *both):
        assert gym.make_vec("mjx-metaworld/ML1-train", **given, **options).num_envs == 2


@pytest.mark.parametrize(
    ("suite", "options", "lanes"),
    [
        ("ML10-train", {}, 20),
        ("ML10-train", {"goals_per_task": 41}, 10),  # which two cannot share
        ("ML10-test", {}, 5),  # fifty goals cannot be shared by four
        ("ML10-test", {"goals_per_task": 40}, 20),
        ("ML25-train", {}, 25),
        ("ML45-train", {}, 45),
        ("reach-v3", {"goals_per_task": 40}, 20),
    ],
)
def test_twenty_environments_where_they_can_be_dealt(suite, options, lanes):
    assert len(deal_goals(resolve(suite), None, seed=SEED, **options)) == lanes


def test_the_train_split_of_one_task_has_the_train_goals(monkeypatch):
    """Metaworld's "ML1-train" is its test split; the function behind it is right."""
    monkeypatch.setattr(metaworld, "_N_GOALS", 8)
    given = {"seed": SEED, "meta_batch_size": 2, "total_tasks_per_cls": 8}
    right = metaworld.make_ml_envs_train("drawer-open-v3", **given)
    wrong = gym.make_vec("Meta-World/ML1-train", env_name="drawer-open-v3", **given)
    test = gym.make_vec("Meta-World/ML1-test", env_name="drawer-open-v3", **given)
    ours = {
        split: gym.make_vec(f"mjx-metaworld/ML1-{split}", env_name="drawer-open-v3", **given)
        for split in ("train", "test")
    }
    # Once this fails, docs/quirks.md is out of date.
    np.testing.assert_array_equal(their_goals(wrong), their_goals(test))
    for envs, expected in ((ours["train"], right), (ours["test"], test)):
        for goals, expected_goals in zip(envs.get_attr("goals"), their_goals(expected), strict=True):
            np.testing.assert_array_equal(goals, expected_goals)
        assert envs.get_attr("terminate_on_success") == expected.get_attr("terminate_on_success")
        assert_same_choices(envs, expected, "sample_tasks")
    for envs in (right, wrong, test):
        envs.close()


@pytest.mark.full
@pytest.mark.parametrize("suite", ["MT10", "MT50", "ML10-train", "ML45-test"])
def test_suites_are_dealt_as_metaworld_deals_them(suite, monkeypatch):
    meta = suite.startswith("ML")
    given: dict[str, Any] = {"meta_batch_size": 10, "total_tasks_per_cls": 6} if meta else {"num_goals": 3}
    monkeypatch.setattr(metaworld, "_N_GOALS", 50)
    theirs = gym.make_vec(f"Meta-World/{suite}", seed=SEED, **given)
    tasks = resolve(suite)
    dealt = deal_goals(tasks, 10, seed=SEED, goals_per_task=6) if meta else deal_tasks(tasks, 1, seed=SEED, num_goals=3)
    for lane, expected in zip(dealt, their_goals(theirs), strict=True):
        np.testing.assert_array_equal(lane.goals, expected)
    theirs.close()


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "lanes", "entries"),
    [
        ("MT10", {"num_goals": 50, "reward_normalization_method": None, "use_one_hot": True}, 10, 49),
        ("MT10", {"normalize_observations": True}, 10, 39),
        ("MT10", {"render_mode": "depth_array"}, 10, 39),
        ("MT10", {"use_one_hot": True, "num_tasks": 50}, 10, 89),
        ("ML10-train", {"meta_batch_size": 10, "recurrent_info_in_obs": True}, 10, 45),
        ("ML10-train", {}, 20, 39),
        ("custom-mt-envs", {"envs_list": ["reach-v3", "push-v3"]}, 2, 39),
    ],
)
def test_suites_take_metaworlds_arguments(name, options, lanes, entries):
    envs = gym.make_vec(f"mjx-metaworld/{name}", seed=1, vector_strategy="sync", **options)
    assert (envs.num_envs, envs.single_observation_space.shape) == (lanes, (entries,))
    assert envs.reset()[0].shape == (lanes, entries)


# --- what is refused, in metaworld too or only here ---


def both_refuse(error: type[Exception], **options: Any) -> None:
    given = {"envs_list": ["reach-v3"], "vector_strategy": "sync"} | options
    for space in ("mjx-metaworld", "Meta-World"):
        with pytest.raises(error):
            gym.make_vec(f"{space}/custom-mt-envs", **given)


def test_both_refuse():
    both_refuse(TypeError, partially_observable=False)
    both_refuse(TypeError, frame_skip=2)
    both_refuse(TypeError, train_envs=["reach-v3"])
    both_refuse(ValueError, camera_name="corner", camera_id=1)
    both_refuse(ValueError, autoreset_mode="Never")
    both_refuse(Exception, envs_list=["fly-v3"])
    both_refuse(Exception, vector_strategy="threads")
    both_refuse(Exception, max_episode_steps=-1)
    both_refuse(Exception, max_episode_steps="9")
    both_refuse(Exception, envs_list=TASKS, use_one_hot=True, env_id=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera_name": "sky"}, "camera_name must be one of topview, .*, got 'sky'"),
        ({"camera_id": 7}, r"camera_id must be from -1 \(free\) to 6 \(gripperPOV\), got 7"),
        ({"reward_normalization_method": "mean"}, "must be None, gymnasium or exponential, got 'mean'"),
        (
            {"reward_normalization_method": "exponential", "reward_alpha": 2.0},
            "reward_alpha must be a number from 0 to 1, got 2",
        ),
        (
            {"reward_normalization_method": "exponential", "reward_alpha": "a"},
            "reward_alpha must be a number from 0 to 1, got 'a'",
        ),
        ({"task_select": "best"}, "task_select must be one of random, pseudorandom, got 'best'"),
        ({"num_goals": 0}, "num_goals must be a positive integer, got 0"),
        ({"use_one_hot": True, "num_tasks": 1}, "one-hot ids must be below num_tasks, 1, got 1"),
        ({"use_one_hot": True, "env_id": 5}, "env_id is for one task, got 5 in place of the 2 one-hot ids"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_what_metaworld_takes_for_something_else_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_custom_mt(TASKS, **options)


def test_a_list_without_tasks_is_refused():
    with pytest.raises(ValueError, match="no tasks given in envs_list"):
        make_custom_mt([])
    with pytest.raises(ValueError, match="no tasks given in train_envs"):
        make_custom_ml([], TASKS)
    with pytest.raises(ValueError, match="no tasks given in test_envs"):
        make_custom_ml(TASKS, ())
    with pytest.raises(TypeError, match="tasks are names or TaskSpecs, got 5"):
        make_custom_mt(5)
    with pytest.raises(ValueError, match="a task is given twice: reach-v3"):
        make_custom_ml(["reach-v3", "reach-v3"], ["door-open-v3"])


@pytest.mark.parametrize("one", ["drawer-open-v3", *resolve("drawer-open-v3")], ids=["name", "declaration"])
def test_a_task_alone_is_a_list_of_one(one):
    assert make_custom_mt(one, seed=SEED).get_attr("env_id") == ("drawer-open-v3_0",)
    assert make_custom_ml(one, "reach-v3", seed=SEED, num_envs=2).get_attr("env_id") == (
        "drawer-open-v3_0",
        "drawer-open-v3_1",
    )


def test_names_in_one_string_are_a_list():
    envs = make_custom_mt(",".join(TASKS), seed=SEED, num_goals=NUM_GOALS)
    assert envs.get_attr("env_id") == ("reach-v3_0", "drawer-open-v3_1")


# --- pictures ---


@pytest.fixture
def opengl(monkeypatch):
    """Metaworld draws with the library that is used here."""
    with warnings.catch_warnings(action="ignore"):
        backend = choose_backend()
    if backend == "raycast":
        pytest.skip("no OpenGL library on this machine")
    monkeypatch.setenv("MUJOCO_GL", backend)


def pairs_of_pictures(mode: str, camera: dict[str, Any], *, forwarded: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ours and metaworld's of each task after a reset, where `forwarded` those of what metaworld simulates on from.

    Gymnasium's renderers leave the context of whichever was made last current, so each draws once.
    """
    given = {"envs_list": TASKS, "vector_strategy": "sync", "seed": SEED, "render_mode": mode}
    given |= {"width": 120, "height": 90} | camera
    ours = gym.make_vec("mjx-metaworld/custom-mt-envs", num_goals=NUM_GOALS, **given)
    theirs = gym.make_vec("Meta-World/custom-mt-envs", **given)
    for envs in (ours, theirs):
        envs.reset()
    if forwarded:
        for model, data in zip(theirs.get_attr("model"), theirs.get_attr("data"), strict=True):
            mujoco.mj_forward(model, data)
    drawn = zip(ours.render(), theirs.render(), strict=True)
    pairs = [(np.asarray(picture), np.asarray(other)) for picture, other in drawn]
    theirs.close()
    return pairs


@pytest.mark.ci
@pytest.mark.parametrize(
    ("mode", "camera"),
    [
        ("rgb_array", {"camera_id": 2}),
        pytest.param("rgb_array", {}, marks=pytest.mark.full),
        ("depth_array", {"camera_name": "corner3"}),
        pytest.param("rgb_array", {"camera_name": "gripperPOV"}, marks=pytest.mark.full),
        pytest.param("rgb_array", {"camera_id": -1}, marks=pytest.mark.full),
        pytest.param("depth_array", {}, marks=pytest.mark.full),
    ],
)
def test_pictures_are_metaworlds(mode, camera, opengl):
    for picture, other in pairs_of_pictures(mode, camera, forwarded=True):
        assert (picture.dtype, picture.shape) == (other.dtype, other.shape)
        # A step of what rounds colours or depths; more where an edge lies elsewhere by a rounding of positions.
        difference = np.abs(picture.astype(float) - other)
        assert np.mean(difference > (2 if mode == "rgb_array" else 1e-5)) < 0.0005


@pytest.mark.full
def test_metaworlds_first_pictures_are_as_late_as_its_observations(opengl):
    """Of tasks with `stale_reset` they show the last settling substep; ours show the state."""
    pairs = pairs_of_pictures("rgb_array", {"camera_name": "gripperPOV"}, forwarded=False)
    assert [resolve(task)[0].stale_reset for task in TASKS] == [False, True]
    reach, drawer = (np.mean(np.abs(picture.astype(float) - other) > 2) for picture, other in pairs)
    assert reach < 0.0005
    # Once there is no difference, docs/quirks.md is out of date. The hand and its camera were at most 0.1 mm away.
    assert 0.0005 < drawer < 0.03


# --- statistics of episodes ---


@pytest.mark.parametrize("autoreset_mode", ["SameStep", "NextStep"])
def test_own_statistics_of_episodes_are_right_under_every_autoreset(autoreset_mode):
    """Gymnasium's wrapper before 1.4 leaves an episode's first step out where lanes restart within a step."""
    ours = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS, max_episode_steps=3, autoreset_mode=autoreset_mode)
    ours.reset()
    generator = np.random.default_rng(0)
    returns, waiting, episodes = np.zeros(2), np.zeros(2, bool), 0
    for step in range(14):
        if step == 1:  # from here on the lanes end at different times
            ours.reset(options={"reset_mask": np.array([True, False])})
            returns[0] = 0.0
        _, reward, terminated, truncated, infos = ours.step(generator.uniform(-1, 1, (2, 4)).astype(np.float32))
        returns += reward
        assert (reward[waiting] == 0).all()  # restarted by this step
        ended = terminated | truncated
        found = infos.get("final_info", infos)
        for i in np.flatnonzero(ended):
            assert found["_episode"][i]
            assert found["episode"]["l"][i] == 3
            assert found["episode"]["r"][i] == pytest.approx(returns[i])
            returns[i] = 0
            episodes += 1
        assert ended.any() == ("episode" in found)
        waiting = ended & (autoreset_mode == "NextStep")
    assert episodes >= 6
