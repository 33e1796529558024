"""FastSAC: exploration by lane, scales by task, and what it learns in environments with known values."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training_probes import (
    ACTION_SIZE,
    Kind,
    assert_bitwise_equal,
    assert_goes_on_with_its_buffer,
    probe,
    programs_of,
)

from mjx_metaworld.cli.train import Train, configuration
from mjx_metaworld.training import categorical
from mjx_metaworld.training.algorithm import TrainingEnv
from mjx_metaworld.training.config import as_json, from_json
from mjx_metaworld.training.exploration import Held, lane_noise
from mjx_metaworld.training.fastsac import FastSACConfig, FastSACState, make_fastsac
from mjx_metaworld.training.networks import CategoricalCritic, SquashedActor, unit_weights
from mjx_metaworld.training.normalize import no_return_peak, observe_peak, standardise
from mjx_metaworld.training.train import build

GAMMA = 0.8
CONFIG = FastSACConfig(
    num_envs=16,
    horizon=4,
    episode_steps=4,
    actor_hidden=(32,),
    critic_hidden=(32,),
    atoms=31,
    gamma=GAMMA,
    updates=16,
    batch_per_task=64,
    replay_size=4096,
    warmup_steps=64,
    learning_rate=3e-3,
    polyak=0.05,
    initial_temperature=1e-5,
    temperature_rate=0.0,
    wander=0.0,
)
# Of the value: the networks are fitted by noisy gradients.
CLOSE = 0.05


PROGRAMS = programs_of(make_fastsac, CONFIG)  # compiled once they are called


def values(env: TrainingEnv, state: FastSACState, obs: np.ndarray, task: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Discounted returns that the critics expect, in the rewards' own unit; the mean of both."""
    critic = CategoricalCritic(CONFIG.critic_hidden, CONFIG.atoms)
    scaled = standardise(state.obs_moments, jnp.asarray(obs))
    logits = jax.vmap(lambda params: critic.apply(params, scaled, jnp.asarray(action)))(state.learner.critics)
    expected = categorical.mean(logits, categorical.make_atoms(CONFIG.atoms, 1.25))
    unit = np.asarray(state.returns.divisor()) / (1 - GAMMA**env.episode_steps)
    return np.asarray(expected).mean(0) * unit[task]


# --- parts ---


def test_lanes_differ_in_strength_patience_and_urge_to_wander():
    noise = lane_noise(64, 2, weakest=0.25, strongest=1.5, longest=8.0, wander=0.5)
    for task in (0, 1):
        lanes = jax.tree.map(lambda x, task=task: x[task::2], noise)
        np.testing.assert_allclose(lanes.strength, np.linspace(0.25, 1.5, 32), rtol=1e-6)
        assert lanes.renewal.max() == 1.0
        assert 1 / 8 < lanes.renewal.min() < 1 / 7
        assert lanes.wander.min() == 0.0
        assert 0.4 < lanes.wander.max() < 0.5
        unlike = np.corrcoef([lanes.strength, np.log(lanes.renewal), lanes.wander]) - np.eye(3)
        assert np.abs(unlike).max() < 0.2

    @jax.jit
    def run(keys):
        def step(held, key):
            new = noise.draw(held, key)
            return new, (new.noise, (new.noise != held.noise).any(-1), new.wandering)

        return jax.lax.scan(step, noise.start(4), keys)[1]

    drawn, renewed, wandering = run(jax.random.split(jax.random.key(0), 8000))
    # A share of 8,000 draws has a standard error of at most 0.006, of 1,000 held ones 0.016.
    np.testing.assert_allclose(renewed.mean(0), noise.renewal, atol=0.03)
    np.testing.assert_allclose(wandering.mean(0), noise.wander, atol=0.08)
    assert float(drawn[:, noise.renewal == 1.0].std()) == pytest.approx(1.0, abs=0.02)


def test_lanes_that_wander_act_uniformly_and_the_others_as_the_policy_with_their_noise():
    noise = lane_noise(2, 1, weakest=0.0, strongest=2.0, longest=1.0, wander=0.0)
    held = Held(noise=jnp.array([[1.0, -1.0], [0.5, 0.0]]), wandering=jnp.array([False, False]))
    mean, log_std = jnp.full((2, 2), 0.2), jnp.full((2, 2), jnp.log(0.1))
    policy = np.tanh([[0.2, 0.2], [0.2 + 0.1 * 2.0 * 0.5, 0.2]])
    np.testing.assert_allclose(noise.act(held, mean, log_std, blind=jnp.array(False)), policy, rtol=1e-5)
    uniform = 2 * jax.scipy.stats.norm.cdf(held.noise) - 1
    np.testing.assert_allclose(noise.act(held, mean, log_std, blind=jnp.array(True)), uniform, rtol=1e-5)
    astray = noise.act(held.replace(wandering=jnp.array([False, True])), mean, log_std, blind=jnp.array(False))
    np.testing.assert_allclose(astray, [policy[0], uniform[1]], rtol=1e-5)


