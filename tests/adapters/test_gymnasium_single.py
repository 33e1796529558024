"""Single environments by the names that metaworld's wrappers have, alone and in gymnasium's own vectors."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest

from mjx_metaworld.adapters.gymnasium import MetaWorldGymEnv, make_mt

pytestmark = pytest.mark.usefixtures("kinematic", "few_goals")

SEED, NUM_GOALS = 3, 3
GIVEN = {"env_name": "drawer-open-v3", "seed": SEED, "num_goals": NUM_GOALS}
NAMES = ["terminate_on_success", "sample_tasks_on_reset", "update_running_mean", "obs_rms", "return_rms", "task_name"]
NAMES += ["toggle_terminate_on_success", "toggle_sample_tasks_on_reset", "sample_tasks"]
NAMES += ["get_checkpoint", "load_checkpoint"]
STILL = np.zeros(4, np.float32)


def pair(**options) -> list[gym.Env]:
    """Ours and metaworld's."""
    return [gym.make(f"{space}/MT1", **GIVEN, **options) for space in ("mjx-metaworld", "Meta-World")]


def call(env: gym.Env, name: str, *args):
    """Call a method of the environment or of a wrapper around it."""
    return env.get_wrapper_attr(name)(*args)


def test_the_names_of_metaworlds_wrappers_are_there():
    ours, theirs = pair(normalize_observations=True, reward_normalization_method="gymnasium")
    assert [name for name in NAMES if not ours.has_wrapper_attr(name)] == []
    assert [name for name in NAMES if not theirs.has_wrapper_attr(name)] == []
    assert ours.get_wrapper_attr("task_name") == theirs.get_wrapper_attr("task_name") == "SawyerDrawerOpenEnvV3"
    plain, expected = pair()
    for name in ("obs_rms", "return_rms"):
        assert plain.has_wrapper_attr(name) is expected.has_wrapper_attr(name) is False


def test_goals_are_chosen_by_name_as_by_metaworld():
    ours, theirs = pair(task_select="pseudorandom")
    seen = []
    for name in ("sample_tasks", "reset", "sample_tasks", "sample_tasks", "reset", "sample_tasks"):
        (obs, info), (expected, _) = (call(env, name) for env in (ours, theirs))
        np.testing.assert_allclose(obs[36:], expected[36:], atol=1e-6)
        assert info == {}
        seen.append(tuple(obs[36:]))
    assert len(set(seen)) == NUM_GOALS
    call(ours, "toggle_sample_tasks_on_reset", True)
    assert ours.get_wrapper_attr("sample_tasks_on_reset") is True
    assert len({tuple(ours.reset()[0][36:]) for _ in range(NUM_GOALS)}) > 1
    first, _ = call(ours, "sample_tasks")
    np.testing.assert_array_equal(ours.step(STILL)[0][36:], first[36:])


def test_statistics_can_be_frozen_and_carried_over():
    ours, theirs = pair(normalize_observations=True)
    for env in (ours, theirs):
        for _ in range(3):
            env.reset()
        env.set_wrapper_attr("update_running_mean", False)
        env.reset()
        env.step(STILL)
        assert env.get_wrapper_attr("obs_rms").count == pytest.approx(3 + 1e-4)
    ours.set_wrapper_attr("obs_rms", theirs.get_wrapper_attr("obs_rms"))
    np.testing.assert_array_equal(ours.get_wrapper_attr("obs_rms").mean, theirs.get_wrapper_attr("obs_rms").mean)


def test_checkpoints_repeat_the_choice_of_goals():
    """Also where they are loaded before the first reset, and with physics drawn by seed and number of the episode."""
    options = GIVEN | {"randomise": "friction=0.5,1.5"}
    env = MetaWorldGymEnv(**options)
    env.reset(seed=8)
    saved = json.loads(json.dumps([env.get_checkpoint()]))
    expected = [(env.reset()[0], env._batch.call("parameters")[0]) for _ in range(4)]
    other = MetaWorldGymEnv(**(options | {"seed": None}))
    other.load_checkpoint(saved)
    for obs, parameters in expected:
        np.testing.assert_array_equal(other.reset()[0], obs)
        np.testing.assert_array_equal(other._batch.call("parameters")[0], parameters)
    with pytest.raises(ValueError, match="no checkpoint of 'drawer-open-v3_0', only of x"):
        other.load_checkpoint([("x", {})])


