"""Arguments of metaworld's registrations mean here what they mean there, number for number.

Metaworld's own environments run beside, with few goals, as it takes seconds to draw fifty.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from gymnasium.wrappers.utils import RunningMeanStd
from metaworld.wrappers import NormalizeRewardsExponential, OneHotWrapper, RNNBasedMetaRLWrapper

from mjx_metaworld.adapters.gymnasium import make_custom_mt

pytestmark = pytest.mark.usefixtures("kinematic", "few_goals")

SEED = 3
TASKS = ["reach-v3", "drawer-open-v3"]
NUM_GOALS = 4
NEAR = 1e-3  # of observations: float32, and reach's puck at rest wobbles by some 1e-4 in both, unlike
GOAL = slice(36, 39)


def make_pair(**options: Any) -> tuple[VectorEnv, VectorEnv]:
    """Two tasks here and in metaworld."""
    given = {"envs_list": TASKS, "vector_strategy": "sync", "seed": SEED} | options
    ours = gym.make_vec("mjx-metaworld/custom-mt-envs", num_goals=NUM_GOALS, **given)
    return ours, gym.make_vec("Meta-World/custom-mt-envs", **given)


def actions_of(count: int, num_envs: int = len(TASKS)) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    return (generator.uniform(-1.2, 1.2, (num_envs, 4)).astype(np.float32) for _ in range(count))


# --- one table of all that a sub-environment takes ---

ARGUMENTS = {
    "nothing": {},
    "one-hot": {"use_one_hot": True},
    "recurrent": {"recurrent_info_in_obs": True},
    "recurrent, one-hot": {"recurrent_info_in_obs": True, "use_one_hot": True},
    "recurrent, whole reward": {"recurrent_info_in_obs": True, "normalize_reward_in_recurrent_info": False},
    "gymnasium's rewards": {"reward_normalization_method": "gymnasium"},
    "exponential rewards": {"reward_normalization_method": "exponential"},
    "fast exponential rewards": {"reward_normalization_method": "exponential", "reward_alpha": 0.1},
    "no reward normalisation": {"reward_normalization_method": None},
    "normalised observations": {"normalize_observations": True},
    "all": {
        "use_one_hot": True,
        "recurrent_info_in_obs": True,
        "normalize_observations": True,
        "reward_normalization_method": "gymnasium",
    },
    "terminating": {"terminate_on_success": True},
    "pseudorandom": {"task_select": "pseudorandom"},
    "random": {"task_select": "random"},
    "next step": {"autoreset_mode": "NextStep"},
    "next step, all": {"autoreset_mode": "NextStep", "normalize_observations": True, "recurrent_info_in_obs": True},
    "three steps": {"max_episode_steps": 3},
    "default length": {"max_episode_steps": None},
    "rewards v1": {"reward_function_version": "v1"},
    "rewards v2": {"reward_function_version": "v2"},
}
QUICK = ("nothing", "all", "next step, all", "pseudorandom")
EACH_ARGUMENT = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in ARGUMENTS]
)


@EACH_ARGUMENT
def test_arguments_mean_what_they_mean_to_metaworld(name):
    """Spaces, first observations, ends, and which infos there are."""
    check_beside_metaworld(ARGUMENTS[name], physics=False)


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
@EACH_ARGUMENT
def test_values_under_arguments_are_those_of_metaworld(name):
    check_beside_metaworld(ARGUMENTS[name], physics=True)


def check_beside_metaworld(options: dict[str, Any], *, physics: bool) -> None:
    ours, theirs = make_pair(**({"max_episode_steps": 4} | options))
    assert ours.num_envs == theirs.num_envs
    assert ours.single_action_space == theirs.single_action_space
    assert ours.single_observation_space.shape == theirs.single_observation_space.shape
    assert ours.single_observation_space.dtype == theirs.single_observation_space.dtype
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    if options.get("task_select") == "pseudorandom":  # where a reset chooses no goal by itself
        for envs in (ours, theirs):
            envs.call("sample_tasks")
    obs, infos = ours.reset()
    expected, expected_infos = theirs.reset()
    assert infos == expected_infos == {}
    assert obs.dtype == expected.dtype
    # What has been seen once is normalised to about nothing, and rounding with it to a hundred times as much.
    near = 0.2 if options.get("normalize_observations") else NEAR
    np.testing.assert_allclose(obs, expected, atol=near)
    known = physics or not options.get("normalize_observations")
    for actions in actions_of(9):
        obs, reward, *ends, infos = ours.step(actions)
        expected, expected_reward, *expected_ends, expected_infos = theirs.step(actions)
        assert (obs.dtype, reward.dtype) == (expected.dtype, expected_reward.dtype)
        assert ours.observation_space.contains(obs)
        np.testing.assert_array_equal(ends, expected_ends)
        assert_same_infos(infos, expected_infos)
        if physics:
            np.testing.assert_allclose(reward, expected_reward, atol=2e-3, rtol=2e-3)
            np.testing.assert_allclose(obs, expected, atol=near)
        elif known:
            columns = np.delete(np.arange(36, obs.shape[1]), rewards_column(obs.shape[1], options))
            np.testing.assert_allclose(obs[:, columns], expected[:, columns], atol=NEAR)
    theirs.close()


def rewards_column(size: int, options: dict[str, Any]) -> list[int]:
    """The entry of a recurrent observation that the engine decides, counted from the goal."""
    return [size - 2 - 36] if options.get("recurrent_info_in_obs") else []


def assert_same_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Same keys, masks, dtypes and episode lengths."""
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        if isinstance(expected, dict):
            assert_same_infos(ours[key], expected)
            continue
        assert (ours[key].dtype, ours[key].shape) == (expected.dtype, expected.shape), key
        if key == "l" or key.startswith("_"):
            np.testing.assert_array_equal(ours[key], expected)
        elif key == "final_obs":
            for row, expected_row in zip(ours[key], expected, strict=True):
                assert (row is None) == (expected_row is None)
                assert row is None or (row.dtype, row.shape) == (expected_row.dtype, expected_row.shape)