def test_each_task_is_scaled_by_its_own_largest_return():
    task = jnp.array([[0, 1], [0, 1]])
    returns = observe_peak(
        no_return_peak(2, 2), jnp.array([[1.0, -20.0], [2.0, 4.0]]), jnp.zeros((2, 2), bool), task, gamma=0.5
    )
    np.testing.assert_allclose(returns.peak, [2.5, 20.0])  # 0.5 * 1 + 2, and |-20| rather than |0.5 * -20 + 4|
    ended = observe_peak(returns, jnp.zeros((1, 2)), jnp.array([[True, False]]), task[:1], gamma=0.5)
    np.testing.assert_allclose(ended.peak, [2.5, 20.0])
    np.testing.assert_allclose(ended.running, [0.0, -3.0])
    assert no_return_peak(2, 2).divisor().min() > 0


def test_hidden_units_have_weights_of_length_one():
    critic = CategoricalCritic((8, 8), 5)
    params = unit_weights(critic.init(jax.random.key(0), jnp.zeros((1, 3)), jnp.zeros((1, 2))))["params"]
    for layer in ("Dense_0", "Dense_1"):
        np.testing.assert_allclose(jnp.linalg.norm(params["Torso_0"][layer]["kernel"], axis=0), 1.0, rtol=1e-5)
    assert float(jnp.linalg.norm(params["Dense_0"]["kernel"])) < 0.1  # of the outputs it stays as it was


# --- learning ---


@pytest.mark.ci
def test_a_truncated_episode_goes_on_from_its_own_last_observation():
    # Each episode pays its own wage, which the observation shows; a value taken from the next episode's first
    # observation instead would pull all values to the mean wage. Windows of 3 of 4 steps often end at an episode's end.
    state, _ = PROGRAMS.learn(kind := Kind(wage=2.0, wage_of_drawn=1.0, show_drawn=True), 100)
    drawn = np.linspace(-0.8, 0.8, 5)
    found = values(kind.env(), state, np.stack([np.zeros(5), drawn], -1), np.zeros(5, int), np.zeros((5, ACTION_SIZE)))
    np.testing.assert_allclose(found, (2.0 + drawn) / (1 - GAMMA), rtol=2 * CLOSE)


@pytest.mark.full
def test_a_terminated_episode_is_worth_its_rewards_alone():
    state, _ = PROGRAMS.learn(kind := Kind(wage=3.0, terminates=True, show_step=True), 150)
    obs = np.stack([np.arange(4.0), np.zeros(4)], -1)
    expected = [3 * sum(GAMMA**i for i in range(4 - step)) for step in range(4)]
    found = values(kind.env(), state, obs, np.zeros(4, int), np.zeros((4, ACTION_SIZE)))
    np.testing.assert_allclose(found, expected, rtol=2 * CLOSE)


@pytest.mark.ci
def test_each_task_is_learnt_in_its_own_scale_of_reward():
    # The second task pays a ten-thousandth of the first; without a scale of its own it would drown.
    size = jnp.array([1e3, 0.1])
    best = jnp.array([[0.5, -0.5], [-0.5, 0.5]])
    env = probe(
        lambda task, obs, action: size[task] * (1 - ((action - best[task]) ** 2).sum(-1)),
        num_tasks=2,
        terminates=True,
        episode_steps=1,
    )
    config = dataclasses.replace(CONFIG, episode_steps=1, temperature_rate=1e-2, initial_temperature=1e-3)
    algorithm = make_fastsac(config, env)
    state, iterate = jax.jit(algorithm.init)(jax.random.key(0)), jax.jit(algorithm.iterate, donate_argnums=0)
    for _ in range(70):
        state, report = iterate(state)
    task = jnp.arange(2)
    obs = jnp.concatenate([jnp.zeros((2, 2)), jnp.eye(2)], -1)
    np.testing.assert_allclose(algorithm.policy(state)(obs, task), best, atol=0.1)
    found = values(env, state, np.asarray(obs), np.asarray(task), np.asarray(best))
    np.testing.assert_allclose(found / size, [1.0, 1.0], atol=0.1)
    target = ACTION_SIZE * 0.5 * np.log(2 * np.pi * np.e * config.target_std**2)
    np.testing.assert_allclose(report.entropy, [target, target], atol=0.5)


@pytest.mark.full
def test_the_policy_learns_what_the_observation_asks_for():
    state, _ = PROGRAMS.learn(kind := Kind(cost_of_error=1.0, show_drawn=True), 150)
    drawn = np.linspace(-0.8, 0.8, 9)
    policy = make_fastsac(CONFIG, kind.env()).policy(state)
    action = policy(jnp.asarray(np.stack([np.zeros(9), drawn], -1)), jnp.zeros(9, jnp.int32))
    # Doing nothing leaves an error of 0.47 in the mean square.
    assert np.sqrt(np.mean((action[:, 0] - drawn) ** 2)) < 0.1


# --- runs ---