@pytest.mark.parametrize("randomise", [None, "friction=0.5,1.5"])
def test_a_generator_of_the_users_own_chooses_and_draws(randomise):
    """Its seed is unknown; goals are the same with randomised physics, which each episode draws anew."""

    def made() -> MetaWorldGymEnv:
        return MetaWorldGymEnv(**GIVEN, randomise=randomise)

    def start(env: MetaWorldGymEnv) -> np.ndarray:
        obs, _ = env.reset()
        return obs if randomise is None else np.concatenate([obs, env._batch.call("parameters")[0]])

    env, again, other = made(), made(), made()
    again.reset()
    for own in (env, again):
        own.np_random = np.random.default_rng(0)
    first = [start(env) for _ in range(3)]
    np.testing.assert_array_equal([start(again) for _ in range(3)], first)
    assert len(np.unique(first, axis=0)) == 3 or randomise is None
    plain = MetaWorldGymEnv(**GIVEN)
    plain.np_random = np.random.default_rng(0)
    np.testing.assert_array_equal([plain.reset()[0][36:] for _ in range(3)], [row[36:39] for row in first])

    saved = json.loads(json.dumps([env.get_checkpoint()]))
    expected = [start(env) for _ in range(3)]
    for own in (env, other):
        own.load_checkpoint(saved)
        assert own.np_random_seed == -1
        np.testing.assert_array_equal([start(own) for _ in range(3)], expected)


def test_a_checkpoint_is_of_the_generator_that_has_just_been_assigned():
    env, other = MetaWorldGymEnv(**GIVEN), MetaWorldGymEnv(**GIVEN)
    env.np_random, other.np_random = np.random.default_rng(5), np.random.default_rng(6)
    other.load_checkpoint([env.get_checkpoint()])
    np.testing.assert_array_equal([other.reset()[0] for _ in range(4)], [env.reset()[0] for _ in range(4)])


def test_gymnasiums_own_vector_reaches_them():
    envs = gym.make_vec("mjx-metaworld/MT1", num_envs=2, vectorization_mode="sync", **GIVEN)
    envs.set_attr("terminate_on_success", [True, False])
    assert envs.get_attr("terminate_on_success") == (True, False)
    envs.call("toggle_terminate_on_success", True)
    assert envs.get_attr("terminate_on_success") == (True, True)
    assert [obs.shape for obs, _ in envs.call("sample_tasks")] == [(39,), (39,)]


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_a_switch_is_a_boolean(wrong):
    """By toggles, setters and lists of one value a lane, of which none is set if one is wrong."""
    single, batch = MetaWorldGymEnv(**GIVEN), make_mt(**GIVEN, num_envs=2)
    for name in ("terminate_on_success", "sample_tasks_on_reset", "update_running_mean"):
        before = batch.get_attr(name)
        message = f"{name} must be True or False, got {wrong!r}"
        with pytest.raises(ValueError, match=message):
            setattr(single, name, wrong)
        with pytest.raises(ValueError, match=message):
            batch.set_attr(name, wrong)
        with pytest.raises(ValueError, match=message):
            batch.set_attr(name, [not before[0], wrong])
        if name != "update_running_mean":  # which has no toggle
            with pytest.raises(ValueError, match=message):
                getattr(single, f"toggle_{name}")(wrong)
            with pytest.raises(ValueError, match=message):
                batch.call(f"toggle_{name}", wrong)
        assert batch.get_attr(name) == before
        assert getattr(single, name) is before[0]


def test_booleans_may_be_numpys():
    yes = np.True_
    env = MetaWorldGymEnv(**GIVEN, goal_observable=yes, use_one_hot=yes, recurrent_info_in_obs=yes)
    assert env.reset()[0].shape == (39 + 1 + 6,)
    env.toggle_terminate_on_success(yes)
    assert env.terminate_on_success is True