# --- what wrappers compute, number for number ---


class Replay(gym.Env):
    """One lane of a recording, to be wrapped by the wrappers that metaworld uses."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (39,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    def __init__(self, firsts: list[np.ndarray], steps: list[tuple]) -> None:
        self._firsts, self._steps = iter(firsts), iter(steps)

    def reset(self, *, seed=None, options=None):
        return next(self._firsts), {}

    def step(self, action):
        return *next(self._steps), {}


@functools.cache
def record(steps: int, **options: Any) -> tuple[list[list[np.ndarray]], list[list[tuple]]]:
    """First observations and steps of each lane, without any wrapper's work."""
    envs = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS, max_episode_steps=4, **options)
    obs, _ = envs.reset()
    firsts, lanes = [[row] for row in obs], [[] for _ in obs]
    for actions in actions_of(steps):
        obs, reward, terminated, truncated, infos = envs.step(actions)
        for i, lane in enumerate(lanes):
            ended = terminated[i] or truncated[i]
            after = infos["final_obs"][i] if ended else obs[i]
            lane.append((after, reward[i], terminated[i], truncated[i]))
            if ended:
                firsts[i].append(obs[i])
    return firsts, lanes


def wrapped(env: gym.Env, lane: int, options: dict[str, Any]) -> gym.Env:
    """Metaworld's order of wrappers."""
    if options.get("use_one_hot"):
        env = OneHotWrapper(env, lane, len(TASKS))
    if options.get("recurrent_info_in_obs"):
        env = RNNBasedMetaRLWrapper(env, normalize_reward=options.get("normalize_reward_in_recurrent_info", True))
    if options.get("reward_normalization_method") == "gymnasium":
        env = NormalizeReward(env)
    elif options.get("reward_normalization_method") == "exponential":
        env = NormalizeRewardsExponential(reward_alpha=options.get("reward_alpha", 0.001), env=env)
    return NormalizeObservation(env) if options.get("normalize_observations") else env


# The versions of the reward are no wrapper's.
WRAPPED = [name for name in ARGUMENTS if re.search("norm|rec|rew", name) and not name.startswith("rewards")]


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_give_the_same_numbers(name):
    options = ARGUMENTS[name]
    steps = 14
    firsts, lanes = record(steps, terminate_on_success=True)
    ours = make_custom_mt(
        TASKS, seed=SEED, num_goals=NUM_GOALS, max_episode_steps=4, terminate_on_success=True, **options
    )
    theirs = [wrapped(Replay(*recorded), i, options) for i, recorded in enumerate(zip(firsts, lanes, strict=True))]
    obs, _ = ours.reset()
    np.testing.assert_allclose(obs, np.stack([env.reset()[0] for env in theirs]), rtol=1e-6)
    returns = np.zeros(len(TASKS))
    for actions in actions_of(steps):
        obs, reward, terminated, truncated, infos = ours.step(actions)
        for i, env in enumerate(theirs):
            expected, expected_reward, *ends, _ = env.step(actions[i])
            assert ends == [terminated[i], truncated[i]]
            np.testing.assert_allclose(reward[i], float(expected_reward), rtol=1e-12)
            returns[i] += float(expected_reward)
            if any(ends):
                np.testing.assert_allclose(infos["final_obs"][i], expected, rtol=1e-6, atol=1e-6)
                assert infos["final_info"]["episode"]["r"][i] == pytest.approx(returns[i])
                returns[i] = 0.0
                expected, _ = env.reset()
            np.testing.assert_allclose(obs[i], np.asarray(expected), rtol=1e-6, atol=1e-6)


