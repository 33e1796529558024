"""SAC against closed forms: densities, targets, replay, and what it learns in environments with known values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from support.training_probes import (
    ACTION_SIZE,
    Kind,
    assert_bitwise_equal,
    assert_goes_on_with_its_buffer,
    probe,
    probe_learner,
    programs_of,
)

from mjx_metaworld.cli.train import Train, configuration
from mjx_metaworld.training.config import TrainConfig, as_json, from_json, preset
from mjx_metaworld.training.networks import ActionCritic, draw_squashed, squashed_log_prob
from mjx_metaworld.training.normalize import standardise
from mjx_metaworld.training.replay import Experience, make_replay
from mjx_metaworld.training.sac import SACConfig, SACState, make_sac, value_target
from mjx_metaworld.training.soft_actor import warmup_iterations
from mjx_metaworld.training.train import build

GAMMA = 0.8
CONFIG = SACConfig(
    num_envs=16,
    horizon=4,
    episode_steps=4,
    hidden=(32,),
    gamma=GAMMA,
    updates_per_step=0.25,
    batch_per_task=64,
    replay_size=4096,
    warmup_steps=64,
    learning_rate=3e-3,
    polyak=0.05,
    initial_temperature=1e-5,
    temperature_rate=0.0,
)
# Of the value: the networks are fitted by noisy gradients, and the rewards' scale is an average over all of the past.
CLOSE = 0.05


PROGRAMS = programs_of(make_sac, CONFIG)  # compiled once they are called


def begin_at(temperature: Array) -> Callable[[SACState], SACState]:
    """The change of a first state to temperatures (tasks,) of its own."""
    log = jnp.log(temperature)
    return lambda state: state.replace(learner=state.learner.replace(log_temperature=log))


def values(state: SACState, obs: np.ndarray) -> np.ndarray:
    """Discounted returns that the critics of the only task expect of no action, in the rewards' own unit; both's mean.

    Args:
        state: learnt.
        obs: `(n, 2)`.
    """
    critic, task = ActionCritic(CONFIG.hidden, 1), jnp.zeros(len(obs), jnp.int32)
    scaled = standardise(state.obs_moments, jnp.asarray(obs))
    action = jnp.zeros((len(obs), ACTION_SIZE))
    expected = jax.vmap(lambda params: critic.apply(params, scaled, action, task))(state.learner.critics)
    return np.asarray(expected).mean(0) * np.asarray(state.reward_scale.divisor())


# --- parts ---


def test_the_density_of_squashed_actions_integrates_to_one():
    mean, log_std = np.array([0.4], np.float32), np.array([-0.3], np.float32)
    log_prob_of = jax.jit(lambda drawn: squashed_log_prob(drawn, mean, log_std))
    edges = np.linspace(-1.0, 1.0, 20_001, dtype=np.float32)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp(log_prob_of(np.arctanh(middle)[:, None]))
    assert float(density.sum() * (edges[1] - edges[0])) == pytest.approx(1.0, abs=1e-3)  # the sum's own error
    action, log_prob = jax.jit(draw_squashed)(jax.random.key(0), mean, log_std)
    np.testing.assert_allclose(log_prob, log_prob_of(np.arctanh(action)), atol=1e-4)
    far = jax.jit(jax.value_and_grad(log_prob_of))(np.array([40.0], np.float32))
    assert all(np.isfinite(x).all() for x in far)


def test_targets_take_the_smaller_value_and_stop_at_termination():
    target = value_target(
        reward=jnp.array([1.0, 1.0]),
        discount=jnp.array([0.9, 0.0]),
        next_values=jnp.array([[5.0, 5.0], [7.0, 2.0]]),
        next_log_prob=jnp.array([-2.0, -2.0]),
        temperature=jnp.array([0.5, 0.5]),
    )
    np.testing.assert_allclose(target, [1 + 0.9 * (5.0 + 0.5 * 2.0), 1.0], rtol=1e-6)


def windows_of(numbers: np.ndarray) -> Experience:
    """Windows (time, envs) of two tasks in turns, each marked by its number."""
    marks = np.asarray(numbers, np.float32)
    obs = np.stack([marks] * 2, -1)
    task = np.broadcast_to(np.arange(marks.shape[1], dtype=np.int32) % 2, marks.shape)
    action = np.stack([marks + np.float32(0.25)] * 2, -1)
    made = Experience(obs, task, action, marks + np.float32(0.5), marks + np.float32(0.75), obs + np.float32(1.0))
    return jax.device_put(made)


def test_the_buffer_forgets_the_oldest_and_samples_all_tasks_alike():
    replay = make_replay(1000, 500, num_tasks=2, plain_size=2, action_size=2, rows_per_add=8)
    state = replay.init()
    add = jax.jit(replay.add)
    for i in range(130):  # 1,040 steps: the first 40 are overwritten
        state = add(state, windows_of(8 * i + np.arange(8).reshape(2, 4)))
    rows = jax.jit(replay.sample)(state, jax.random.key(0))
    np.testing.assert_array_equal(rows.task, np.repeat([0, 1], 500))
    marks = np.asarray(rows.obs[:, 0])
    np.testing.assert_array_equal(marks % 2, rows.task)  # lanes 0 and 2 are of task 0
    assert marks.min() >= 40
    assert marks.max() > 1000  # of the last 40 some are drawn: missed with a chance of 0.96^1000
    np.testing.assert_array_equal(rows.obs, np.stack([marks, marks], -1))
    np.testing.assert_array_equal(rows.action, np.stack([marks, marks], -1) + 0.25)
    np.testing.assert_array_equal(rows.reward, marks + 0.5)
    np.testing.assert_array_equal(rows.discount, marks + 0.75)
    np.testing.assert_array_equal(rows.next_obs, rows.obs + 1.0)


def test_a_buffer_hardly_filled_gives_only_what_it_holds():
    replay = make_replay(1000, 50, num_tasks=2, plain_size=2, action_size=2, rows_per_add=8)
    state = jax.jit(replay.add)(replay.init(), windows_of(100 + np.arange(8).reshape(2, 4)))
    assert set(np.asarray(jax.jit(replay.sample)(state, jax.random.key(0)).obs)[:, 0]) == set(range(100, 108))


# --- learning ---


@pytest.mark.ci
def test_a_truncated_episode_goes_on_from_its_own_last_observation():
    # Each episode pays its own wage, which the observation shows; a value taken from the next episode's first
    # observation instead would pull all values to the mean wage.
    state, _ = PROGRAMS.learn(Kind(wage=2.0, wage_of_drawn=1.0, show_drawn=True), 150)
    drawn = np.linspace(-0.8, 0.8, 5)
    found = values(state, np.stack([np.zeros(5), drawn], -1))
    np.testing.assert_allclose(found, (2.0 + drawn) / (1 - GAMMA), rtol=2 * CLOSE)


def test_a_terminated_episode_is_worth_its_rewards_alone():
    state, _ = PROGRAMS.learn(Kind(wage=3.0, terminates=True, show_step=True), 150)
    obs = np.stack([np.arange(4.0), np.zeros(4)], -1)
    expected = [3 * sum(GAMMA**i for i in range(4 - step)) for step in range(4)]
    np.testing.assert_allclose(values(state, obs), expected, rtol=2 * CLOSE)


def test_entropy_is_worth_its_temperature():
    # With nothing to earn the best policy is uniform, of entropy 2 log 2, paid at every step but the first.
    temperature = 0.5
    state, report = PROGRAMS.learn(Kind(), 150, begin_at(jnp.array([temperature])))
    entropy = 2 * np.log(2.0)
    # A squashed Gaussian comes within 0.02 nats of uniform in two dimensions.
    np.testing.assert_allclose(report.entropy, [entropy], atol=0.05)
    found = values(state, np.zeros((1, 2))) / np.asarray(state.reward_scale.divisor())
    np.testing.assert_allclose(found, GAMMA * temperature * entropy / (1 - GAMMA), rtol=CLOSE)


@pytest.mark.full  # its quick twins: `test_entropy_is_worth_its_temperature`, and FastSAC's tasks of different rewards
def test_each_task_finds_the_temperature_of_its_target_entropy():
    # The reward falls by c d^2 from each task's best action, so the best policy at temperature T is a Gaussian of
    # variance T / 2c, and the target of -1 nat an action fixes that variance. The second task is paid in another unit.
    best = jnp.array([[0.3, -0.3], [-0.3, 0.3]])
    curvature, unit = jnp.array([1.0, 3.0]), jnp.array([100.0, 0.1])
    env = probe(
        lambda task, obs, action: unit[task] * (1 - curvature[task] * ((action - best[task]) ** 2).sum(-1)),
        num_tasks=2,
        terminates=True,
        episode_steps=1,
    )
    algorithm = make_sac(dataclasses.replace(CONFIG, episode_steps=1, temperature_rate=1e-2), env)
    iterate = jax.jit(algorithm.iterate, donate_argnums=0)
    # Of which one must fall and the other rise.
    state = begin_at(jnp.array([1.0, 1e-4]))(jax.jit(algorithm.init)(jax.random.key(0)))
    for _ in range(300):
        state, report = iterate(state)
    np.testing.assert_allclose(report.entropy, [-2.0, -2.0], atol=0.1)  # the policy follows the noise of the critics
    variance = np.exp(-2.0) / (2 * np.pi * np.e)
    divisor = np.asarray(state.reward_scale.divisor())
    # Squashing and the critics' error near the optimum bend the parabola a little.
    np.testing.assert_allclose(report.temperature, 2 * curvature * unit * variance / divisor, rtol=0.25)
    task = np.arange(2)
    obs = jnp.concatenate([jnp.zeros((2, 2)), jnp.eye(2)], -1)
    np.testing.assert_allclose(algorithm.policy(state)(obs, jnp.asarray(task)), best, atol=0.05)


@pytest.mark.full
def test_the_policy_learns_what_the_observation_asks_for():
    kind = Kind(cost_of_error=1.0, show_drawn=True)
    state, _ = PROGRAMS.learn(kind, 150)
    drawn = np.linspace(-0.8, 0.8, 9)
    action = make_sac(CONFIG, kind.env()).policy(state)(
        jnp.asarray(np.stack([np.zeros(9), drawn], -1)), jnp.zeros(9, jnp.int32)
    )
    # Doing nothing leaves an error of 0.47 in the mean square.
    assert np.sqrt(np.mean((action[:, 0] - drawn) ** 2)) < 0.1


# --- runs ---


@pytest.fixture(scope="module")
def small():
    """An algorithm with its compiled `init` and `iterate`, whose buffer holds four rollouts."""
    env = probe(lambda task, obs, action: -((action[:, 0] - obs[:, 1]) ** 2), show_drawn=True)
    algorithm = make_sac(dataclasses.replace(CONFIG, warmup_steps=65, replay_size=256, temperature_rate=1e-3), env)
    return algorithm._replace(init=jax.jit(algorithm.init), iterate=jax.jit(algorithm.iterate))


@pytest.mark.parametrize("make", ["ppo", "sac", "fastsac"])
def test_one_program_serves_all_iterations(make):
    # A number of weak type at the start, or of another size, would compile everything a second time.
    algorithm = probe_learner(make)
    start = jax.eval_shape(algorithm.init, jax.random.key(0))
    later, _ = jax.eval_shape(algorithm.iterate, start)
    assert jax.tree.map(str, later) == jax.tree.map(str, start)


@pytest.mark.ci
def test_nothing_is_learnt_before_the_warmup_is_over(small):
    start = small.init(jax.random.key(0))
    state, report = small.iterate(start)  # 64 transitions an iteration, so two of them are warm-up
    state, _ = small.iterate(state)
    assert_bitwise_equal(state.learner, start.learner)
    assert np.isnan(report.critic_loss)
    assert np.asarray(state.replay.experience.action).min() < -0.95  # uniform: 256 numbers miss this rarely
    learnt, report = small.iterate(state)
    assert np.isfinite(report.critic_loss)
    moved = jax.tree.map(lambda new, old: bool((new != old).any()), learnt.learner, state.learner)
    assert jax.tree.all(moved)


def test_learning_goes_on_where_the_steps_outgrow_32_bits(small):
    late = small.init(jax.random.key(0))
    late = late.replace(iteration=jnp.full_like(late.iteration, 2**31 // (CONFIG.num_envs * CONFIG.horizon) + 1))
    _, report = small.iterate(late)
    assert np.isfinite(report.critic_loss)
    assert warmup_iterations(65, 64) == 2
    assert warmup_iterations(2**40, 64) == 2**31 - 1


def test_a_checkpoint_goes_on_bit_by_bit_with_its_buffer(small, tmp_path):
    assert_goes_on_with_its_buffer(small, tmp_path)


def test_the_command_line_makes_configurations():
    config = configuration(Train("MT10", algo="sac", set=("updates_per_step=0.25", "num_envs=80")))
    assert config.algorithm == SACConfig(num_envs=80, updates_per_step=0.25)
    assert from_json(as_json(config)) == config
    assert configuration(Train("reach-v3", algo="sac")).stop_at_success is not None  # of the preset
    with pytest.raises(ValueError, match="'reach-v3-cpu' is not for --algo sac"):
        configuration(Train("reach-v3", algo="sac", preset="reach-v3-cpu"))
    assert TrainConfig("reach-v3", SACConfig()).algorithm.updates == 64


@pytest.mark.full
def test_reach_improves_clearly():
    config = preset("reach-v3-sac-cpu")
    _, algorithm = build(config)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    iterate = jax.jit(algorithm.iterate, donate_argnums=0)
    success = []
    for _ in range(160):  # 82,000 environment steps
        state, report = iterate(state)
        success.append(float(report.episodes.success[0]))
    # Uniform actions hardly ever reach the goal; a third of the episodes is far from that.
    assert np.nanmean(success[:10]) < 0.15  # the warm-up
    assert np.nanmean(success[-25:]) > 0.33  # the lanes' phases go round once in 25 iterations


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"replay_size": 0}, "replay_size must be positive, got 0"),
        ({"polyak": 1.5}, r"polyak must be in \[0, 1\], got 1.5"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"updates_per_step": 0.003}, "whole number of updates of the 512 transitions of a rollout, got 0.003"),
        ({"hidden": (0,)}, r"positive widths, got \(0,\)"),
        ({"hidden": (64.5,)}, "an entry of hidden must be an integer, got 64.5"),
        ({"hidden": (True,)}, "an entry of hidden must be an integer, got True"),
        ({"hidden": ("a",)}, "an entry of hidden must be an integer, got 'a'"),
        ({"temperature_rate": math.nan}, "temperature_rate must be a finite number, got nan"),
        ({"updates_per_step": math.inf}, "updates_per_step must be a finite number, got inf"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SACConfig(**bad)


def test_environments_must_fit():
    def reward(task, obs, action):
        return task * 1.0

    with pytest.raises(ValueError, match="says 16 environments, these are 8"):
        make_sac(CONFIG, probe(reward, num_envs=8))
    with pytest.raises(ValueError, match="multiple of the number of tasks, 3, got 16"):
        make_sac(CONFIG, probe(reward, num_tasks=3))
    with pytest.raises(ValueError, match=r"replay_size must be at least 128, .* got 100"):
        make_sac(dataclasses.replace(CONFIG, replay_size=100), probe(reward, num_tasks=2))