@pytest.fixture(scope="module")
def small():
    """An algorithm with its compiled `init` and `iterate`, whose buffer holds four rollouts."""
    env = probe(lambda task, obs, action: -((action[:, 0] - obs[:, 1]) ** 2), show_drawn=True)
    config = dataclasses.replace(CONFIG, warmup_steps=65, replay_size=256, updates=4, temperature_rate=1e-3)
    algorithm = make_fastsac(config, env)
    return algorithm._replace(init=jax.jit(algorithm.init), iterate=jax.jit(algorithm.iterate))


@pytest.mark.ci
def test_nothing_is_learnt_before_the_warmup_is_over(small):
    start = small.init(jax.random.key(0))
    state, report = small.iterate(start)  # 64 transitions an iteration, so two of them are warm-up
    state, _ = small.iterate(state)
    assert_bitwise_equal(state.learner, start.learner)
    assert np.isnan(report.critic_loss)
    assert np.asarray(state.replay.experience.action).min() < -0.9  # uniform: 256 numbers miss this rarely
    learnt, report = small.iterate(state)
    assert np.isfinite(report.critic_loss)
    moved = jax.tree.map(lambda new, old: bool((new != old).any()), learnt.learner, state.learner)
    assert jax.tree.all(moved)


@pytest.mark.ci
def test_a_checkpoint_goes_on_bit_by_bit_with_its_buffer_and_open_windows(small, tmp_path):
    assert_goes_on_with_its_buffer(small, tmp_path)


def test_the_command_line_makes_configurations():
    config = configuration(Train("MT25", algo="fastsac", set=("updates=12", "num_envs=200")))
    assert config.algorithm == FastSACConfig(num_envs=200, updates=12)
    assert from_json(as_json(config)) == config
    for task in ("reach-v3", "push-v3", "pick-place-v3", "drawer-open-v3"):
        assert configuration(Train(task, algo="fastsac")).stop_at_success is not None  # of the preset
    assert configuration(Train("MT10", algo="fastsac")).algorithm.num_envs % 10 == 0


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_reach_is_learnt_after_a_minute():
    _, algorithm = build(configuration(Train("reach-v3", algo="fastsac")))
    state = jax.jit(algorithm.init)(jax.random.key(0))
    iterate = jax.jit(algorithm.iterate, donate_argnums=0)
    success = []
    for _ in range(100):  # 205,000 environment steps
        state, report = iterate(state)
        success.append(float(report.episodes.success[0]))
    # Uniform actions hardly ever reach the goal.
    assert np.nanmean(success[:10]) < 0.3  # the warm-up
    assert np.nanmean(success[-25:]) > 0.8  # the lanes' phases go round once in 25 iterations


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"replay_size": 0}, "replay_size must be positive, got 0"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"strongest_noise": math.nan}, "strongest_noise must be a finite number, got nan"),
        ({"gamma": 1.0}, "gamma must be less than 1, got 1.0"),
        ({"weakest_noise": -1.0}, "weakest_noise must not be negative, got -1"),
        ({"weakest_noise": 2.0}, "strongest_noise must be at least weakest_noise, 2.0, got 1.5"),
        ({"longest_hold": 0.5}, "longest_hold must be at least 1, got 0.5"),
        ({"critic_hidden": (0,)}, r"critic_hidden must be positive widths, got \(0,\)"),
        ({"atoms": 50}, "odd number of at least 3, got 50"),
        ({"n_steps": 10}, r"at most horizon \+ 1, 9, got 10"),
        ({"updates": 3}, "multiple of critics_per_actor, 2, got 3"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        FastSACConfig(**bad)


def test_environments_must_fit():
    def reward(task, obs, action):
        return task * 1.0

    with pytest.raises(ValueError, match="says 16 environments, these are 8"):
        make_fastsac(CONFIG, probe(reward, num_envs=8))
    with pytest.raises(ValueError, match="multiple of the number of tasks, 3, got 16"):
        make_fastsac(CONFIG, probe(reward, num_tasks=3))
    with pytest.raises(ValueError, match=r"replay_size must be at least 128, .* got 100"):
        make_fastsac(dataclasses.replace(CONFIG, replay_size=100), probe(reward, num_tasks=2))


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_rows_in_blocks_have_the_heads_of_their_tasks(num_tasks):
    """Values and gradients are those of rows in any order."""
    actor, task = SquashedActor((8,), ACTION_SIZE, num_tasks, normed=True), np.repeat(np.arange(num_tasks), 4)
    obs = jax.random.normal(jax.random.key(0), (len(task), 5))
    params = actor.init(jax.random.key(1), obs, task, in_blocks=True)
    # Biases are zero at first.
    params = jax.tree.map(lambda x: x + jax.random.normal(jax.random.key(2), x.shape), params)

    def total(params, in_blocks):
        mean, log_std = cast(tuple[jax.Array, jax.Array], actor.apply(params, obs, task, in_blocks=in_blocks))
        return (mean**3 + log_std**2).sum(), (mean, log_std)

    blocks, rows = (jax.grad(total, has_aux=True)(params, in_blocks) for in_blocks in (True, False))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), blocks, rows)
