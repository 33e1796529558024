"""The brax adapter, driven by brax's own wrappers and agents.

Brax is imported by the tests: whatever process collects them would take seconds to do so.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld.observation import GOAL

NUM_ENVS = 4

pytestmark = [
    pytest.mark.skipif(not find_spec("brax"), reason="brax is not installed"),
    pytest.mark.usefixtures("kinematic"),
]


@pytest.fixture(scope="module")
def adapter() -> ModuleType:
    from mjx_metaworld.adapters import brax

    return brax


@pytest.fixture(scope="module")
def env(kinematic, adapter):
    return adapter.BraxEnv(mw.make("reach-v3", terminate_on_success=True))


def keys() -> jax.Array:
    return jax.random.split(jax.random.PRNGKey(0), NUM_ENVS)  # the raw keys that brax deals in


def test_brax_wraps_it_for_training_and_evaluation(env):
    from brax.envs.wrappers import training

    wrapped = training.EvalWrapper(training.wrap(env, episode_length=3))
    before = jax.eval_shape(wrapped.reset, keys())
    after = jax.eval_shape(wrapped.step, before, jnp.zeros((NUM_ENVS, 4)))
    # Brax scans over steps, so that a step must return what it was given, to the last key and dtype.
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(before)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]
    assert after.obs.shape == (NUM_ENVS, env.observation_size)
    assert after.reward.dtype == after.done.dtype == jnp.float32
    assert set(mw.Metrics.__dataclass_fields__) | {"solved"} <= set(after.metrics)
    assert env.action_size == wrapped.action_size == 4


def test_wrap_starts_fresh_episodes_and_keeps_their_true_ends(env, adapter):
    wrapped = adapter.wrap(env, episode_length=2)
    first = jax.jit(wrapped.reset)(keys())
    # A goal where the hand already is, in the first lane: success at its first step, which terminates here.
    inner = first.pipeline_state.env
    goal = inner.episode.goal.at[0].set(inner.episode.tcp_init[0])
    inner = inner.replace(episode=inner.episode.replace(goal=goal))
    first = first.replace(pipeline_state=first.pipeline_state.replace(env=inner))

    step = jax.jit(wrapped.step)
    second = step(first, jnp.zeros((NUM_ENVS, 4)))
    third = step(second, jnp.zeros((NUM_ENVS, 4)))
    fourth = step(third, jnp.zeros((NUM_ENVS, 4)))
    assert second.done.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert second.info["truncation"].tolist() == [0.0] * 4
    assert second.metrics["solved"][0] == 1.0
    assert third.done.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert third.info["truncation"].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert fourth.done.tolist() == [1.0, 0.0, 0.0, 0.0]  # the first lane is one step ahead
    assert fourth.info["steps"].tolist() == [2.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(third.info["terminal_obs"][:, GOAL], second.obs[:, GOAL])
    assert not np.any(np.all(third.obs[1:, GOAL] == second.obs[1:, GOAL], axis=1))  # new goals
    np.testing.assert_array_equal(third.obs[0], third.info["terminal_obs"][0])


def test_repeated_actions_count_a_success_and_an_end_in_any_step(env, adapter):
    """In the first lane the goal is where the hand already is."""
    repeating = adapter.wrap(env, episode_length=8, action_repeat=2)
    state = jax.jit(repeating.reset)(jax.random.split(jax.random.key(0), NUM_ENVS))
    assert state.info["steps"].shape == (NUM_ENVS,)  # of typed keys, too, which brax's own wrappers take for one
    inner = state.pipeline_state.env
    goal = inner.episode.goal.at[0].set(inner.episode.tcp_init[0])
    inner = inner.replace(episode=inner.episode.replace(goal=goal))
    state = state.replace(pipeline_state=state.pipeline_state.replace(env=inner))
    step = jax.jit(repeating.step)
    after = step(state, jnp.zeros((NUM_ENVS, 4)))
    assert after.metrics["solved"].tolist() == after.done.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert after.info["episode_metrics"]["solved"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert not after.info["truncation"].any()
    after = step(after, jnp.zeros((NUM_ENVS, 4)))
    assert after.metrics["solved"].tolist() == after.done.tolist() == [0.0] * NUM_ENVS
    assert after.info["episode_metrics"]["solved"].tolist() == [0.0] * NUM_ENVS
    assert after.info["steps"].tolist() == [2.0, 4.0, 4.0, 4.0]


@pytest.mark.full
def test_agents_find_what_jax_no_longer_has():
    """By the adapter's calls, not by its import; `jax` itself stays as it is."""
    code = (
        "import jax, mjx_metaworld as mw\n"
        "from brax.training import pmap\n"
        "from mjx_metaworld.adapters.brax import BraxEnv\n"
        "had = hasattr(jax, 'device_put_replicated')\n"
        "assert pmap.jax is jax\n"
        "BraxEnv(mw.make('reach-v3'))\n"
        "copies = pmap.bcast_local_devices({'x': jax.numpy.arange(3)})\n"
        "assert copies['x'].tolist() == [[0, 1, 2]], copies\n"
        "assert (pmap.jax is jax) == hasattr(jax, 'device_put_replicated') == had\n"
        "assert pmap.jax.tree is jax.tree\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.full
def test_ppo_improves_on_reach(adapter):
    from brax.training.agents.ppo import networks as ppo_networks
    from brax.training.agents.ppo import train as ppo

    progress = []
    ppo.train(
        adapter.BraxEnv(mw.make("reach-v3")),
        wrap_env_fn=adapter.wrap,
        num_timesteps=100_000,
        episode_length=100,
        num_envs=64,
        num_eval_envs=64,
        num_evals=2,
        batch_size=64,
        num_minibatches=8,
        num_updates_per_batch=4,
        unroll_length=20,
        discounting=0.97,
        learning_rate=1e-3,
        entropy_cost=1e-3,
        reward_scaling=0.1,
        normalize_observations=True,
        network_factory=lambda *args, **kwargs: ppo_networks.make_ppo_networks(
            *args, policy_hidden_layer_sizes=(64, 64), value_hidden_layer_sizes=(64, 64), **kwargs
        ),
        progress_fn=lambda steps, metrics: progress.append(metrics),
    )
    returns = [metrics["eval/episode_reward"] for metrics in progress]
    print(returns, [float(metrics["eval/episode_solved"]) for metrics in progress])
    assert returns[-1] > 1.5 * returns[0]
    assert all(0.0 <= metrics["eval/episode_solved"] <= 1.0 for metrics in progress)


@pytest.mark.full
def test_sac_accepts_it(adapter):
    from brax.training.agents.sac import train as sac

    progress = []
    sac.train(
        adapter.BraxEnv(mw.make("reach-v3")),
        wrap_env_fn=adapter.wrap,
        num_timesteps=1024,
        episode_length=20,
        num_envs=16,
        num_eval_envs=16,
        num_evals=2,
        min_replay_size=256,
        max_replay_size=4096,
        batch_size=64,
        progress_fn=lambda steps, metrics: progress.append(metrics),
    )
    assert np.isfinite(progress[-1]["training/critic_loss"])
    assert progress[-1]["eval/episode_reward"] > 0.0


def test_what_is_no_environment_or_number_of_steps_is_refused(adapter):
    env = mw.make("reach-v3")
    with pytest.raises(TypeError, match=r"env must be an environment, as mw.make makes one, got VectorEnv"):
        adapter.BraxEnv(mw.VectorEnv(env, 2))
    with pytest.raises(TypeError, match=r"env must be a BraxEnv, got MetaWorldEnv"):
        adapter.wrap(env)
    for numbers, name in (((0, 1), "episode_length"), ((4, 0), "action_repeat")):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer, got 0"):
            adapter.wrap(adapter.BraxEnv(env), *numbers)
