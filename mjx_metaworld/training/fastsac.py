"""Soft actor-critic for many lanes and tasks: categorical critics, n-step returns, normalised networks.

It takes after FastTD3 (Seo et al., 2025) and FlashSAC (2026): many lanes fill the buffer quickly, so that few updates
of small networks suffice, and exploration differs by lane. The actor has a head for each task; the critics have none,
and tell tasks by the observation's one-hot vector. An iteration is a short rollout of all lanes into the replay buffer
and the updates due for it, in one program. As with SAC, checkpoints hold the buffer.
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
from mjx_metaworld.training import categorical
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
from mjx_metaworld.training.exploration import Held, lane_noise
from mjx_metaworld.training.n_step import Steps, join, n_step, nothing_pending, steps_of
from mjx_metaworld.training.networks import CategoricalCritic, SquashedActor, draw_squashed, unit_weights
from mjx_metaworld.training.normalize import (
    Moments,
    ReturnPeak,
    batch_moments,
    merge,
    no_moments,
    no_return_peak,
    observe_peak,
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

_NUM_CRITICS = 2  # of which the one with the smaller mean counts
# The outermost atom, beyond which values are clipped. Where rewards were seen over a whole episode, values lie in
# [-1, 1] and the rest is for the entropy's worth; a success that so far came late is worth more, since its divisor
# knows only the rewards that were seen.
_LARGEST_VALUE = 1.25


@dataclass(frozen=True)
class FastSACConfig:
    """Hyperparameters of FastSAC; a rollout is `num_envs * horizon` transitions.

    Raises:
        ValueError: for a field out of range, or an iteration without a whole number of updates of the actor.
    """

    num_envs: int = 256  # a multiple of the number of tasks
    horizon: int = 8  # control steps of a rollout
    episode_steps: int = 200  # of a training episode; evaluation runs the reference's 500
    actor_hidden: tuple[int, ...] = (128, 128)
    critic_hidden: tuple[int, ...] = (256, 256)  # of each critic
    atoms: int = 51  # of the returns' distributions; odd
    gamma: float = 0.98
    n_steps: int = 3  # rewards of a return before the critics' value
    updates: int = 16  # of the critics, an iteration
    critics_per_actor: int = 2  # updates of the critics for one of the actor
    batch_per_task: int = 512  # transitions of each task in an update
    replay_size: int = 1_000_000  # transitions, over all tasks
    warmup_steps: int = 20_000  # transitions of uniform actions, before the first update
    learning_rate: float = 1e-3  # of actor and critics
    temperature_rate: float = 3e-3  # learning rate of the temperatures' logarithms; 0 keeps the temperatures
    initial_temperature: float = 0.003  # in rewards divided by their task's largest return
    target_std: float = 0.15  # of actions, whose entropy the temperatures hold
    polyak: float = 0.02  # by what share the target networks follow in an update
    max_grad_norm: float = 10.0
    weakest_noise: float = 0.2  # of a task's first lane, in the policy's standard deviations
    strongest_noise: float = 1.5  # of its last
    longest_hold: float = 16.0  # steps for which the most patient lane holds its noise in the mean
    wander: float = 0.3  # largest of the lanes' chances that a draw of noise replaces the policy's action

    def __post_init__(self) -> None:
        plain_fields(self)
        check_positive(self, "num_envs", "horizon", "episode_steps", "n_steps", "updates", "critics_per_actor")
        check_positive(self, "batch_per_task", "replay_size", "learning_rate", "initial_temperature", "target_std")
        check_positive(self, "max_grad_norm")
        check_shares(self, "gamma", "polyak", "wander")
        if self.gamma == 1:
            raise ValueError(f"gamma must be less than 1, got {self.gamma}")
        check_not_negative(self, "warmup_steps", "temperature_rate", "weakest_noise")
        check_widths(self, "actor_hidden", "critic_hidden")
        if self.atoms < 3 or self.atoms % 2 == 0:
            raise ValueError(f"atoms must be an odd number of at least 3, got {self.atoms}")
        if self.n_steps > self.horizon + 1:
            raise ValueError(f"n_steps must be at most horizon + 1, {self.horizon + 1}, got {self.n_steps}")
        if self.updates % (each := self.critics_per_actor):
            raise ValueError(f"updates must be a multiple of critics_per_actor, {each}, got {self.updates}")
        if self.strongest_noise < (least := self.weakest_noise):
            raise ValueError(f"strongest_noise must be at least weakest_noise, {least}, got {self.strongest_noise}")
        if self.longest_hold < 1:
            raise ValueError(f"longest_hold must be at least 1, got {self.longest_hold}")


class FastSACState(struct.PyTreeNode):
    """Everything that learning goes on from."""

    key: Key[Array, ""]
    iteration: Int[Array, ""]
    env_state: Any
    held: Held  # the lanes' noise
    pending: Steps  # whose windows are not over
    replay: Any
    learner: Learner
    obs_moments: Moments
    returns: ReturnPeak
    episodes: EpisodeStats


def target_distribution(
    reward: Float[Array, " n"],
    discount: Float[Array, " n"],
    next_logits: Float[Array, "critics n atoms"],
    next_cost: Float[Array, " n"],
    atoms: Float[Array, " atoms"],
) -> Float[Array, "n atoms"]:
    """Target distribution of an action's return, from the critic that expects less of what follows.

    Args:
        reward: of the window of steps.
        discount: of what follows, zero where nothing does; a truncated episode does not count as such.
        next_logits: of an action drawn at the window's true successor, by the target networks.
        next_cost: temperature times log density of that action.
        atoms: of the distributions.
    """
    returns = reward[:, None] + discount[:, None] * (atoms - next_cost[:, None])
    return categorical.project(categorical.smaller(next_logits, atoms), returns, atoms)


def make_fastsac(config: FastSACConfig, env: TrainingEnv) -> Algorithm:
    """FastSAC in these environments.

    Raises:
        ValueError: if configuration and environments disagree about the number of lanes, if the tasks' shares of the
            lanes differ, or if the replay buffer is too small.
    """
    check_equal_shares(env, config.num_envs)
    fast = _FastSAC(config, env)
    return Algorithm(
        steps_per_iteration=config.num_envs * config.horizon,
        init=fast.init,
        iterate=fast.iterate,
        policy=fast.policy,
        sharding=env.sharding,
    )


class _FastSAC(SoftActor):
    def __init__(self, config: FastSACConfig, env: TrainingEnv) -> None:
        self.config, self.env = config, env
        self.actor = SquashedActor(config.actor_hidden, env.action_size, env.num_tasks, normed=True)
        self.critic = CategoricalCritic(config.critic_hidden, config.atoms)
        clip = optax.clip_by_global_norm(config.max_grad_norm)
        self.optimizer = optax.chain(clip, optax.adam(config.learning_rate))
        self.temperature_optimizer = optax.adam(config.temperature_rate)
        self.target_entropy = env.action_size * math.log(config.target_std * math.sqrt(2 * math.pi * math.e))
        self.noise = lane_noise(
            env.num_envs,
            env.num_tasks,
            weakest=config.weakest_noise,
            strongest=config.strongest_noise,
            longest=config.longest_hold,
            wander=config.wander,
        )
        self.replay = make_replay(
            config.replay_size,
            config.batch_per_task,
            num_tasks=env.num_tasks,
            plain_size=env.plain_size,
            action_size=env.action_size,
            rows_per_add=config.num_envs * config.horizon,
        )

    @property
    def atoms(self) -> Float[Array, " atoms"]:
        return categorical.make_atoms(self.config.atoms, _LARGEST_VALUE)

    def init(self, key: Array) -> FastSACState:
        config, env = self.config, self.env
        key, env_key, actor_key, critic_key = jax.random.split(key, 4)
        env_state = env.reset(env_key)
        obs, task = env_state.obs, env_state.task
        still = jnp.zeros((env.num_envs, env.action_size))
        actor = unit_weights(self.actor.init(actor_key, obs, task))
        critics = jax.vmap(lambda k: self.critic.init(k, obs, still))(jax.random.split(critic_key, _NUM_CRITICS))
        critics = unit_weights(critics)
        log_temperature = jnp.full(env.num_tasks, math.log(config.initial_temperature), float)
        return FastSACState(
            key=key,
            iteration=jnp.zeros((), jnp.int32),
            env_state=env_state,
            held=self.noise.start(env.action_size),
            pending=nothing_pending(config.n_steps, env.num_envs, env.plain_size, env.action_size),
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
            obs_moments=merge(no_moments((env.plain_size,)), batch_moments(obs[:, : env.plain_size])),
            returns=no_return_peak(env.num_envs, env.num_tasks),
            episodes=no_episodes(env.num_envs),
        )

    def divisor(self, state: FastSACState) -> Float[Array, " tasks"]:
        """Divisor of each task's rewards: its largest return so far, as if they had filled the episode and went on."""
        return state.returns.divisor() / (1.0 - self.config.gamma**self.env.episode_steps)

    def _logits(self, params: Any, obs: Array, action: Array) -> Float[Array, "critics n atoms"]:
        return jax.vmap(lambda one: cast(Array, self.critic.apply(one, obs, action)))(params)

    def _expected(self, params: Any, obs: Array, action: Array, task: Array) -> Float[Array, "critics n"]:
        return categorical.mean(self._logits(params, obs, action), self.atoms)

    def _projected(self, params: Any) -> Any:
        return unit_weights(params)

    def iterate(self, state: FastSACState) -> tuple[FastSACState, SoftReport]:
        config, env = self.config, self.env
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        exploring = state.iteration < warmup_iterations(config.warmup_steps, config.num_envs * config.horizon)
        env_state, held, transitions = self._collect(state, rollout_key, exploring)
        done = transitions.terminated | transitions.truncated
        episodes, episode_report = follow(state.episodes, transitions, env.num_tasks)
        rollout = gather(steps_of(transitions, env.plain_size), env.sharding)
        due, pending = join(state.pending, rollout, state.iteration == 0)
        state = state.replace(
            key=key,
            iteration=state.iteration + 1,
            env_state=env_state,
            held=held,
            pending=pending,
            replay=self.replay.add(state.replay, n_step(due, config.n_steps, config.gamma)),
            obs_moments=merge(state.obs_moments, batch_moments(rollout.obs)),
            returns=observe_peak(state.returns, transitions.reward, done, transitions.task, config.gamma),
            episodes=episodes,
        )
        learner, figures = jax.lax.cond(exploring, self._wait, self._learn, state, update_key)
        return state.replace(learner=learner), SoftReport(episodes=episode_report, **figures._asdict())

    def _collect(self, state: FastSACState, key: Array, exploring: Array) -> tuple[Any, Held, Transition]:
        def step(carry: tuple[Any, Held], now: tuple[Array, Array]) -> tuple[tuple[Any, Held], Transition]:
            (env_state, held), (step_key, ends) = carry, now
            held = self.noise.draw(held, step_key)
            obs = standardise(state.obs_moments, env_state.obs)
            policy = self._distribution(state.learner.actor, obs, env_state.task)
            action = self.noise.act(held, *policy, blind=exploring)
            env_state, transition = step_and_end(self.env, env_state, action, lambda _: ends)
            return (env_state, held), transition

        keys = jax.random.split(key, self.config.horizon)
        ends = early_ends(self.env, self.config.horizon, state.iteration)
        (env_state, held), transitions = jax.lax.scan(step, (state.env_state, state.held), (keys, ends))
        return env_state, held, transitions

    def _learn(self, state: FastSACState, key: Array) -> tuple[Learner, Figures]:
        def update_critics(learner: Learner, update_key: Array) -> tuple[Learner, tuple[Array, Array]]:
            sample_key, next_key = jax.random.split(update_key)
            learner, loss, value = self._update_critics(learner, self._sample(state, sample_key), next_key)
            return learner, (loss, value)

        def update(learner: Learner, update_key: Array) -> tuple[Learner, Figures]:
            critic_key, sample_key, actor_key = jax.random.split(update_key, 3)
            critic_keys = jax.random.split(critic_key, self.config.critics_per_actor)
            learner, (critic_loss, value) = jax.lax.scan(update_critics, learner, critic_keys)
            learner, actor_loss, entropy = self._update_actor(learner, self._sample(state, sample_key), actor_key)
            temperature = jnp.exp(learner.log_temperature)
            return learner, Figures(critic_loss.mean(), actor_loss, value.mean(), entropy, temperature)

        keys = jax.random.split(key, self.config.updates // self.config.critics_per_actor)
        learner, figures = jax.lax.scan(update, state.learner, keys)
        return learner, jax.tree.map(lambda x: x.mean(0), figures)

    def _update_critics(self, learner: Learner, batch: Batch, key: Array) -> tuple[Learner, Array, Array]:
        policy = self._distribution(learner.actor, batch.next_obs, batch.task, in_blocks=True)
        next_action, log_prob = draw_squashed(key, *policy)
        target = target_distribution(
            batch.reward,
            batch.discount,
            self._logits(learner.targets, batch.next_obs, next_action),
            jnp.exp(learner.log_temperature)[batch.task] * log_prob,
            self.atoms,
        )

        def loss(params: Any) -> tuple[Array, Array]:
            logits = self._logits(params, batch.obs, batch.action)
            return categorical.cross_entropy(target, logits).mean(-1).sum(), categorical.mean(logits, self.atoms).mean()

        (critic_loss, value), grads = jax.value_and_grad(loss, has_aux=True)(learner.critics)
        steps, optimizer = self.optimizer.update(grads, learner.critic_optimizer)
        critics = unit_weights(optax.apply_updates(learner.critics, steps))
        learner = learner.replace(
            critics=critics,
            critic_optimizer=optimizer,
            targets=unit_weights(optax.incremental_update(critics, learner.targets, self.config.polyak)),
        )
        return learner, critic_loss, value
