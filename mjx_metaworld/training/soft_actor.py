"""Parts that soft actor-critics share: structs, the actor's and the temperatures' update, what an update is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from mjx_metaworld.training.algorithm import EpisodeReport, TrainingEnv
from mjx_metaworld.training.devices import divide
from mjx_metaworld.training.networks import SquashedActor, draw_squashed
from mjx_metaworld.training.normalize import standardise, task_moments
from mjx_metaworld.training.replay import Experience, Replay
from mjx_metaworld.types import Policy


class Learner(struct.PyTreeNode):
    """Networks, temperatures and optimizer states, which the updates change."""

    actor: Any  # parameters
    critics: Any  # parameters, with a leading axis of critics
    targets: Any  # the critics of late, averaged
    log_temperature: Float[Array, " tasks"]
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    temperature_optimizer: optax.OptState


class SoftReport(struct.PyTreeNode):
    """Figures of an iteration: episodes, entropy and temperature by task, the rest as means over the updates.

    But for the episodes, all is NaN before the first update.
    """

    episodes: EpisodeReport
    critic_loss: Float[Array, ""]  # of all critics: squared errors, or the cross entropy in nats of distributions
    actor_loss: Float[Array, ""]
    value: Float[Array, ""]  # of the sampled actions, in rewards as scaled
    entropy: Float[Array, " tasks"]  # of the policy, in nats
    temperature: Float[Array, " tasks"]


class Figures(NamedTuple):
    """Figures of an update, those of `SoftReport` without the episodes."""

    critic_loss: Float[Array, ""]
    actor_loss: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, " tasks"]
    temperature: Float[Array, " tasks"]


class Batch(NamedTuple):
    """Rows of the buffer as an update takes them, by today's statistics: task after task, as many of each."""

    obs: Float[Array, "n obs"]  # standardised
    task: Int[Array, " n"]
    action: Float[Array, "n action"]
    reward: Float[Array, " n"]  # of the window of steps, scaled
    discount: Float[Array, " n"]  # of what follows the window
    next_obs: Float[Array, "n obs"]  # standardised


def check_equal_shares(env: TrainingEnv, num_envs: int) -> None:
    """Refuse lanes of which the tasks have different shares.

    Raises:
        ValueError: if they do, or if the environments have another number of lanes.
    """
    env.check_lanes(num_envs)
    if env.num_envs % env.num_tasks:
        raise ValueError(f"num_envs must be a multiple of the number of tasks, {env.num_tasks}, got {env.num_envs}")


def warmup_iterations(warmup_steps: int, steps_per_iteration: int) -> int:
    """Number of iterations of uniform actions; counted so, as environment steps outgrow 32 bits in a long run."""
    return min(-(-warmup_steps // steps_per_iteration), np.iinfo(np.int32).max)


class SoftActor(ABC):
    """Actor of a soft actor-critic and its updates; how critics value an action is for each algorithm to say."""

    env: TrainingEnv
    actor: SquashedActor
    replay: Replay
    optimizer: optax.GradientTransformation
    temperature_optimizer: optax.GradientTransformation
    target_entropy: float

    @abstractmethod
    def divisor(self, state: Any) -> Float[Array, " tasks"]:
        """Divisor of each task's rewards."""

    @abstractmethod
    def _expected(self, params: Any, obs: Array, action: Array, task: Array) -> Float[Array, "critics n"]:
        """Values that critics of these parameters expect of actions."""

    def _projected(self, params: Any) -> Any:
        """Parameters after a step of their optimizer."""
        return params

    def policy(self, state: Any) -> Policy:
        """The actor's mean action."""

        def act(obs: Array, task: Array) -> Array:
            return jnp.tanh(self._distribution(state.learner.actor, standardise(state.obs_moments, obs), task)[0])

        return act

    def _distribution(self, params: Any, obs: Array, task: Array, *, in_blocks: bool = False) -> tuple[Array, Array]:
        return cast(tuple[Array, Array], self.actor.apply(params, obs, task, in_blocks=in_blocks))

    def _wait(self, state: Any, key: Array) -> tuple[Learner, Figures]:
        unknown, by_task = jnp.full((), jnp.nan), jnp.full(self.env.num_tasks, jnp.nan)
        return state.learner, Figures(unknown, unknown, unknown, by_task, by_task)

    def _sample(self, state: Any, key: Array) -> Batch:
        """Rows with today's statistics: the buffer holds what was seen, unscaled."""
        rows: Experience = divide(self.replay.sample(state.replay, key), self.env.sharding)
        return Batch(
            obs=standardise(state.obs_moments, self.env.whole(rows.obs, rows.task)),
            task=rows.task,
            action=rows.action,
            reward=rows.reward / self.divisor(state)[rows.task],
            discount=rows.discount,
            next_obs=standardise(state.obs_moments, self.env.whole(rows.next_obs, rows.task)),
        )

    def _update_actor(self, learner: Learner, batch: Batch, key: Array) -> tuple[Learner, Array, Array]:
        """Actor and temperatures; returns the loss, and the entropy by task."""
        temperature = jnp.exp(learner.log_temperature)[batch.task]

        def loss(params: Any) -> tuple[Array, Array]:
            policy = self._distribution(params, batch.obs, batch.task, in_blocks=True)
            action, log_prob = draw_squashed(key, *policy)
            value = self._expected(learner.critics, batch.obs, action, batch.task).min(0)
            return (temperature * log_prob - value).mean(), log_prob

        (actor_loss, log_prob), grads = jax.value_and_grad(loss, has_aux=True)(learner.actor)
        steps, actor_optimizer = self.optimizer.update(grads, learner.actor_optimizer)
        entropy = task_moments(-log_prob, batch.task, self.env.num_tasks).mean
        # Too much entropy lowers the task's temperature, too little raises it; Adam takes care of the size.
        steps_of_temperature, temperature_optimizer = self.temperature_optimizer.update(
            entropy - self.target_entropy, learner.temperature_optimizer
        )
        learner = learner.replace(
            actor=self._projected(optax.apply_updates(learner.actor, steps)),
            actor_optimizer=actor_optimizer,
            log_temperature=optax.apply_updates(learner.log_temperature, steps_of_temperature),
            temperature_optimizer=temperature_optimizer,
        )
        return learner, actor_loss, entropy
