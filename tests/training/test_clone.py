"""Cloning: what is seen and answered, who moves the lanes, and that a policy that sees learns where to go."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training_probes import RUN_CONFIGS, assert_bitwise_equal, drawn_view, expert, probe, run_probe

import mjx_metaworld as mw
from mjx_metaworld.cli.main import main
from mjx_metaworld.cli.train import Train, configuration
from mjx_metaworld.episodes import EpisodeStats
from mjx_metaworld.suites import GOALS_SEED
from mjx_metaworld.training import (
    CloneConfig,
    CloneState,
    TrainConfig,
    View,
    load,
    make_clone,
    preset,
    train,
    training_env,
)
from mjx_metaworld.training.config import as_json, from_json, sight_of
from mjx_metaworld.training.evaluation import make_evaluator
from mjx_metaworld.training.opengl_evaluation import evaluate_with
from mjx_metaworld.training.reference_evaluation import evaluate_on_reference
from mjx_metaworld.training.view import Sight, device_eyes, look_at_some, opengl_eyes
from mjx_metaworld.training.vision import patches
from mjx_metaworld.vector import reset_to_goals

CONFIG = dataclasses.replace(RUN_CONFIGS["clone"], channels=(8, 8), hidden=(32,), updates=8, learning_rate=3e-3)
TINY = CloneConfig(
    num_envs=4,
    horizon=2,
    episode_steps=8,
    picture_size=16,
    channels=(4,),
    hidden=(8,),
    expert_steps=8,
    replay_size=16,
    updates=1,
    batch_size=8,
)
pytestmark = [pytest.mark.ci, pytest.mark.usefixtures("kinematic")]


@pytest.fixture
def seeing():
    """Needs the extra `pixels`."""
    pytest.importorskip("warp")


def seen_by_probe(numbers: np.ndarray) -> View:
    obs = jnp.stack([jnp.zeros(len(numbers)), jnp.asarray(numbers, jnp.float32)], -1)
    env = probe(lambda task, obs, action: 0.0 * task, num_envs=len(numbers))
    return drawn_view(env.reset(jax.random.key(0)).replace(obs=obs), CONFIG.sight())


# --- what is learnt ---


def test_what_is_seen_is_learnt_and_a_lane_is_moved_by_the_student_at_last():
    env = probe(lambda task, obs, action: 0.0 * task, num_envs=16, show_drawn=True)
    algorithm = make_clone(CONFIG, env)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    iterate = jax.jit(algorithm.iterate, donate_argnums=0)
    shares, losses = [], []
    for _ in range(60):
        state, report = iterate(state)
        shares.append(float(report.expert_share))
        losses.append(float(report.loss))
    np.testing.assert_allclose(shares[:4], [1.0, 0.5, 0.0, 0.0])  # 128 steps an iteration, 256 of the expert's
    numbers = np.linspace(-0.9, 0.9, 7)
    action = algorithm.policy(state)(seen_by_probe(numbers), np.zeros(7, np.int32))
    assert losses[0] > 0.1
    # A spot's place is known to a tenth of a pixel; what is left is the averaged student's lag.
    np.testing.assert_allclose(action, np.stack([numbers, 0 * numbers], -1), atol=0.12)


def test_lanes_are_moved_by_the_expert_while_its_share_is_one():
    env = probe(lambda task, obs, action: -jnp.abs(action - expert(obs, task)).max(-1), num_envs=16, show_drawn=True)
    algorithm = make_clone(dataclasses.replace(CONFIG, push=0.0, updates=1), env)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    iterate = jax.jit(algorithm.iterate)
    returns = []
    for _ in range(4):
        state, report = iterate(state)
        returns.append(float(report.episodes.episode_return[0]))
    assert returns[0] == 0.0  # what the expert does costs nothing
    assert returns[-1] < -0.5


def test_episodes_end_at_their_first_success():
    env = probe(lambda task, obs, action: jnp.ones(len(task)), num_envs=16, episode_steps=24)
    state, report = jax.jit(make_clone(CONFIG, env).iterate)(jax.jit(make_clone(CONFIG, env).init)(jax.random.key(0)))
    assert float(report.episodes.success[0]) == 1.0
    assert float(report.episodes.episode_return[0]) == 1.0
    assert int(state.env_state.step.max()) == 0


# --- what is seen ---


def test_patches_are_those_of_a_strided_convolution():
    picture = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (6, 6, 3, 5))
    # Blocks of 2 x 2 pixels, row by row, each with its pixels row by row.
    rows = kernel.reshape(3, 2, 3, 2, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(-1, 5)
    numbers = ("NHWC", "HWIO", "NHWC")
    convolved = jax.lax.conv_general_dilated(picture, kernel, (2, 2), ((2, 2), (2, 2)), dimension_numbers=numbers)
    np.testing.assert_allclose(patches(picture) @ rows, convolved, atol=1e-4)  # sums of 108 products in float32


def test_views_have_the_pictures_and_the_hand_and_not_the_goal(seeing):
    env = mw.make("reach-v3")
    sight = Sight(("behindGripper", "corner2@0.75,0.075,0.7"), 32, hand=True)
    look = device_eyes(env, sight)
    draws = (
        mw.camera(env, "behindGripper", 32, 32),
        mw.camera(env, "corner2", 32, 32, camera_pos=(0.75, 0.075, 0.7)),
    )

    @jax.jit
    def see(state):
        return look(state), [jax.vmap(draw)(state) for draw in draws], look_at_some(look, state, jnp.arange(2) == 1)

    state = reset_to_goals(env, [mw.goals("reach-v3", GOALS_SEED)[0][:2]])
    view, drawn, second = see(state)
    np.testing.assert_array_equal(view.pictures, np.stack(drawn, axis=1))
    np.testing.assert_array_equal(view.hand, state.obs[:, :4])
    np.testing.assert_array_equal(second.pictures, np.stack([0 * view.pictures[0], view.pictures[1]]))
    elsewhere = state.replace(episode=state.episode.replace(goal=state.episode.goal + jnp.array([0.05, 0.0, 0.05])))
    assert (see(elsewhere)[0].pictures != view.pictures).any((2, 3, 4)).all()
    np.testing.assert_array_equal(see(elsewhere)[0].hand, view.hand)
    assert jax.eval_shape(device_eyes(env, dataclasses.replace(sight, hand=False)), state).hand.shape == (2, 0)


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ((), "at least one"),
        (("corner9",), "no camera 'corner9'"),
        (("corner2@1,2",), "name@x,y,z"),
        (("corner2", "corner2@0,0,0"), "named twice"),
    ],
)
def test_sights_that_are_none_are_refused(cameras, message):
    with pytest.raises(ValueError, match=message):
        CloneConfig(cameras=cameras)


# --- runs ---


def test_configurations_are_written_down_and_chosen():
    config = preset("reach-v3-clone-cpu")
    assert from_json(json.loads(json.dumps(as_json(config)))) == config
    assert configuration(Train(algo="clone")) == config
    assert sight_of(config.algorithm) == config.algorithm.sight()
    assert sight_of(preset("reach-v3-cpu").algorithm) is None
    with pytest.raises(ValueError, match="replay_size must be at least 512"):
        CloneConfig(replay_size=100)
    with pytest.raises(ValueError, match="that can be drawn"):
        make_clone(CONFIG, probe(lambda task, obs, action: 0.0 * task)._replace(eyes=None))


def test_a_run_goes_on_bit_by_bit_with_its_buffer(tmp_path):
    whole, _ = run_probe(tmp_path / "whole", 4, algorithm="clone")
    run_probe(tmp_path / "parts", 2, algorithm="clone")
    assert_bitwise_equal(run_probe(tmp_path / "parts", 4, algorithm="clone")[0], whole)


def test_a_policy_that_sees_is_trained_and_saved(seeing, tmp_path):
    train_tiny(tmp_path)


def train_tiny(folder):
    config = TrainConfig("reach-v3", TINY, env_steps=16, eval_goals=1, eval_every=16)
    trained = train(config, jax.random.key(0), folder)
    again = load(folder)
    vectors = [mw.goals("reach-v3", GOALS_SEED)[0][:2]]
    observe = jax.jit(again.observe)
    view = observe(reset_to_goals(again.env, vectors))
    task = np.zeros(2, np.int32)
    np.testing.assert_array_equal(again.policy(view, task), trained.policy(view, task))
    return again, observe, vectors


@pytest.mark.full
def test_a_policy_that_sees_is_evaluated(seeing, tmp_path, capsys):
    """In three ways; in training, too, it is evaluated by the first."""
    again, observe, vectors = train_tiny(tmp_path)
    device = make_evaluator(again.env, vectors, lambda _: again.policy, 3, observe=again.observe)(None)
    host = evaluate_with(observe, again.env, again.policy, vectors, 3)
    assert isinstance(host, EpisodeStats)
    np.testing.assert_allclose(host.episode_return, device.episode_return, rtol=1e-5)
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path), "--num-goals", "1", "--num-steps", "2", "--json"])
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)[0]["task"] == "reach-v3"


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_reach_is_learnt_from_pictures_and_holds_for_opengls(seeing):
    """Half an hour on two cores."""
    config = preset("reach-v3-clone-cpu").algorithm
    env = mw.make("reach-v3", max_episode_steps=config.episode_steps)
    algorithm = make_clone(config, training_env(mw.VectorEnv(env, config.num_envs, resample_task=False)))
    state = jax.jit(algorithm.init)(jax.random.key(1))
    iterate = mw.jit(algorithm.iterate, donate_argnums=0)
    for _ in range(100_000 // algorithm.steps_per_iteration):
        state, _ = iterate(state)
    assert isinstance(state, CloneState)
    vectors, policy = mw.goals("reach-v3", GOALS_SEED), algorithm.policy(state)
    device = make_evaluator(env, vectors, algorithm.policy, observe=algorithm.observe)(state)
    assert device.success.mean() >= 0.8
    few = [vectors[0][:20]]
    opengl = evaluate_with(opengl_eyes(env, config.sight()), env, policy, few)
    there = evaluate_on_reference(env, policy, few, sight=config.sight())
    for share in (opengl.success.mean(), there[0].success):
        assert share >= device.success[:, :20].mean() - 0.05
