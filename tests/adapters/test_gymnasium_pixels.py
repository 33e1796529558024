"""Pictures as observations of gymnasium's: their spaces, and one picture a step and lane in every autoreset mode."""

from __future__ import annotations

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mjx_metaworld as mw
from mjx_metaworld.adapters.gymnasium import make_mt
from mjx_metaworld.adapters.gymnasium import sight as sight_module
from mjx_metaworld.rendering.on_device import draw_lanes

pytest.importorskip("warp")
pytestmark = pytest.mark.usefixtures("kinematic")

LANES, SIZE, STEPS = 3, 16, 4
PIXELS = mw.Pixels("corner2", SIZE, SIZE)
ACTIONS = np.full((LANES, 4), 0.5, np.float32)


def make(autoreset_mode="SameStep", pixels=PIXELS, **options):
    settings = {"num_envs": LANES, "num_goals": 2, "seed": 0, "max_episode_steps": STEPS, **options}
    return make_mt("reach-v3", autoreset_mode=autoreset_mode, pixels=pixels, **settings)


class Drawn(list):
    """Lanes drawn by every call, and the pictures: each call's darker than the one's before, to tell them apart."""

    def __init__(self):
        super().__init__()
        self.images = []

    def clear(self):
        super().clear()
        self.images.clear()

    def __call__(self, env, pixels, state, lanes):
        self.append(lanes.tolist())
        self.images.append(draw_lanes(env, pixels, state, lanes) // (1 + len(self.images)))
        return self.images[-1]


@pytest.fixture
def drawn(monkeypatch):
    monkeypatch.setattr(sight_module, "draw_lanes", counting := Drawn())
    return counting


def pictures(envs):
    return np.asarray(jax.jit(jax.vmap(mw.camera(envs._programs.env, "corner2", SIZE, SIZE)))(envs._state))


def test_observations_are_a_dict_of_numbers_and_pictures():
    envs, blind = make(), make(pixels=None)
    assert isinstance(envs.single_observation_space, gym.spaces.Dict)
    assert envs.single_observation_space["pixels"] == gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    assert envs.single_observation_space["state"] == blind.single_observation_space
    (obs, _), (plain, _) = envs.reset(seed=1), blind.reset(seed=1)
    for _ in range(2):
        assert envs.observation_space.contains(obs)
        np.testing.assert_array_equal(obs["state"], plain)
        np.testing.assert_array_equal(obs["pixels"], pictures(envs))
        (obs, *_), (plain, *_) = envs.step(ACTIONS), blind.step(ACTIONS)
    kept = obs["pixels"].copy()
    envs.step(-ACTIONS)
    np.testing.assert_array_equal(obs["pixels"], kept)  # what was handed out stays as it was


def test_a_picture_a_step_and_two_where_an_episode_ends_in_the_same_step(drawn):
    envs = make()
    envs.reset(seed=1)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert drawn == [[0, 1, 2], [0]]
    for step in range(1, STEPS + 1):
        drawn.clear()
        obs, _, _, truncated, infos = envs.step(ACTIONS)
        assert truncated.all() == (step == STEPS)
        assert drawn == [[0, 1, 2]] * (1 + (step == STEPS))
    final = infos["final_obs"][1]
    assert envs.single_observation_space.contains(final)
    np.testing.assert_array_equal(final["pixels"], drawn.images[0][1])
    np.testing.assert_array_equal(obs["pixels"], drawn.images[1])


def test_only_lanes_that_end_are_drawn_twice(drawn):
    envs = make()
    envs.reset(seed=1)
    envs.step(ACTIONS)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    for _ in range(STEPS - 1):
        drawn.clear()
        obs, _, _, truncated, infos = envs.step(ACTIONS)
    assert truncated.tolist() == [False, True, True]
    assert drawn == [[0, 1, 2], [1, 2]]
    assert infos["final_obs"][0] is None
    np.testing.assert_array_equal(obs["pixels"][0], drawn.images[0][0])
    np.testing.assert_array_equal(obs["pixels"][1:], drawn.images[1])


@pytest.mark.ci
@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_one_picture_a_step_where_restarts_wait(mode, drawn):
    envs = make(mode)
    envs.reset(seed=1)
    for step in range(1, STEPS + 2):
        if mode == "Disabled" and step == STEPS + 1:
            break
        drawn.clear()
        obs, _, _, truncated, infos = envs.step(ACTIONS)
        assert drawn == [[0, 1, 2]]
        assert "final_obs" not in infos
        np.testing.assert_array_equal(obs["pixels"], pictures(envs))
    assert truncated.all() == (mode == "Disabled")


def test_several_cameras_and_depth_as_a_dict_of_arguments():
    wanted = {"camera": ["corner2", "topview"], "width": 12, "height": SIZE, "depth": True}
    envs = make(pixels=wanted, num_envs=1)
    obs, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(obs)
    assert obs["pixels"].shape == (1, 2, SIZE, 12, 3)
    assert obs["depth"].shape == obs["segmentation"].shape == (1, 2, SIZE, 12)
    assert 0.5 < np.median(obs["depth"]) < 3.0


def test_gym_make_and_make_vec_take_pixels():
    env = gym.make("mjx-metaworld/reach-v3", pixels={"width": SIZE, "height": SIZE}, num_goals=2, seed=0)
    check_env(env.unwrapped, skip_render_check=True)
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    after, *_ = env.step(ACTIONS[0])
    assert np.any(after["pixels"] != obs["pixels"])
    envs = gym.make_vec("mjx-metaworld/reach-v3", num_envs=LANES, pixels=PIXELS, num_goals=2, seed=0)
    obs, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(obs)
    (first, _), *_ = envs.unwrapped.call("sample_tasks")
    assert envs.single_observation_space.contains(first)
    flat = gym.wrappers.FilterObservation(env, ["pixels"])
    assert set(flat.reset()[0]) == {"pixels"}


def test_bad_pixels_are_refused():
    with pytest.raises(TypeError, match=r"pixels must be mw\.Pixels.*got 64"):
        make(pixels=64)
    with pytest.raises(TypeError, match="colour"):
        make(pixels={"colour": True})
    with pytest.raises(ValueError, match="no camera 'side'"):
        make(pixels={"camera": "side"})
