"""Metaworld's evaluation task by task, and in processes, against the same evaluation of all tasks in one vector."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metaworld.evaluation import evaluation

import mjx_metaworld as mw
from mjx_metaworld.parity.episodes import collect
from mjx_metaworld.parity.evaluation import Part, evaluate_part, evaluations, parts_of, reference_vector
from mjx_metaworld.testing import KinematicEngine

NUM_GOALS, NUM_STEPS = 2, 80
TASKS = ["reach-v3", "door-lock-v3", "push-v3"]  # an expert has done with reaching in 40 steps, hardly with the others


@pytest.fixture(scope="module")
def env() -> mw.MetaWorldEnv:
    return mw.make(TASKS, engine=KinematicEngine, one_hot=True)


@pytest.fixture(scope="module")
def parts(env) -> list[Part]:
    return parts_of(env, [vectors[:NUM_GOALS] for vectors in mw.goals(TASKS, 1)], NUM_STEPS)


@pytest.fixture(scope="module")
def policy(env):
    """The experts, which are told by the one-hot vector what their task is, and not by its number."""
    expert = mw.expert(env)

    def act(obs, task):
        shown = jnp.argmax(obs[:, -len(TASKS) :], axis=1)
        return jnp.where(jnp.all(shown == task), jnp.clip(jax.vmap(expert)(obs, shown), -1.0, 1.0), jnp.nan)

    return act


class Agent:
    def __init__(self, act):
        self._act = jax.jit(act)

    def eval_action(self, observations):
        return np.asarray(self._act(np.array(observations, np.float32), np.arange(len(TASKS))))

    def reset(self, env_mask):
        pass


def test_each_task_comes_to_what_it_does_among_all(parts, policy):
    envs = reference_vector(parts)
    envs.call("toggle_sample_tasks_on_reset", True)
    _, _, success, returns = evaluation(Agent(policy), envs, num_episodes=NUM_GOALS)
    envs.close()
    act = jax.jit(policy)
    steps = []
    for part in parts:
        outcome = evaluate_part(part, act, advance=lambda: steps.append(None))
        assert outcome.success == success[part.name]
        # A batch of another size may round otherwise.
        assert outcome.episode_return == pytest.approx(np.mean(returns[part.name]), rel=1e-4)
    assert success["reach-v3"] == 1.0
    assert len(steps) < NUM_GOALS * NUM_STEPS * len(TASKS)  # an episode ends at its first success


@pytest.mark.full
def test_processes_come_to_the_same(parts, policy):
    act = jax.jit(policy)
    with evaluations(parts, policy, 2) as started:
        assert collect(started) == [evaluate_part(part, act) for part in parts]


@pytest.mark.full
def test_what_has_not_begun_is_left_out_after_an_error(parts):
    def nothing(obs, task):
        return jnp.zeros((1, 4))

    many = parts * 40
    with pytest.raises(RuntimeError, match="elsewhere"), evaluations(many, nothing, 1) as started:
        raise RuntimeError("elsewhere")
    assert all(future.done() for future in started)
    assert sum(future.cancelled() for future in started) > len(many) - 10
