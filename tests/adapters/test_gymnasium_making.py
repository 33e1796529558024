"""What gymnasium makes: suites and tasks by name, with metaworld's spaces; single environments; bad arguments."""

from __future__ import annotations

import re
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs import registration
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnasium import make_custom_ml, make_ml, make_mt, register
from mjx_metaworld.adapters.gymnasium.dealing import deal_goals
from mjx_metaworld.suites import register_suite, resolve
from mjx_metaworld.tasks import task
from mjx_metaworld.tasks.registry import on_change

pytestmark = pytest.mark.usefixtures("kinematic")

SEED = 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env_name": "MT11"}, "unknown task or suite 'MT11'; did you mean MT10"),
        ({"num_envs": 3}, "num_envs must be 1 .* or at least 10, got 3"),
        ({"task_select": "best"}, "task_select must be one of random, pseudorandom, got 'best'"),
        ({"render_mode": "human"}, "render_mode must be None or one of rgb_array, depth_array, got 'human'"),
        ({"autoreset_mode": "Never"}, "autoreset_mode must be one of NextStep, SameStep, Disabled, got 'Never'"),
        ({"camera_name": "sky"}, "camera_name must be one of topview, .*corner2.*, got 'sky'"),
        ({"width": 0}, "width must be an integer from 1 to 4096, got 0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be a positive integer, got 0"),
        ({"use_one_hot": True, "env_id": 5}, "env_id is for one task, got 5 in place of the 10 one-hot ids"),
        ({"vector_strategy": "threads"}, "vector_strategy must be sync or async, got 'threads'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_mt(**({"env_name": "MT10"} | options))


@pytest.mark.parametrize("name", ["ML10", "reach-v3"])
def test_other_splits_than_two_are_refused(name):
    with pytest.raises(ValueError, match="split must be train or test, got 'foo'"):
        make_ml(name, "foo")


@pytest.mark.parametrize("split", ["foo", ["train"], None])
def test_lists_of_tasks_have_no_other_splits_either(split):
    with pytest.raises(ValueError, match=re.escape(f"split must be train or test, got {split!r}")):
        make_custom_ml(["reach-v3"], ["drawer-open-v3"], split=split)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (["reach-v3"], "['reach-v3']"),
        ("reach-v3,ML10", "'reach-v3,ML10'"),
        (resolve("reach-v3")[0], "the declaration of 'reach-v3'"),
        (None, "None"),
    ],
    ids=["list", "comma", "declaration", "None"],
)
def test_meta_learning_takes_one_name(given, got):
    message = f'env_name must be one name, such as "ML10" or "reach-v3", got {got}'
    with pytest.raises(ValueError, match=re.escape(message)):
        make_ml(given, "train")


@pytest.mark.parametrize(
    ("value", "message"),
    [(True, "the goal is hidden in meta-learning; got True"), ("no", "must be True or False, got 'no'")],
)
def test_the_goal_of_meta_learning_stays_hidden(value, message):
    for make in (partial(make_ml, "reach-v3", "train"), partial(make_custom_ml, ["reach-v3"], ["drawer-open-v3"])):
        with pytest.raises(ValueError, match=f"goal_observable {message}|goal_observable must be False.*{message}"):
            make(seed=SEED, goal_observable=value)


@pytest.mark.parametrize("value", ["no", 1, None])
@pytest.mark.parametrize(
    "name",
    [
        "goal_observable",
        "use_one_hot",
        "recurrent_info_in_obs",
        "normalize_reward_in_recurrent_info",
        "normalize_observations",
        "terminate_on_success",
    ],
)
def test_a_boolean_option_is_a_boolean(name, value):
    message = f"{name} must be True or False, got {value!r}"
    with pytest.raises(ValueError, match=message):
        gym.make_vec("mjx-metaworld/reach-v3", num_envs=2, seed=SEED, **{name: value})
    with pytest.raises(ValueError, match=message):
        gym.make("mjx-metaworld/reach-v3", seed=SEED, **{name: value})


@pytest.mark.parametrize("wrong", [{"max_contacts": 16}, {}, 0])
def test_physics_of_another_kind_are_refused(wrong):
    message = re.escape(f"physics must be mw.PhysicsConfig(...) or None, got {wrong!r}")
    with pytest.raises(TypeError, match=message):
        gym.make_vec("mjx-metaworld/reach-v3", physics=wrong)
    with pytest.raises(TypeError, match=message):
        gym.make("mjx-metaworld/reach-v3", physics=wrong)


def test_every_suite_and_task_is_registered():
    ids = {name.removeprefix("mjx-metaworld/") for name in gym.registry if name.startswith("mjx-metaworld/")}
    theirs = {name.removeprefix("Meta-World/") for name in gym.registry if name.startswith("Meta-World/")}
    assert ids == {*mw.list_suites(), *mw.list_tasks(), *theirs}


@pytest.fixture
def own_task(scratch_registry, monkeypatch):
    """A task and two suites, declared after the adapter was imported."""
    monkeypatch.setattr(registration, "registry", dict(gym.registry))
    on_change(register)
    task("reach-again", like="reach-v3", suites=("reaches",))(resolve("reach-v3")[0].reward)
    register_suite("pair-train", ["reach-again", "reach-v3"])


