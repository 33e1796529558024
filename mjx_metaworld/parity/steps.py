"""Errors of rewards, resets and one control step against the live CPU reference, from injected states.

The reference rolls out; before each of its steps its state is injected here, and both sides take the same action. So
an error cannot hide behind the divergence of two trajectories, and chaos cannot feign one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.observation import FRAME, OBSERVATION
from mjx_metaworld.parity.record import Style, rollout
from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference
from mjx_metaworld.tasks.spec import RewardInputs, TaskSpec
from mjx_metaworld.testing import reward_inputs_from_metaworld, state_from_metaworld
from mjx_metaworld.types import Metrics, State
from mjx_metaworld.vector import reset_to_goals


class Steps(NamedTuple):
    """Recorded control steps of the reference; leaves have a leading axis of steps."""

    state: State  # before the step
    action: np.ndarray  # (n, 4)
    obs: np.ndarray  # (n, 39) after it
    reward: np.ndarray  # (n,)
    metrics: Metrics  # (n,) leaves
    inputs: RewardInputs  # what the reward was computed from


class StepErrors(NamedTuple):
    """Differences of one control step from the reference, one entry a step."""

    after: np.ndarray  # (n, 39) the observation here
    obs: np.ndarray  # (n,) largest absolute difference in the observed frame
    entries: np.ndarray  # (n, k) absolute difference of every entry of the frame that the task observes
    reward: np.ndarray  # (n,) absolute difference
    success: np.ndarray  # (n,) bool: success reported differently


def record_steps(
    env: MetaWorldEnv, task: int, rand_vecs: np.ndarray, *, style: Style, num_steps: int, every: int = 1, seed: int = 0
) -> Steps:
    """Roll the reference out and keep every `every`-th step together with the state before it.

    Args:
        env: the environment that the states are meant for.
        task: index into `env.tasks`.
        rand_vecs: (n, rand) goal vectors, an episode each.
        style: of the actions, see `record.rollout`.
        num_steps: control steps an episode.
        every: thinning.
        seed: of what wanders.
    """
    name = env.tasks[task].name
    cpu_env, policy, rng = reference_env(name), reference_policy(name).get_action, np.random.default_rng(seed)
    rows = []
    for rand_vec in rand_vecs:
        first = start_reference(cpu_env, name, rand_vec, goal_observable=env.goal_observable)
        for turn in rollout(cpu_env, first, policy, style=style, num_steps=num_steps, rng=rng):
            if turn.index % every == 0:
                before = state_from_metaworld(env, task, cpu_env)
                obs, reward, metrics = turn.take()
                inputs = reward_inputs_from_metaworld(cpu_env, env.tasks[task], obs, turn.action)
                rows.append(Steps(before, turn.action, obs, np.asarray(reward), metrics, inputs))
    cpu_env.close()
    return jax.tree.map(lambda *leaves: _stack(leaves), *rows)


def _stack(leaves: tuple) -> Array | np.ndarray:
    """On the host, which compiles nothing: `jnp.stack` is a program of its own for every number of arrays."""
    if not isinstance(leaves[0], jax.Array):
        return np.stack(leaves)
    return jnp.asarray(np.stack(jax.device_get(leaves)))


def step_errors(step: Callable[[State, Array], State], steps: Steps, *, pad_to: int | None = None) -> StepErrors:
    """Take the recorded steps here and compare.

    Args:
        step: the jitted, vmapped `env.step`.
        steps: what the reference did.
        pad_to: repeat the last step up to this number, so that recordings of several lengths share one compilation.
    """
    count = len(steps.action)
    rows = np.minimum(np.arange(pad_to or count), count - 1)
    after = step(jax.tree.map(lambda x: x[rows], steps.state), jnp.asarray(steps.action, float)[rows])
    obs, reward, success = (
        np.asarray(x, float)[:count] for x in jax.device_get((after.obs, after.reward, after.metrics.success))
    )
    difference = np.abs(obs[:, FRAME] - steps.obs[:, FRAME])
    observed = np.any(steps.obs[:, FRAME] != 0.0, axis=0)  # the rest pads tasks with fewer objects
    return StepErrors(
        after=obs,
        obs=difference.max(axis=1),
        entries=difference[:, observed],
        reward=np.abs(reward - steps.reward),
        success=success != steps.metrics.success,
    )


def reward_error(spec: TaskSpec, steps: Steps) -> float:
    """Largest relative difference of the reward and the metrics from the reference's, from its own quantities.

    In float64, so that it shows the formulas alone: some rewards divide by the distance of a finger pad from a
    threshold, which turns a rounding to float32 into more than 1e-5. Relative to values of at least 1.
    """
    with jax.enable_x64(True):
        outcome = jit(jax.vmap(spec.reward))(jax.tree.map(jnp.asarray, steps.inputs))
        ours = jax.tree.leaves((outcome.reward, outcome.metrics()))
        theirs = jax.tree.leaves((steps.reward, steps.metrics))
        errors = [np.abs(np.asarray(a) - b) / np.maximum(np.abs(b), 1.0) for a, b in zip(ours, theirs, strict=True)]
    return float(np.max(errors))


def reset_error(env: MetaWorldEnv, task: int, rand_vecs: np.ndarray) -> float:
    """Largest absolute difference of the first observation from the reference's, over goal vectors (n, rand)."""
    name = env.tasks[task].name
    cpu_env = reference_env(name)
    theirs = [start_reference(cpu_env, name, v, goal_observable=env.goal_observable).copy() for v in rand_vecs]
    cpu_env.close()
    ours = reset_to_goals(env, [rand_vecs], [task]).obs[:, OBSERVATION]
    return float(np.max(np.abs(np.asarray(ours, float) - theirs)))
