"""Proximal policy optimisation (Schulman et al., 2017): a rollout of all lanes and its updates in one program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from mjx_metaworld.episodes import EpisodeStats, no_episodes
from mjx_metaworld.training import networks
from mjx_metaworld.training.algorithm import (
    Algorithm,
    EpisodeReport,
    TrainingEnv,
    check_positive,
    check_shares,
    check_widths,
    plain_fields,
)
from mjx_metaworld.training.devices import gather
from mjx_metaworld.training.episodes import early_ends, follow, step_and_end
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
from mjx_metaworld.training.proximal import (
    Choice,
    Learner,
    Losses,
    advantages,
    clipped_losses,
    explained_variance,
    learn,
    make_optimizer,
    standardise_by_task,
)
from mjx_metaworld.types import Policy, Transition


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
        plain_fields(self)
        check_positive(self, "num_envs", "horizon", "episode_steps", "epochs", "minibatches", "learning_rate")
        check_positive(self, "target_kl", "clip", "max_grad_norm", "initial_std")
        check_shares(self, "gamma", "gae_lambda")
        check_widths(self, "hidden")
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
    chosen: Choice
    value_target: Float[Array, " n"]


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
        self.optimizer = make_optimizer(config.max_grad_norm)

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
        def step(env_state: Any, now: tuple[Array, Array]) -> tuple[Any, Transition]:
            step_key, ends = now
            obs = standardise(state.obs_moments, env_state.obs)
            mean, log_std = self._distribution(state.actor, obs, env_state.task)
            action = mean + jnp.exp(log_std) * jax.random.normal(step_key, mean.shape)
            env_state, transition = step_and_end(self.env, env_state, jnp.clip(action, -1.0, 1.0), lambda _: ends)
            return env_state, transition.replace(action=action)  # as drawn: the density is that of the Gaussian

        keys = jax.random.split(key, self.config.horizon)
        ends = early_ends(self.env, self.config.horizon, state.iteration)
        return cast(tuple[Any, Transition], jax.lax.scan(step, state.env_state, (keys, ends)))

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
        mean, log_std = self._distribution(state.actor, obs, task)
        standardised = standardise_by_task(advantage, task, self.env.num_tasks)
        rows = _Batch(obs, task, Choice(transitions.action, mean, log_std, standardised), value + advantage)
        rows = gather(rows, self.env.sharding)  # the updates draw from all lanes
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows), explained_variance(advantage, value)

    def _learn(self, state: PPOState, batch: _Batch, key: Array) -> tuple[PPOState, Losses]:
        learner = Learner((state.actor, state.critic), state.optimizer, state.learning_rate)
        learner, losses = learn(
            learner,
            batch,
            key,
            loss=self._loss,
            optimizer=self.optimizer,
            settings=self.config,
            lanes=self.env.sharding,
        )
        actor, critic = learner.params
        state = state.replace(
            actor=actor, critic=critic, optimizer=learner.optimizer, learning_rate=learner.learning_rate
        )
        return state, losses

    def _loss(self, params: tuple[Any, Any], batch: _Batch) -> tuple[Float[Array, ""], Losses]:
        config = self.config
        policy = self._distribution(params[0], batch.obs, batch.task)
        value = self._value(params[1], batch.obs, batch.task)
        losses = clipped_losses(batch.chosen, policy, value - batch.value_target, config.clip)
        total = losses.policy + config.value_weight * losses.value - config.entropy_weight * losses.entropy
        return total, losses
