"""Soft actor-critic (Haarnoja et al., 2018) for several tasks, each with its own heads and its own temperature.

An iteration is a short rollout of all lanes into the replay buffer and the updates due for it, in one program. The
train state holds the buffer, so a checkpoint does, too: a run goes on bit by bit, at the price of its size on disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from mjx_metaworld.episodes import EpisodeStats, no_episodes
from mjx_metaworld.training.algorithm import (
    Algorithm,
    TrainingEnv,
    check_not_negative,
    check_positive,
    check_shares,
    check_widths,
    plain_fields,
)
from mjx_metaworld.training.devices import gather
from mjx_metaworld.training.episodes import early_ends, follow, step_and_end
from mjx_metaworld.training.n_step import n_step, steps_of
from mjx_metaworld.training.networks import ActionCritic, SquashedActor, draw_squashed
from mjx_metaworld.training.normalize import (
    Moments,
    RewardScale,
    batch_moments,
    merge,
    no_moments,
    no_reward_scale,
    observe_rewards,
    standardise,
)
from mjx_metaworld.training.replay import make_replay
from mjx_metaworld.training.soft_actor import (
    Batch,
    Figures,
    Learner,
    SoftActor,
    SoftReport,
    check_equal_shares,
    warmup_iterations,
)
from mjx_metaworld.types import Transition

_NUM_CRITICS = 2  # of which the smaller value counts


@dataclass(frozen=True)
class SACConfig:
    """Hyperparameters of SAC; a rollout is `num_envs * horizon` transitions.

    Raises:
        ValueError: for a field out of range, or a rollout that is not due a whole number of updates.
    """

    num_envs: int = 64  # a multiple of the number of tasks
    horizon: int = 8  # control steps of a rollout
    episode_steps: int = 200  # of a training episode; evaluation runs the reference's 500
    hidden: tuple[int, ...] = (256, 256)  # of the actor, and of each critic
    gamma: float = 0.99
    updates_per_step: float = 0.125  # gradient updates a transition
    batch_per_task: int = 256  # transitions of each task in an update
    replay_size: int = 500_000  # transitions, over all tasks
    warmup_steps: int = 5_000  # transitions of uniform actions, before the first update
    learning_rate: float = 1e-3  # of actor and critics
    temperature_rate: float = 3e-3  # learning rate of the temperatures' logarithms; 0 keeps the temperatures
    initial_temperature: float = 0.003  # in rewards divided by the root mean square of their task's returns
    polyak: float = 0.005  # by what share the target networks follow in an update
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_positive(self, "num_envs", "horizon", "episode_steps", "updates_per_step", "batch_per_task")
        check_positive(self, "replay_size", "learning_rate", "initial_temperature", "max_grad_norm")
        check_shares(self, "gamma", "polyak")
        check_not_negative(self, "warmup_steps", "temperature_rate")
        check_widths(self, "hidden")
        due = self.updates_per_step * self.num_envs * self.horizon
        if self.updates < 1 or abs(due - self.updates) > 1e-6 * due:
            raise ValueError(
                "updates_per_step must make a whole number of updates of the "
                f"{self.num_envs * self.horizon} transitions of a rollout, got {self.updates_per_step}"
            )

    @property
    def updates(self) -> int:
        """Updates an iteration."""
        return round(self.updates_per_step * self.num_envs * self.horizon)


class SACState(struct.PyTreeNode):
    """Everything that learning goes on from."""

    key: Key[Array, ""]
    iteration: Int[Array, ""]
    env_state: Any
    replay: Any
    learner: Learner
    obs_moments: Moments
    reward_scale: RewardScale
    episodes: EpisodeStats


def value_target(
    reward: Float[Array, " n"],
    discount: Float[Array, " n"],
    next_values: Float[Array, "critics n"],
    next_log_prob: Float[Array, " n"],
    temperature: Float[Array, " n"],
) -> Float[Array, " n"]:
    """Target value of an action: its reward, and its successor's smaller soft value unless the episode terminated.

    Args:
        reward: of the step.
        discount: of the successor, zero where nothing follows; a truncated episode does not count as such.
        next_values: of an action drawn at the true successor, by the target networks.
        next_log_prob: log density of that action.
        temperature: reward a nat of entropy.
    """
    soft = next_values.min(0) - temperature * next_log_prob
    return reward + discount * soft


def make_sac(config: SACConfig, env: TrainingEnv) -> Algorithm:
    """SAC in these environments.

    Raises:
        ValueError: if configuration and environments disagree about the number of lanes, if the tasks' shares of the
            lanes differ, or if the replay buffer is too small.
    """
    check_equal_shares(env, config.num_envs)
    sac = _SAC(config, env)
    return Algorithm(
        steps_per_iteration=config.num_envs * config.horizon,
        init=sac.init,
        iterate=sac.iterate,
        policy=sac.policy,
        sharding=env.sharding,
    )


class _SAC(SoftActor):
    def __init__(self, config: SACConfig, env: TrainingEnv) -> None:
        self.config, self.env = config, env
        self.actor = SquashedActor(config.hidden, env.action_size, env.num_tasks)
        self.critic = ActionCritic(config.hidden, env.num_tasks)
        clip = optax.clip_by_global_norm(config.max_grad_norm)
        self.optimizer = optax.chain(clip, optax.adam(config.learning_rate))
        self.temperature_optimizer = optax.adam(config.temperature_rate)
        self.target_entropy = -float(env.action_size)
        self.replay = make_replay(
            config.replay_size,
            config.batch_per_task,
            num_tasks=env.num_tasks,
            plain_size=self.env.plain_size,
            action_size=env.action_size,
            rows_per_add=config.num_envs * config.horizon,
        )

    def init(self, key: Array) -> SACState:
        key, env_key, actor_key, critic_key = jax.random.split(key, 4)
        env_state = self.env.reset(env_key)
        obs, task = env_state.obs, env_state.task
        actor = self.actor.init(actor_key, obs, task)
        action = jnp.zeros((self.env.num_envs, self.env.action_size))
        critic_keys = jax.random.split(critic_key, _NUM_CRITICS)
        # One after the other: two batched factorizations, of which orthogonal weights are made, can deadlock jaxlib's
        # CPU thread pool.
        each = [self.critic.init(critic_key, obs, action, task) for critic_key in critic_keys]
        critics = jax.tree.map(lambda *x: jnp.stack(x), *each)
        log_temperature = jnp.full(self.env.num_tasks, math.log(self.config.initial_temperature), float)
        return SACState(
            key=key,
            iteration=jnp.zeros((), jnp.int32),
            env_state=env_state,
            replay=self.replay.init(),
            learner=Learner(
                actor=actor,
                critics=critics,
                targets=jax.tree.map(jnp.copy, critics),  # donated buffers must not be shared
                log_temperature=log_temperature,
                actor_optimizer=self.optimizer.init(actor),
                critic_optimizer=self.optimizer.init(critics),
                temperature_optimizer=self.temperature_optimizer.init(log_temperature),
            ),
            obs_moments=merge(no_moments((self.env.plain_size,)), batch_moments(obs[:, : self.env.plain_size])),
            reward_scale=no_reward_scale(self.env.num_envs, self.env.num_tasks),
            episodes=no_episodes(self.env.num_envs),
        )

    def divisor(self, state: SACState) -> Float[Array, " tasks"]:
        return state.reward_scale.divisor()

    def _expected(self, params: Any, obs: Array, action: Array, task: Array) -> Float[Array, "critics n"]:
        return jax.vmap(lambda one: cast(Array, self.critic.apply(one, obs, action, task)))(params)

    def iterate(self, state: SACState) -> tuple[SACState, SoftReport]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        config = self.config
        exploring = state.iteration < warmup_iterations(config.warmup_steps, config.num_envs * config.horizon)
        env_state, transitions = self._collect(state, rollout_key, exploring)
        done = transitions.terminated | transitions.truncated
        episodes, episode_report = follow(state.episodes, transitions, self.env.num_tasks)
        windows = n_step(steps_of(transitions, self.env.plain_size), 1, self.config.gamma)
        state = state.replace(
            key=key,
            iteration=state.iteration + 1,
            env_state=env_state,
            replay=self.replay.add(state.replay, gather(windows, self.env.sharding)),
            obs_moments=merge(state.obs_moments, batch_moments(transitions.obs[..., : self.env.plain_size])),
            reward_scale=observe_rewards(
                state.reward_scale, transitions.reward, done, transitions.task, self.config.gamma
            ),
            episodes=episodes,
        )
        learner, figures = jax.lax.cond(exploring, self._wait, self._learn, state, update_key)
        return state.replace(learner=learner), SoftReport(episodes=episode_report, **figures._asdict())

    def _collect(self, state: SACState, key: Array, exploring: Array) -> tuple[Any, Transition]:
        def step(env_state: Any, now: tuple[Array, Array]) -> tuple[Any, Transition]:
            step_key, ends = now
            obs = standardise(state.obs_moments, env_state.obs)
            drawn, _ = draw_squashed(step_key, *self._distribution(state.learner.actor, obs, env_state.task))
            uniform = jax.random.uniform(step_key, drawn.shape, minval=-1.0, maxval=1.0)
            return step_and_end(self.env, env_state, jnp.where(exploring, uniform, drawn), lambda _: ends)

        keys = jax.random.split(key, self.config.horizon)
        ends = early_ends(self.env, self.config.horizon, state.iteration)
        return cast(tuple[Any, Transition], jax.lax.scan(step, state.env_state, (keys, ends)))

    def _learn(self, state: SACState, key: Array) -> tuple[Learner, Figures]:
        def update(learner: Learner, update_key: Array) -> tuple[Learner, Figures]:
            sample_key, next_key, actor_key = jax.random.split(update_key, 3)
            batch = self._sample(state, sample_key)
            learner, critic_loss, value = self._update_critics(learner, batch, next_key)
            learner, actor_loss, entropy = self._update_actor(learner, batch, actor_key)
            temperature = jnp.exp(learner.log_temperature)
            return learner, Figures(critic_loss, actor_loss, value, entropy, temperature)

        learner, figures = jax.lax.scan(update, state.learner, jax.random.split(key, self.config.updates))
        return learner, jax.tree.map(lambda x: x.mean(0), figures)

    def _update_critics(self, learner: Learner, batch: Batch, key: Array) -> tuple[Learner, Array, Array]:
        policy = self._distribution(learner.actor, batch.next_obs, batch.task, in_blocks=True)
        next_action, log_prob = draw_squashed(key, *policy)
        target = value_target(
            batch.reward,
            batch.discount,
            self._expected(learner.targets, batch.next_obs, next_action, batch.task),
            log_prob,
            jnp.exp(learner.log_temperature)[batch.task],
        )

        def loss(params: Any) -> tuple[Array, Array]:
            values = self._expected(params, batch.obs, batch.action, batch.task)
            return 0.5 * ((values - target) ** 2).mean(-1).sum(), values.mean()

        (critic_loss, value), grads = jax.value_and_grad(loss, has_aux=True)(learner.critics)
        steps, optimizer = self.optimizer.update(grads, learner.critic_optimizer)
        critics = optax.apply_updates(learner.critics, steps)
        learner = learner.replace(
            critics=critics,
            critic_optimizer=optimizer,
            targets=optax.incremental_update(critics, learner.targets, self.config.polyak),
        )
        return learner, critic_loss, value
