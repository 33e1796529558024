"""Trials on frozen goals, counted as by a plain loop and as by metaworld's own evaluation of meta-learning."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metaworld.evaluation import metalearning_evaluation
from support.memory_policies import sweeping

import mjx_metaworld as mw
import mjx_metaworld.adapters.gymnasium
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.parity.episodes import collect
from mjx_metaworld.training.recurrent import Past, RecurrentPolicy
from mjx_metaworld.training.reference_trials import TrialAgent, evaluate_trials_on_reference, trial_evaluations
from mjx_metaworld.training.trial_evaluation import TrialLength, TrialStats, make_trial_evaluator

pytestmark = pytest.mark.ci

STEPS, GOALS, LENGTH = 60, 5, TrialLength(2, 2)
SEED = 1  # of the frozen goals


def vectors() -> list[np.ndarray]:
    return [goals[:GOALS] for goals in mw.goals("reach-v3", SEED)]


def evaluate(policy: RecurrentPolicy, length: TrialLength) -> TrialStats:
    env = mw.make("reach-v3", goal_observable=False)
    return make_trial_evaluator(env, vectors(), lambda _: policy, length, STEPS)(None)


@pytest.fixture(scope="module")
def stats(kinematic) -> TrialStats:
    return evaluate(sweeping(), LENGTH)


@pytest.mark.usefixtures("kinematic")
def test_a_policy_remembers_over_the_episodes_of_a_trial(stats):
    """Episodes are those of a loop in Python."""
    env, policy = mw.make("reach-v3", goal_observable=False), sweeping()
    reset, step = jax.jit(env.reset_to), jax.jit(env.step)
    for goal, vector in enumerate(vectors()[0][:2]):
        memory, successes, returns = policy.start(1), [], []
        for number in range(sum(LENGTH)):
            state, counts = reset(0, vector), number >= LENGTH.adaptation
            past = Past(jnp.zeros((1, 4)), jnp.zeros(1), jnp.asarray([number > 0]))
            success, total = False, 0.0
            for _ in range(STEPS):
                action, memory = policy.act(memory, state.obs[None], past, None)
                state = step(state, action[0])
                past = Past(action, state.reward[None] / 10, jnp.zeros(1, bool))
                success, total = success or bool(state.metrics.success), total + float(state.reward)
                if success and counts:
                    break
            successes.append(success)
            returns.append(total)
        found = [np.concatenate([x[0, goal], y[0, goal]]) for x, y in zip(*map(jax.tree.leaves, stats), strict=True)]
        np.testing.assert_array_equal(found[0], successes)
        np.testing.assert_allclose(found[1], returns, rtol=1e-4)  # sums in another order


@pytest.mark.usefixtures("kinematic")
def test_metaworlds_protocol_is_the_same(stats):
    """Its own function, on our environments behind gymnasium, so that nothing but the protocols can differ."""
    envs = gym.make_vec(
        "mjx-metaworld/ML1-train",
        env_name="reach-v3",
        seed=SEED,
        meta_batch_size=1,
        total_tasks_per_cls=GOALS,
        task_select="pseudorandom",
        max_episode_steps=STEPS,
        recurrent_info_in_obs=True,
    )
    success, mean_return, _ = metalearning_evaluation(
        TrialAgent(sweeping(), 1),
        envs,
        num_evals=GOALS,
        adaptation_episodes=LENGTH.adaptation,
        evaluation_episodes=LENGTH.evaluation,
    )
    counted = stats.counted()
    assert counted.success.shape == (1, GOALS * LENGTH.evaluation)
    assert 0 < success < 1  # some goals lie on its way
    assert success == pytest.approx(counted.success.mean())
    assert mean_return == pytest.approx(counted.episode_return.mean(), rel=1e-4)


@pytest.mark.full
@pytest.mark.usefixtures("true_physics")
def test_cpu_metaworld_agrees():
    """The same policy in the reference's own environments; the simulators differ in the fourth digit."""
    here = evaluate(sweeping(), LENGTH).counted()
    env = mw.make("reach-v3")
    (there,) = evaluate_trials_on_reference(env, sweeping(), vectors(), LENGTH, STEPS)
    assert abs(there.success - here.success.mean()) <= 1 / GOALS  # an episode may just miss its goal
    assert there.episode_return == pytest.approx(here.episode_return.mean(), rel=0.05)


@pytest.mark.full
@pytest.mark.usefixtures("kinematic")
@pytest.mark.parametrize("likely", [False, True])
def test_processes_come_to_the_same(likely):
    env, names = mw.make(["reach-v3", "push-v3"]), ("reach-v3", "push-v3")
    goals, length = [mw.goals(name, SEED)[0][:2] for name in names], TrialLength(1, 1, likely)
    here = evaluate_trials_on_reference(env, wandering(), goals, length, 30)
    with trial_evaluations(env, wandering(), goals, length, 30, 2) as started:
        assert collect(started) == here
    assert here[0].episode_return != here[1].episode_return


def wandering() -> RecurrentPolicy:
    """Draws actions about a speed that it remembers, in a memory of two arrays."""

    def act(memory: Any, obs: jax.Array, past: Past, key: jax.Array | None) -> tuple[jax.Array, Any]:
        speed = 0.9 * memory["speed"] + 0.1 * obs[:, :4]
        drawn = 0.0 if key is None else jax.random.uniform(key, speed.shape, minval=-0.5, maxval=0.5)
        return speed + drawn, {"speed": speed, "steps": memory["steps"] + 1}

    return RecurrentPolicy(lambda num_envs: {"speed": jnp.zeros((num_envs, 4)), "steps": jnp.zeros(num_envs, int)}, act)


@pytest.mark.usefixtures("kinematic")
def test_actions_are_drawn_or_in_the_episodes_that_count_the_most_likely():
    def act(memory: jax.Array, obs: jax.Array, past: Past, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        drawn = jnp.zeros((len(obs), 4)) if key is None else jax.random.uniform(key, (len(obs), 4), minval=-1.0)
        return drawn, memory

    policy = RecurrentPolicy(lambda num_envs: jnp.zeros(num_envs), act)
    for likely, different in ((True, 1), (False, 2)):
        stats = evaluate(policy, TrialLength(3, 2, likely))
        assert len(set(stats.adaptation.episode_return[0, 0].tolist())) == 3
        assert len(set(stats.evaluation.episode_return[0, 0].tolist())) == different
        assert stats.adaptation.success.shape == (1, GOALS, 3)
        agent = TrialAgent(policy, 1, likely=likely)
        observation = np.zeros((1, OBSERVATION_SIZE + 6))
        counted = {agent.eval_action(observation).tobytes() for _ in range(2)}
        assert len(counted) == different


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (TrialLength(-1, 1), "adaptation episodes must be an integer >= 0, got -1"),
        (TrialLength(1, 0), "evaluation episodes must be a positive integer, got 0"),
    ],
)
@pytest.mark.usefixtures("kinematic")
def test_bad_lengths_are_refused(length, message):
    with pytest.raises(ValueError, match=message):
        evaluate(sweeping(), length)
    with pytest.raises(ValueError, match=message):
        evaluate_trials_on_reference(mw.make("reach-v3"), sweeping(), vectors(), length)
