"""PPO against closed forms: its advantages, and what it learns in environments with known values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training_probes import Kind, probe, programs_of

from mjx_metaworld.training.algorithm import training_env
from mjx_metaworld.training.networks import Critic, gaussian_entropy, gaussian_kl, gaussian_log_prob
from mjx_metaworld.training.normalize import standardise
from mjx_metaworld.training.ppo import PPOConfig, PPOState, make_ppo

GAMMA = 0.9
CONFIG = PPOConfig(
    num_envs=16,
    horizon=8,
    episode_steps=4,
    hidden=(32,),
    gamma=GAMMA,
    minibatches=2,
    learning_rate=3e-3,
    initial_std=0.5,
)
# Of the value: the networks are fitted by noisy gradients, and the rewards' scale is an average over all of the past.
CLOSE = 0.05


PROGRAMS = programs_of(make_ppo, CONFIG)  # compiled once they are called


def values(state: PPOState, obs: np.ndarray, task: np.ndarray | None = None, num_tasks: int = 1) -> np.ndarray:
    """Discounted returns that the critic expects, in the rewards' own unit; by default of the only task."""
    critic = Critic(CONFIG.hidden, num_tasks)
    task = np.zeros(len(obs), int) if task is None else task
    expected = critic.apply(state.critic, standardise(state.obs_moments, jnp.asarray(obs)), jnp.asarray(task))
    return np.asarray(expected) * np.asarray(state.reward_scale.divisor())[task]


def test_a_truncated_episode_is_worth_what_an_endless_one_is():
    state, _ = PROGRAMS.learn(Kind(wage=3.0), 60)
    np.testing.assert_allclose(values(state, np.zeros((1, 2))), 3 / (1 - GAMMA), rtol=CLOSE)


def test_a_truncated_episode_goes_on_from_its_own_last_observation():
    # Each episode pays its own wage, which the observation shows; a value taken from the next episode's first
    # observation instead would pull all values to the mean wage, 20.
    state, _ = PROGRAMS.learn(Kind(wage=2.0, wage_of_drawn=1.0, show_drawn=True), 100)
    drawn = np.linspace(-0.8, 0.8, 5)
    found = values(state, np.stack([np.zeros(5), drawn], -1))
    np.testing.assert_allclose(found, (2.0 + drawn) / (1 - GAMMA), rtol=2 * CLOSE)


def test_a_terminated_episode_is_worth_its_rewards_alone():
    state, _ = PROGRAMS.learn(Kind(wage=3.0, terminates=True, show_step=True), 100)
    obs = np.stack([np.arange(4.0), np.zeros(4)], -1)
    expected = [3 * sum(GAMMA**i for i in range(4 - step)) for step in range(4)]
    np.testing.assert_allclose(values(state, obs), expected, rtol=2 * CLOSE)


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
    config = PPOConfig(
        num_envs=16, horizon=8, episode_steps=1, hidden=(32,), gamma=GAMMA, minibatches=2, initial_std=0.5
    )
    algorithm = make_ppo(config, env)
    iterate, state = jax.jit(algorithm.iterate), jax.jit(algorithm.init)(jax.random.key(0))
    for _ in range(80):
        state, _ = iterate(state)
    task = np.arange(2)
    obs = np.concatenate([np.zeros((2, 2)), np.eye(2)], -1)
    # The optimum is flat: a mean within a tenth of it costs 1 % of the reward.
    np.testing.assert_allclose(algorithm.policy(state)(jnp.asarray(obs), jnp.asarray(task)), best, atol=0.1)
    spread = np.exp(np.asarray(state.actor["params"]["log_std"]))
    expected = size * (1 - (spread**2).sum(-1))
    np.testing.assert_allclose(values(state, obs, task, num_tasks=2) / size, expected / size, atol=2 * CLOSE)


def test_the_policy_learns_what_the_observation_asks_for():
    kind = Kind(cost_of_error=1.0, show_drawn=True)
    state, _ = PROGRAMS.learn(kind, 100)
    drawn = np.linspace(-0.8, 0.8, 9)
    action = make_ppo(CONFIG, kind.env()).policy(state)(
        jnp.asarray(np.stack([np.zeros(9), drawn], -1)), jnp.zeros(9, jnp.int32)
    )
    # Doing nothing leaves an error of 0.47 in the mean square.
    assert np.sqrt(np.mean((action[:, 0] - drawn) ** 2)) < 0.1


def test_reports_count_the_episodes_that_ended():
    env = probe(lambda task, obs, action: jnp.where(task == 0, 2.0, -1.0), num_tasks=2, episode_steps=16)
    config = PPOConfig(num_envs=16, horizon=8, episode_steps=16, hidden=(8,), minibatches=2)
    algorithm = make_ppo(config, env)
    iterate = jax.jit(algorithm.iterate)
    state, report = iterate(jax.jit(algorithm.init)(jax.random.key(0)))
    # After the first rollout the lanes of the second phase end early, after 8 of 16 steps, the others later.
    np.testing.assert_array_equal(report.episodes.success, [1.0, 0.0])
    np.testing.assert_array_equal(report.episodes.episode_return, [16.0, -8.0])
    assert sorted(np.asarray(state.env_state.step)) == [0] * 8 + [8] * 8
    state, report = iterate(state)
    np.testing.assert_array_equal(report.episodes.episode_return, [32.0, -16.0])
    assert sorted(np.asarray(state.env_state.step)) == [0] * 8 + [8] * 8


def test_gaussian_formulas_equal_sampled_ones():
    mean, log_std = jnp.array([0.3, -0.2]), jnp.array([-0.5, 0.2])
    new_mean, new_log_std = jnp.array([0.1, 0.1]), jnp.array([-0.2, 0.1])
    drawn = mean + jnp.exp(log_std) * jax.random.normal(jax.random.key(0), (200_000, 2))
    old, new = gaussian_log_prob(drawn, mean, log_std), gaussian_log_prob(drawn, new_mean, new_log_std)
    # 200,000 draws with a spread of about 1 have a standard error of 0.002.
    assert float(gaussian_entropy(log_std)) == pytest.approx(float(-old.mean()), abs=0.01)
    assert float(gaussian_kl((mean, log_std), (new_mean, new_log_std))) == pytest.approx(
        float((old - new).mean()), abs=0.01
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"horizon": 0}, "horizon must be positive, got 0"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"minibatches": 7}, "divide the batch of 6400 transitions, got 7"),
        ({"hidden": ()}, r"positive widths, got \(\)"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**bad)


def test_environments_must_fit():
    import mjx_metaworld as mw

    with pytest.raises(ValueError, match="says 16 environments, these are 8"):
        make_ppo(CONFIG, probe(lambda task, obs, action: task * 1.0, num_envs=8))
    tasks = ["reach-v3", "push-v3"]
    with pytest.raises(ValueError, match="at least the number of tasks, 2, got 1"):
        training_env(mw.VectorEnv(mw.make(tasks, one_hot=True), 1))
    with pytest.raises(ValueError, match="one-hot"):
        training_env(mw.VectorEnv(mw.make(tasks), 4))
