"""Proximal policy optimisation (Schulman et al., 2017): a rollout of all lanes and its updates in one program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.episodes import EpisodeStats, no_episodes
from mjx_metaworld.training import networks
from mjx_metaworld.training.algorithm import (
    Algorithm,
    EpisodeReport,
    TrainingEnv,
    check_positive,
    check_shares,
)
from mjx_metaworld.training.devices import divide, gather
from mjx_metaworld.training.episodes import follow, spread_starts
from mjx_metaworld.training.normalize import (
    Moments,
    RewardScale,
    batch_moments,
    merge,
    no_moments,
    no_reward_scale,
    observe_rewards,
    standardise,
    task_moments,
)
from mjx_metaworld.types import Policy, Transition

_RATE_STEP = 1.5  # by how much the learning rate moves at once, and within which limits
_MIN_RATE, _MAX_RATE = 1e-5, 1e-2


@dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO; a batch is `num_envs * horizon` transitions.

    Raises:
        ValueError: for a field out of range, or a batch that does not divide into the minibatches.
    """

    num_envs: int = 128
    horizon: int = 50  # control steps of a rollout
    episode_steps: int = 200  # of a training episode; evaluation runs the reference's 500
    hidden: tuple[int, ...] = (128, 128)  # of the actor, and of the critic
    gamma: float = 0.99
    gae_lambda: float = 0.95
    epochs: int = 5  # passes over a batch
    minibatches: int = 8
    learning_rate: float = 1e-3  # at the start
    target_kl: float = 0.01  # the learning rate follows this KL divergence an update
    clip: float = 0.2  # of the probability ratio
    entropy_weight: float = 0.0
    value_weight: float = 0.5
    max_grad_norm: float = 1.0
    initial_std: float = 1.0  # of the actions

    def __post_init__(self) -> None:
        check_positive(self, "num_envs", "horizon", "episode_steps", "epochs", "minibatches", "learning_rate")
        check_positive(self, "target_kl", "clip", "max_grad_norm", "initial_std")
        check_shares(self, "gamma", "gae_lambda")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be positive widths, got {self.hidden}")
        if self.num_envs * self.horizon % self.minibatches:
            batch = self.num_envs * self.horizon
            raise ValueError(f"minibatches must divide the batch of {batch} transitions, got {self.minibatches}")


class PPOState(struct.PyTreeNode):
    """Everything that learning goes on from."""

    key: Key[Array, ""]
    iteration: Int[Array, ""]
    env_state: Any
    actor: Any  # parameters
    critic: Any  # parameters
    optimizer: optax.OptState
    learning_rate: Float[Array, ""]
    obs_moments: Moments
    reward_scale: RewardScale
    episodes: EpisodeStats


class PPOReport(struct.PyTreeNode):
    """Figures of an iteration: episodes by task, the rest as means over the updates."""

    episodes: EpisodeReport
    policy_loss: Float[Array, ""]
    value_loss: Float[Array, ""]
    explained_variance: Float[Array, ""]  # of the returns by the value, before the updates
    entropy: Float[Array, ""]
    kl: Float[Array, ""]
    learning_rate: Float[Array, ""]  # at the end


class _Batch(NamedTuple):
    """Data of the updates, row by row."""

    obs: Float[Array, "n obs"]  # standardised
    task: Int[Array, " n"]
    action: Float[Array, "n action"]
    mean: Float[Array, "n action"]  # of the policy that acted
    log_std: Float[Array, "n action"]
    advantage: Float[Array, " n"]
    value_target: Float[Array, " n"]


class _Losses(NamedTuple):
    policy: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, ""]
    kl: Float[Array, ""]