def test_statistics_can_be_frozen_and_carried_over():
    """As gymnasium's guide has it for evaluations: the same names, by `set_attr` and `get_attr`."""
    options = {"normalize_observations": True, "reward_normalization_method": "gymnasium"}
    ours = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS, max_episode_steps=4, **options)
    other = make_custom_mt(TASKS, seed=SEED + 1, num_goals=NUM_GOALS, max_episode_steps=4, **options)
    ours.reset()
    for actions in actions_of(5):
        ours.step(actions)
    seen = ours.get_attr("obs_rms")
    assert [(lane.mean.shape, lane.count) for lane in seen] == [((39,), pytest.approx(7 + 1e-4))] * 2  # with two resets
    assert [(lane.mean.shape, lane.count) for lane in ours.get_attr("return_rms")] == [
        ((), pytest.approx(5 + 1e-4))
    ] * 2
    other.set_attr("obs_rms", seen)
    other.set_attr("update_running_mean", False)
    obs, _ = other.reset()
    plain = make_custom_mt(TASKS, seed=SEED + 1, num_goals=NUM_GOALS)
    (raw, _) = plain.reset()
    for i, lane in enumerate(seen):
        np.testing.assert_allclose(obs[i], (raw[i] - lane.mean) / np.sqrt(lane.var + 1e-8), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other.get_attr("obs_rms")[i].mean, lane.mean)  # still
    with pytest.raises(AttributeError, match="keeps no 'obs_rms'; normalize_observations does"):
        plain.get_attr("obs_rms")
    with pytest.raises(AttributeError, match="keeps no 'return_rms'; reward_normalization_method='gymnasium' does"):
        make_custom_mt(TASKS, reward_normalization_method="exponential").set_attr("return_rms", list(seen))


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ("x", TypeError, "{name} must be gymnasium's RunningMeanStd, got 'x'"),
        (None, TypeError, "{name} must be gymnasium's RunningMeanStd, got None"),
        (
            {"mean": np.zeros(5)},
            ValueError,
            r"{name}.mean must be finite numbers of shape \({shape}\), got shape \(5,\)",
        ),
        ({"mean": np.nan}, ValueError, r"{name}.mean must be finite numbers of shape \({shape}\), got .*nan"),
        ({"mean": "y"}, ValueError, r"{name}.mean must be finite numbers of shape \({shape}\), got .*y"),
        ({"var": -1.0}, ValueError, r"{name}.var must be finite numbers >= 0 of shape \({shape}\), got .*-1"),
        ({"var": np.nan}, ValueError, r"{name}.var must be finite numbers >= 0 of shape \({shape}\), got .*nan"),
        ({"count": -2.0}, ValueError, r"{name}.count must be finite numbers >= 0 of shape \(\), got -2"),
        ({"count": None}, ValueError, r"{name}.count must be finite numbers >= 0 of shape \(\), got None"),
    ],
)
@pytest.mark.parametrize(("name", "shape"), [("obs_rms", (39,)), ("return_rms", ())])
def test_what_is_no_statistics_is_refused_and_no_lane_takes_any(name, shape, wrong, kind, message):
    envs = make_custom_mt(
        TASKS,
        seed=SEED,
        num_goals=NUM_GOALS,
        normalize_observations=True,
        reward_normalization_method="gymnasium",
    )
    good = RunningMeanStd(shape=shape)
    good.mean, good.count = np.full(shape, 3.0), 8.0
    bad: Any = wrong
    if isinstance(wrong, dict):
        bad = RunningMeanStd(shape=shape)
        for part, value in wrong.items():
            whole = np.ndim(value) or part == "count"
            setattr(bad, part, value if whole else np.full(shape, value))
    before = envs.get_attr(name)
    with pytest.raises(kind, match=message.format(name=name, shape="39," if shape else "")):
        envs.set_attr(name, [good, bad])
    for now, then in zip(envs.get_attr(name), before, strict=True):
        np.testing.assert_array_equal([now.mean, now.var], [then.mean, then.var])
        assert now.count == then.count


def test_statistics_of_one_number_are_none_of_observations():
    envs = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS, normalize_observations=True)
    with pytest.raises(ValueError, match=r"obs_rms.mean must be finite numbers of shape \(39,\), got shape \(\)"):
        envs.set_attr("obs_rms", RunningMeanStd())


def test_nothing_is_set_of_a_closed_environment():
    envs = make_custom_mt(TASKS, seed=SEED, num_goals=NUM_GOALS, normalize_observations=True)
    statistics = envs.get_attr("obs_rms")
    envs.close()
    for name, value in (("terminate_on_success", True), ("obs_rms", statistics)):
        with pytest.raises(ClosedEnvironmentError, match="the environment is closed"):
            envs.set_attr(name, value)


def test_a_partial_reset_leaves_the_observations_of_other_lanes():
    ours, theirs = make_pair(normalize_observations=True, recurrent_info_in_obs=True, autoreset_mode="Disabled")
    for envs in (ours, theirs):
        envs.reset()
    for actions in actions_of(2):
        (before, *_), (expected_before, *_) = ours.step(actions), theirs.step(actions)
    mask = np.array([True, False])
    obs, _ = ours.reset(options={"reset_mask": mask})
    expected, _ = theirs.reset(options={"reset_mask": mask.copy()})
    np.testing.assert_array_equal(obs[1], before[1])
    np.testing.assert_array_equal(expected[1], expected_before[1])
    assert (obs[0] != before[0]).any()
    theirs.close()