def test_what_is_declared_later_is_registered(own_task):
    registry = registration.registry
    assert registry["mjx-metaworld/reach-again"].kwargs == {"env_name": "reach-again"}
    assert registry["mjx-metaworld/reach-again"].entry_point is not None
    assert registry["mjx-metaworld/reaches"].kwargs == {"env_name": "reaches"}
    assert registry["mjx-metaworld/pair-train"].kwargs == {"env_name": "pair", "split": "train"}
    (lane,) = deal_goals(resolve("reach-again"), 1, seed=SEED)
    assert lane.task_name == "reach-again"


@pytest.mark.full
def test_a_task_of_ones_own_is_made(own_task):
    env = gym.make("mjx-metaworld/reach-again", seed=SEED, render_mode="rgb_array", width=32, height=24)
    env.reset()
    assert env.step(env.action_space.sample())[0].shape == (39,)
    assert np.asarray(env.render()).shape == (24, 32, 3)
    envs = gym.make_vec("mjx-metaworld/pair-train", seed=SEED)
    assert envs.get_attr("task_name") == ("reach-again",) * 10 + ("SawyerReachEnvV3",) * 10
    envs = gym.make_vec("mjx_metaworld.adapters.gymnasium:mjx-metaworld/reach-v3", num_envs=3, seed=0)
    assert envs.num_envs == 3
    assert envs.spec is not None
    assert envs.spec.id == "mjx-metaworld/reach-v3"
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    obs, _ = envs.reset()
    assert len(np.unique(obs[:, 36:39], axis=0)) == 3  # lanes of one task choose differently


def test_goals_are_dealt_to_meta_learning_lanes_like_metaworlds():
    names = [spec.name for spec in resolve("ML10-test")]
    lanes = deal_goals(resolve("ML10-test"), 10, seed=SEED, goals_per_task=40)
    assert [lane.spec.name for lane in lanes] == [name for name in names for _ in range(2)]
    frozen = mw.goals("ML10-test", SEED)
    np.testing.assert_array_equal(lanes[3].goals, frozen[1][1:40:2])
    assert len(deal_goals(resolve("ML10-test"), 1, seed=SEED)) == 5
    with pytest.raises(ValueError, match="multiple of the 5 tasks, got 7"):
        deal_goals(resolve("ML10-test"), 7, seed=SEED)
    with pytest.raises(ValueError, match="50 goals a task cannot be dealt evenly to 4"):
        deal_goals(resolve("ML10-test"), 20, seed=SEED)


@pytest.mark.ci
def test_the_single_environment_passes_gymnasiums_checker():
    env = gym.make("mjx-metaworld/reach-v3", seed=0, render_mode="rgb_array", width=32, height=24)
    check_env(env.unwrapped)
    obs, _ = env.reset(seed=1)
    assert obs.dtype == np.float64
    picture = np.asarray(env.render())
    assert picture.shape == (24, 32, 3)
    assert picture.std() > 0  # not blank
    _, reward, terminated, truncated, info = env.step(np.zeros(4, np.float32))
    assert isinstance(reward, float)
    assert (terminated, truncated) == (False, False)
    assert set(info) == set(mw.Metrics.__dataclass_fields__)
    with pytest.raises(ValueError, match=r"shape \(4,\), got \(3,\)"):
        env.step(np.zeros(3))
    env.close()
    env.close()


def test_a_suite_is_no_single_environment():
    with pytest.raises(ValueError, match=r"'MT10' is a suite; make it with gymnasium.make_vec"):
        gym.make("mjx-metaworld/MT1", env_name="MT10")


@pytest.mark.full
@pytest.mark.parametrize("suite", ["MT10", "MT25", "MT50", "ML10-train", "ML10-test", "ML25-test", "ML45-test"])
def test_spaces_and_first_observations_of_suites_are_metaworlds(suite):
    # Of meta-learning suites metaworld makes 20 by default, which most numbers of tasks do not divide.
    options = {"meta_batch_size": len(resolve(suite))} if suite.startswith("ML") else {}
    ours, theirs = (
        gym.make_vec(f"{namespace}/{suite}", seed=SEED, **options) for namespace in ("mjx-metaworld", "Meta-World")
    )
    assert ours.num_envs == theirs.num_envs
    assert ours.action_space == theirs.action_space
    assert ours.observation_space.shape == theirs.observation_space.shape
    assert ours.observation_space.dtype == theirs.observation_space.dtype
    assert ours.get_attr("task_name") == theirs.get_attr("task_name")
    if suite.startswith("ML"):  # where a reset chooses no goal by itself
        for envs in (ours, theirs):
            envs.call("sample_tasks")
    (obs, _), (expected, _) = ours.reset(), theirs.reset()
    assert ours.observation_space.contains(obs)
    np.testing.assert_allclose(obs, expected, atol=1e-5)  # the parity table's bar of a reset
    theirs.close()


@pytest.mark.full
@pytest.mark.parametrize("name", [*mw.list_suites(), *mw.list_tasks()])
def test_every_suite_and_task_can_be_made(name):
    specs = resolve(name)
    num_envs = 2 * len(specs)
    envs = gym.make_vec(f"mjx-metaworld/{name}", num_envs=num_envs, seed=SEED)
    obs, infos = envs.reset()
    assert (obs.shape, obs.dtype, infos) == ((num_envs, 39), np.float64, {})
    assert envs.observation_space.contains(obs)
    assert len(set(envs.get_attr("env_id"))) == num_envs
    assert len(set(envs.get_attr("task_name"))) == len(specs)
    envs.close()
