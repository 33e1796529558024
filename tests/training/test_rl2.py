"""RL²: what it learns where remembering and trying pay by known amounts, and when its memory is forgotten."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training_probes import RUN_CONFIGS, assert_bitwise_equal, probe, probe_learner
from support.trial_probes import remembering_pays, trial_probe, trying_pays

import mjx_metaworld as mw
from mjx_metaworld.cli.train import Train, configuration
from mjx_metaworld.training.algorithm import Algorithm, training_env
from mjx_metaworld.training.checkpoint import Checkpoints, Progress
from mjx_metaworld.training.config import as_json, from_json
from mjx_metaworld.training.networks import Critic
from mjx_metaworld.training.recurrent import RecurrentPolicy, no_past
from mjx_metaworld.training.rl2 import RL2Config, RL2State, make_rl2

GAMMA = 0.9
CONFIG = RL2Config(
    num_envs=32,
    horizon=8,
    sequence=4,
    episode_steps=2,
    hidden=(32,),
    memory_hidden=(16,),
    memory=16,
    gamma=GAMMA,
    minibatches=2,
    learning_rate=3e-3,
    initial_std=0.5,
)


def learn(env: Any, iterations: int, config: RL2Config = CONFIG) -> tuple[RL2State, Any]:
    algorithm = make_rl2(config, env)
    iterate, state, report = jax.jit(algorithm.iterate), jax.jit(algorithm.init)(jax.random.key(0)), None
    for _ in range(iterations):
        state, report = iterate(state)
    return state, report


def jitted(algorithm: Algorithm, state: RL2State) -> RecurrentPolicy:
    assert algorithm.recurrent is not None
    policy = algorithm.recurrent(state)
    return policy._replace(act=jax.jit(policy.act))


@pytest.mark.ci
def test_what_the_first_episode_told_is_remembered_in_the_second():
    env = trial_probe(remembering_pays, num_envs=32, cue=True)
    state, report = learn(env, 60)
    # A policy without memory, or that forgets with the episode, cannot do better than 2 * (1 - 0.25), in both steps.
    assert report.last_episodes.episode_return[0] > 1.9
    assert report.belief_loss < 0.05  # the goals' variance is 1
    policy = jitted(make_rl2(CONFIG, env), state)
    goals = np.array([1.0, -1.0])
    memory, past = policy.start(2), no_past(2, 2)
    for _ in range(2):
        _, memory = policy.act(memory, jnp.stack([np.zeros(2), goals], -1), past, None)
    action, _ = policy.act(memory, jnp.zeros((2, 2)), past.replace(done=np.ones(2, bool)), None)
    np.testing.assert_allclose(action[:, 0], 0.5 * goals, atol=0.1)
    forgetful, _ = policy.act(policy.start(2), jnp.zeros((2, 2)), past, None)
    assert np.ptp(forgetful[:, 0]) == 0.0


@pytest.mark.ci
def test_a_first_try_is_made_for_what_it_tells():
    state, report = learn(trial_probe(trying_pays, num_envs=32), 60)
    # The first of four steps gains nothing in the mean, the others 10 each; no memory, no gain at all.
    assert report.last_episodes.episode_return[0] > 18.0
    assert 12.0 < report.episodes.episode_return[0] <= 16.5  # 15 in the mean of episodes; those of a rollout differ
    # The goal is told by the reward of the first step: that is unknown in one step of four.
    assert float(report.belief_loss) == pytest.approx(0.25, abs=0.05)
    # Where a try is as good as its opposite, something must be done all the same.
    env = trial_probe(trying_pays, num_envs=32)
    policy = jitted(make_rl2(CONFIG, env), state)
    action, _ = policy.act(policy.start(1), jnp.zeros((1, 2)), no_past(1, 2), None)
    assert abs(float(action[0, 0])) > 0.5


def test_a_policy_is_not_told_the_goal_and_takes_no_task():
    env = trial_probe(trying_pays, num_envs=32)
    algorithm = make_rl2(CONFIG, env)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    policy = jitted(algorithm, state)
    shown, _ = policy.act(policy.start(3), jnp.asarray([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), no_past(3, 2), None)
    assert np.ptp(np.asarray(shown), axis=0).max() == 0.0
    with pytest.raises(ValueError, match="take `recurrent` instead of `policy`"):
        algorithm.policy(state)(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32))


def wage(goal: jax.Array, episode: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.where(episode == 0, 1.0, 3.0)


def worth(state: RL2State, step: float, episode: int) -> float:
    """Discounted rewards that the critic expects of an empty memory, in the rewards' own unit."""
    rows = jnp.concatenate([jnp.zeros(2), jnp.asarray([step, episode / 2]), jnp.zeros(CONFIG.memory)])[None]
    value = Critic(CONFIG.hidden, 1).apply(state.learner.params[1], rows, jnp.zeros(1, jnp.int32))
    return float(value[0] * state.reward_scale.divisor()[0])