def advantages(
    reward: Float[Array, "time envs"],
    terminated: Bool[Array, "time envs"],
    truncated: Bool[Array, "time envs"],
    value: Float[Array, "time envs"],
    next_value: Float[Array, "time envs"],
    *,
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "time envs"]:
    """Generalised advantage estimates (Schulman et al., 2016).

    Args:
        reward: of each step.
        terminated: whether the step ended the episode for good: nothing follows.
        truncated: whether it was cut off: the successor's value still counts, but no later step's error.
        value: of the observation before the step.
        next_value: of the true successor, also at an episode's end.
        gamma: discount a step.
        gae_lambda: weight of longer estimates; 0 is one-step, 1 the whole return.
    """
    error = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    weight = gamma * gae_lambda * ~(terminated | truncated)

    def step(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        estimate = now[0] + now[1] * later
        return estimate, estimate

    return jax.lax.scan(step, jnp.zeros_like(error[0]), (error, weight), reverse=True)[1]


def make_ppo(config: PPOConfig, env: TrainingEnv) -> Algorithm:
    """PPO in these environments.

    Raises:
        ValueError: if configuration and environments disagree about the number of lanes.
    """
    env.check_lanes(config.num_envs)
    ppo = _PPO(config, env)
    return Algorithm(
        steps_per_iteration=config.num_envs * config.horizon,
        init=ppo.init,
        iterate=ppo.iterate,
        policy=ppo.policy,
        sharding=env.sharding,
    )


class _PPO:
    def __init__(self, config: PPOConfig, env: TrainingEnv) -> None:
        self.config, self.env = config, env
        self.actor = networks.GaussianActor(config.hidden, env.action_size, env.num_tasks, config.initial_std)
        self.critic = networks.Critic(config.hidden, env.num_tasks)
        self.optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=1e-5))

    def init(self, key: Array) -> PPOState:
        key, env_key, actor_key, critic_key = jax.random.split(key, 4)
        env_state = self.env.reset(env_key)
        moments = merge(no_moments((self.env.plain_size,)), batch_moments(env_state.obs[:, : self.env.plain_size]))
        actor = self.actor.init(actor_key, env_state.obs, env_state.task)
        critic = self.critic.init(critic_key, env_state.obs, env_state.task)
        return PPOState(
            key=key,
            iteration=jnp.zeros((), jnp.int32),
            env_state=env_state,
            actor=actor,
            critic=critic,
            optimizer=self.optimizer.init((actor, critic)),
            learning_rate=jnp.asarray(self.config.learning_rate),
            obs_moments=moments,
            reward_scale=no_reward_scale(self.env.num_envs, self.env.num_tasks),
            episodes=no_episodes(self.env.num_envs),
        )

    def policy(self, state: PPOState) -> Policy:
        def act(obs: Array, task: Array) -> Array:
            return self._distribution(state.actor, standardise(state.obs_moments, obs), task)[0]

        return act

    def _distribution(self, params: Any, obs: Array, task: Array) -> tuple[Array, Array]:
        return cast(tuple[Array, Array], self.actor.apply(params, obs, task))

    def _value(self, params: Any, obs: Array, task: Array) -> Array:
        return cast(Array, self.critic.apply(params, obs, task))

    def iterate(self, state: PPOState) -> tuple[PPOState, PPOReport]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        env_state, transitions = self._collect(state, rollout_key)
        done = transitions.terminated | transitions.truncated
        episodes, episode_report = follow(state.episodes, transitions, self.env.num_tasks)
        reward_scale = observe_rewards(
            state.reward_scale, transitions.reward, done, transitions.task, self.config.gamma
        )
        batch, explained = self._prepare(state, transitions, reward_scale)
        state, losses = self._learn(state, batch, update_key)
        state = state.replace(
            key=key,
            iteration=state.iteration + 1,
            env_state=env_state,
            # The batch was standardised as it was when acting; what it taught counts from the next rollout on.
            obs_moments=merge(state.obs_moments, batch_moments(transitions.obs[..., : self.env.plain_size])),
            reward_scale=reward_scale,
            episodes=episodes,
        )
        return state, PPOReport(
            episodes=episode_report,
            policy_loss=losses.policy,
            value_loss=losses.value,
            explained_variance=explained,
            entropy=losses.entropy,
            kl=losses.kl,
            learning_rate=state.learning_rate,
        )

    def _collect(self, state: PPOState, key: Array) -> tuple[Any, Transition]:
        def step(env_state: Any, step_key: Array) -> tuple[Any, Transition]:
            obs = standardise(state.obs_moments, env_state.obs)
            mean, log_std = self._distribution(state.actor, obs, env_state.task)
            action = mean + jnp.exp(log_std) * jax.random.normal(step_key, mean.shape)
            env_state, transition = self.env.step(env_state, jnp.clip(action, -1.0, 1.0))
            return env_state, transition.replace(action=action)  # as drawn: the density is that of the Gaussian

        keys = jax.random.split(key, self.config.horizon)
        env_state, transitions = jax.lax.scan(step, state.env_state, keys)
        return spread_starts(self.env, self.config.horizon, state.iteration, env_state, transitions)

    def _prepare(
        self, state: PPOState, transitions: Transition, reward_scale: RewardScale
    ) -> tuple[_Batch, Float[Array, ""]]:
        """The rollout as rows, and how much of the returns the value explained."""
        config, task = self.config, transitions.task
        obs, next_obs = (standardise(state.obs_moments, x) for x in (transitions.obs, transitions.next_obs))
        value = self._value(state.critic, obs, task)
        advantage = advantages(
            transitions.reward / reward_scale.divisor()[task],
            transitions.terminated,
            transitions.truncated,
            value,
            self._value(state.critic, next_obs, task),
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
        )
        value_target = value + advantage
        explained = 1.0 - jnp.var(advantage) / jnp.maximum(jnp.var(value_target), 1e-8)
        of_task = task_moments(advantage, task, self.env.num_tasks)
        mean, log_std = self._distribution(state.actor, obs, task)
        rows = _Batch(
            obs=obs,
            task=task,
            action=transitions.action,
            mean=mean,
            log_std=log_std,
            advantage=(advantage - of_task.mean[task]) / (jnp.sqrt(of_task.variance[task]) + 1e-8),
            value_target=value_target,
        )
        rows = gather(rows, self.env.sharding)  # the updates draw from all lanes
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows), explained

    def _learn(self, state: PPOState, batch: _Batch, key: Array) -> tuple[PPOState, _Losses]:
        config = self.config
        size = batch.task.shape[0]

        def update(carry: tuple, rows: Array) -> tuple[tuple, _Losses]:
            params, optimizer, rate = carry
            minibatch = divide(jax.tree.map(lambda x: x[rows], batch), self.env.sharding)
            grads, losses = jax.grad(self._loss, has_aux=True)(params, minibatch)
            steps, optimizer = self.optimizer.update(grads, optimizer, params)
            rate = jnp.where(losses.kl > 2 * config.target_kl, rate / _RATE_STEP, rate)
            rate = jnp.where(losses.kl < config.target_kl / 2, rate * _RATE_STEP, rate)
            rate = jnp.clip(rate, _MIN_RATE, _MAX_RATE)
            # Networks stay 32 bits wide where rewards, and with these the rate, are 64.
            params = jax.tree.map(lambda p, s: p - (rate * s).astype(p.dtype), params, steps)
            return (params, optimizer, rate), losses

        def epoch(carry: tuple, epoch_key: Array) -> tuple[tuple, _Losses]:
            rows = jax.random.permutation(epoch_key, size).reshape(config.minibatches, -1)
            return jax.lax.scan(update, carry, rows)

        start = ((state.actor, state.critic), state.optimizer, state.learning_rate)
        ((actor, critic), optimizer, rate), losses = jax.lax.scan(epoch, start, jax.random.split(key, config.epochs))
        state = state.replace(actor=actor, critic=critic, optimizer=optimizer, learning_rate=rate)
        return state, jax.tree.map(jnp.mean, losses)

    def _loss(self, params: tuple[Any, Any], batch: _Batch) -> tuple[Float[Array, ""], _Losses]:
        config = self.config
        mean, log_std = self._distribution(params[0], batch.obs, batch.task)
        old = networks.gaussian_log_prob(batch.action, batch.mean, batch.log_std)
        ratio = jnp.exp(networks.gaussian_log_prob(batch.action, mean, log_std) - old)
        clipped = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
        value = self._value(params[1], batch.obs, batch.task)
        losses = _Losses(
            policy=-jnp.minimum(ratio * batch.advantage, clipped * batch.advantage).mean(),
            value=0.5 * jnp.mean((value - batch.value_target) ** 2),
            entropy=networks.gaussian_entropy(log_std).mean(),
            kl=networks.gaussian_kl((batch.mean, batch.log_std), (mean, log_std)).mean(),
        )
        total = losses.policy + config.value_weight * losses.value - config.entropy_weight * losses.entropy
        return total, losses
