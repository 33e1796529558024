"""Rollouts of the live reference, one control step at a time, so that anything can be read before and after it.

The one place where metaworld is stepped along a policy. What a rollout is good for is its user's: states to inject
(`steps.py`), the stages of MuJoCo C (`dissect.py`), contacts (`collisions.py`), rewards, pictures, success.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference
from mjx_metaworld.types import Metrics

Style = Literal["expert", "noisy", "random"]
Act = Callable[[np.ndarray], np.ndarray]  # (39,) -> (4,)


class Taken(NamedTuple):
    """Result of a control step of the reference, float64."""

    obs: np.ndarray  # (39,)
    reward: float
    metrics: Metrics


class Turn:
    """A control step that the reference is about to take; it is taken at the latest when the next one is asked for.

    Attributes:
        cpu_env: the live environment, before the step, and after it once `take` was called.
        index: number of the step in its episode, from 0.
        obs: (39,) the observation before the step.
        expert: (4,) the policy's answer to it, not clipped.
        action: (4,) what the step is given.
    """

    def __init__(
        self, cpu_env: SawyerXYZEnv, index: int, obs: np.ndarray, expert: np.ndarray, action: np.ndarray
    ) -> None:
        self.cpu_env, self.index, self.obs, self.expert, self.action = cpu_env, index, obs, expert, action
        self._taken: Taken | None = None

    def take(self) -> Taken:
        """Take the step, or return again what it came to."""
        if self._taken is None:
            obs, reward, _, _, info = self.cpu_env.step(self.action)
            metrics = Metrics(**{key: np.asarray(value, float) for key, value in info.items()})
            self._taken = Taken(obs.copy(), float(reward), metrics)
        return self._taken


def rollout(
    cpu_env: SawyerXYZEnv,
    obs: np.ndarray,
    policy: Act,
    *,
    style: Style,
    num_steps: int,
    rng: np.random.Generator | None = None,
    wander: float = 1.0,
    bound: float = 1.0,
    rounded: bool = True,
) -> Iterator[Turn]:
    """Go on from an episode's first observation.

    Args:
        cpu_env: a live metaworld environment in which an episode has begun.
        obs: (39,) its first observation.
        policy: the "expert": the task's scripted policy or another, (39,) -> (4,).
        style: the policy's actions, these with a wandering disturbance, or actions that wander at random.
        num_steps: control steps.
        rng: draws what wanders; by default one of seed 0.
        wander: largest size of what wanders.
        bound: at which actions are clipped; the reference itself clips them at 1, and rewards see them as they are.
        rounded: give the reference actions that float32 can hold, as float64. (Given float32, it computes part of its
            rewards in float32.)
    """
    rng = rng or np.random.default_rng(0)
    disturbance = rng.uniform(-1.0, 1.0, 4)
    for index in range(num_steps):
        with warnings.catch_warnings(action="ignore"):  # of every high gain
            expert = policy(obs.copy())  # some policies write into what they are given
        if style != "expert":
            disturbance = np.clip(0.9 * disturbance + 0.45 * rng.normal(size=4), -1.0, 1.0)
        chosen = {"expert": expert, "noisy": expert + wander * disturbance, "random": wander * disturbance}[style]
        action = np.clip(chosen, -bound, bound)
        turn = Turn(cpu_env, index, obs, expert, action.astype(np.float32).astype(float) if rounded else action)
        yield turn
        obs = turn.take().obs


def episode(
    name: str,
    rand_vec: np.ndarray,
    style: Style,
    num_steps: int,
    *,
    rng: np.random.Generator | None = None,
    wander: float = 1.0,
) -> Iterator[Turn]:
    """The same from the start of a new environment's episode with a goal vector.

    Args:
        name: the task.
        rand_vec: (rand,) the goal vector.
        style: as for `rollout`.
        num_steps: as for `rollout`.
        rng: as for `rollout`.
        wander: as for `rollout`.
    """
    cpu_env = reference_env(name)
    obs = start_reference(cpu_env, name, rand_vec)
    yield from rollout(
        cpu_env, obs, reference_policy(name).get_action, style=style, num_steps=num_steps, rng=rng, wander=wander
    )
    cpu_env.close()


class EpisodeOutcome(NamedTuple):
    """Result of an episode of the reference."""

    success: bool  # at any step
    episode_return: float


def run_reference_expert(name: str, rand_vecs: np.ndarray, num_steps: int) -> list[EpisodeOutcome]:
    """Run the scripted policy on the reference, one episode a goal vector.

    Args:
        name: the task.
        rand_vecs: (n, rand) goal vectors.
        num_steps: control steps an episode, at most the reference's 500.
    """
    cpu_env, act = reference_env(name), reference_policy(name).get_action
    outcomes = [run_reference_episode(cpu_env, name, rand_vec, act, num_steps) for rand_vec in rand_vecs]
    cpu_env.close()
    return outcomes


def run_reference_episode(
    cpu_env: SawyerXYZEnv, name: str, rand_vec: np.ndarray, act: Act, num_steps: int
) -> EpisodeOutcome:
    """Run an episode of the reference.

    Args:
        cpu_env: of the task, from `reference_env`.
        name: the task.
        rand_vec: (rand,) its goal vector.
        act: the policy, (39,) -> (4,); its actions are clipped to [-1, 1].
        num_steps: control steps, at most the reference's 500.
    """
    obs = start_reference(cpu_env, name, rand_vec)
    taken = [turn.take() for turn in rollout(cpu_env, obs, act, style="expert", num_steps=num_steps, rounded=False)]
    return EpisodeOutcome(any(t.metrics.success for t in taken), sum(t.reward for t in taken))