@pytest.mark.ci
def test_what_follows_an_episode_is_the_rest_of_its_trial():
    state, report = learn(trial_probe(wage, num_envs=32), 120)
    expected = [sum(w * GAMMA**i for i, w in enumerate(wages)) for wages in ([1, 1, 3, 3], [3, 3])]
    # Networks are fitted by noisy gradients; the memory is never empty in a second episode.
    np.testing.assert_allclose([worth(state, 0.0, episode) for episode in (0, 1)], expected, rtol=0.15)
    assert float(report.explained_variance) > 0.9


@pytest.mark.full
def test_or_more_of_the_same_episode():
    # Long episodes: what follows them is not met in training, so that it is an extrapolation.
    config = dataclasses.replace(CONFIG, across_episodes=False, episode_steps=16, horizon=32, sequence=16)
    state, _ = learn(trial_probe(wage, num_envs=32, episode_steps=16), 200, config)
    expected = [1 / (1 - GAMMA), 3 / (1 - GAMMA)]
    np.testing.assert_allclose([worth(state, 0.0, episode) for episode in (0, 1)], expected, rtol=0.15)


@pytest.mark.ci
def test_reports_tell_last_episodes_apart():
    _, report = learn(trial_probe(wage, num_envs=32), 1)
    # Whole trials in a rollout of two of them: as many first episodes as last ones.
    assert float(report.last_episodes.episode_return[0]) == 6.0
    assert float(report.episodes.episode_return[0]) == 4.0


@pytest.mark.ci
def test_it_goes_on_from_a_checkpoint_bit_by_bit(tmp_path):
    algorithm = probe_learner("rl2")
    iterate = jax.jit(algorithm.iterate)

    def run(state: Any, iterations: int) -> Any:
        for _ in range(iterations):
            state, _ = iterate(state)
        return state

    half = run(jax.jit(algorithm.init)(jax.random.key(5)), 3)
    assert np.asarray(half.carried.memory).any()  # amid trials
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(half, Progress(iteration=3))
    restored = checkpoints.restore(algorithm.init)
    checkpoints.close()
    assert restored is not None
    assert_bitwise_equal(run(restored[0], 3), run(half, 3))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"trial_episodes": 0}, "trial_episodes must be positive, got 0"),
        ({"sequence": 30}, "sequence must divide the horizon of 100, got 30"),
        ({"minibatches": 3}, "divide the batch of 256 sequences, got 3"),
        ({"memory_hidden": (0,)}, r"memory_hidden must be positive widths, got \(0,\)"),
        ({"belief_weight": -1.0}, "belief_weight must not be negative, got -1.0"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        RL2Config(**bad)


@pytest.mark.usefixtures("kinematic")
def test_environments_must_fit():
    with pytest.raises(ValueError, match="trials of 2 episodes, these have no trials"):
        make_rl2(CONFIG, probe(lambda task, obs, action: task * 1.0, num_envs=32))
    with pytest.raises(ValueError, match="trials of 3 episodes, these have trials of 2 episodes"):
        make_rl2(dataclasses.replace(CONFIG, trial_episodes=3), trial_probe(trying_pays, num_envs=32))
    with pytest.raises(ValueError, match="says 32 environments, these are 16"):
        make_rl2(CONFIG, trial_probe(trying_pays))
    told = mw.VectorEnv(mw.make(["reach-v3", "push-v3"], one_hot=True), 32)
    with pytest.raises(ValueError, match="task is to be found out"):
        make_rl2(CONFIG, training_env(told, 2))


def test_its_configuration_is_written_down_and_chosen_by_name():
    config = configuration(Train("ML10-train", algo="rl2"))
    assert isinstance(config.algorithm, RL2Config)
    assert config.algorithm != RL2Config()  # the preset's
    assert from_json(as_json(config)) == config
    assert configuration(Train("reach-v3", algo="rl2", set=("trial_episodes=3",))).algorithm == RL2Config(
        trial_episodes=3
    )
    assert RUN_CONFIGS["rl2"].episode_steps * 2 > RUN_CONFIGS["rl2"].horizon  # its trials outlast a rollout
