"""A policy with memory as an agent of metaworld's evaluation of meta-learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from metaworld.evaluation import Timestep

from mjx_metaworld.training.recurrent import Past, RecurrentPolicy
from mjx_metaworld.training.reference_trials import TrialAgent


def telling(told: list[tuple[np.ndarray, ...]]) -> RecurrentPolicy:
    """Notes all that it is told, and whether its actions are to be drawn."""

    def act(memory: jax.Array, obs: jax.Array, past: Past, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        jax.debug.callback(
            lambda *now: told.append(jax.tree.map(np.asarray, now)), obs, past, memory, key is not None, ordered=True
        )
        return jnp.zeros((len(obs), 4)), memory + 1

    return RecurrentPolicy(lambda num_envs: jnp.zeros(num_envs), act)


def test_episodes_within_a_trial_keep_the_memory_and_a_new_trial_begins_with_none():
    told: list = []
    agent = TrialAgent(telling(told), 2, likely=True)
    obs = np.arange(90.0).reshape(2, 45)

    def step(ended: list[bool]) -> None:
        actions, extras = agent.adapt_action(obs)
        assert actions.shape == (2, 4)
        assert extras == {}
        ends = np.array(ended)
        agent.step(Timestep(obs, actions, np.zeros(2), np.zeros(2, bool), ends, extras))

    agent.init()
    agent.reset(np.ones(2, bool))  # nothing was done that could have ended
    step([False, True])
    step([False, False])
    agent.adapt()
    agent.reset(np.ones(2, bool))  # as metaworld's evaluation begins
    agent.eval_action(obs)
    agent.eval_action(obs)
    agent.init()
    agent.eval_action(obs)
    jax.effects_barrier()
    assert [now[1].done.tolist() for now in told] == [[False] * 2, [False, True], [True] * 2, [False] * 2, [False] * 2]
    assert [now[2].tolist() for now in told] == [[0, 0], [1, 1], [2, 2], [3, 3], [0, 0]]
    assert [bool(now[3]) for now in told] == [True, True, False, False, False]


def test_an_observation_is_taken_apart_as_metaworld_puts_it_together():
    told: list = []
    agent = TrialAgent(telling(told), 1)
    agent.eval_action(np.concatenate([np.zeros(39), [0.1, 0.2, 0.3, 0.4], [0.7], [1.0]])[None])
    jax.effects_barrier()
    obs, past = told[0][:2]
    assert obs.shape == (1, 39)
    assert not obs.any()
    np.testing.assert_allclose(past.action, [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(past.reward, [0.7], rtol=1e-6)
