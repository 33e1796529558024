"""RL² (Duan et al., 2016): a recurrent policy that learns how to learn a goal within a trial, trained by PPO.

A lane keeps its hidden goal for the episodes of a trial, and the policy its memory. With `across_episodes` what follows
an episode is the next one of its trial, so that exploring pays where later episodes profit. The critic is needed in
training alone and sees what is hidden: the goal, the task, and how far the trial has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.episodes import EpisodeStats, no_episodes
from mjx_metaworld.training.algorithm import (
    Algorithm,
    EpisodeReport,
    TrainingEnv,
    check_not_negative,
    check_positive,
    check_shares,
    check_widths,
    plain_fields,
)
from mjx_metaworld.training.devices import gather
from mjx_metaworld.training.episodes import follow
from mjx_metaworld.training.networks import Critic
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
    advantages,
    clipped_losses,
    explained_variance,
    learn,
    make_optimizer,
    standardise_by_task,
)
from mjx_metaworld.training.recurrent import Output, Past, RecurrentActor, RecurrentPolicy
from mjx_metaworld.training.trial_rollout import Carried, Rollout, TrialLanes
from mjx_metaworld.types import Policy


@dataclass(frozen=True)
class RL2Config:
    """Hyperparameters of RL²; a batch is `num_envs * horizon` transitions.

    Raises:
        ValueError: for a field out of range, or a batch that does not divide into sequences and these into minibatches.
    """

    num_envs: int = 128
    horizon: int = 100  # control steps of a rollout, which a trial outlasts
    sequence: int = 50  # control steps through which gradients reach back; they divide a rollout
    episode_steps: int = 200  # of a training episode; evaluation runs the reference's 500
    trial_episodes: int = 2  # with one goal
    across_episodes: bool = True  # whether actions are for the rest of the trial; else as if their episode never ended
    hidden: tuple[int, ...] = (128, 128)  # of the actor, and of the critic
    memory_hidden: tuple[int, ...] = (64,)  # before the memory
    memory: int = 64  # numbers that are remembered
    gamma: float = 0.99
    gae_lambda: float = 0.95
    epochs: int = 4  # passes over a batch
    minibatches: int = 4  # of sequences
    learning_rate: float = 1e-3  # at the start
    target_kl: float = 0.01  # the learning rate follows this KL divergence an update
    clip: float = 0.2  # of the probability ratio
    entropy_weight: float = 0.0
    value_weight: float = 0.5
    belief_weight: float = 0.1  # of the error with which the memory tells the hidden goal; 0 leaves it to the rewards
    max_grad_norm: float = 1.0
    initial_std: float = 1.0  # of the actions

    def __post_init__(self) -> None:
        plain_fields(self)
        check_positive(self, "num_envs", "horizon", "sequence", "episode_steps", "trial_episodes", "memory", "epochs")
        check_positive(self, "minibatches", "learning_rate", "target_kl", "clip", "max_grad_norm", "initial_std")
        check_shares(self, "gamma", "gae_lambda")
        check_not_negative(self, "belief_weight")
        check_widths(self, "hidden", "memory_hidden")
        if self.horizon % self.sequence:
            raise ValueError(f"sequence must divide the horizon of {self.horizon}, got {self.sequence}")
        sequences = self.num_envs * self.horizon // self.sequence
        if sequences % self.minibatches:
            raise ValueError(f"minibatches must divide the batch of {sequences} sequences, got {self.minibatches}")


class RL2State(struct.PyTreeNode):
    """Everything that learning goes on from."""

    key: Key[Array, ""]
    iteration: Int[Array, ""]
    env_state: Any
    carried: Carried
    learner: Learner  # of the actor's and the critic's parameters
    obs_moments: Moments
    reward_scale: RewardScale
    episodes: EpisodeStats


class RL2Report(struct.PyTreeNode):
    """Figures of an iteration: episodes by task, the rest as means over the updates."""

    episodes: EpisodeReport
    last_episodes: EpisodeReport  # those alone that ended a trial
    policy_loss: Float[Array, ""]
    value_loss: Float[Array, ""]
    belief_loss: Float[Array, ""]  # mean square, in variances of the goals; 1 without any knowledge
    explained_variance: Float[Array, ""]  # of the returns by the value, before the updates
    entropy: Float[Array, ""]
    kl: Float[Array, ""]
    learning_rate: Float[Array, ""]  # at the end


class _Batch(NamedTuple):
    """Data of the updates, a sequence a row."""

    seen: Float[Array, "n time input"]
    memory: Float[Array, "n size"]  # before the first step
    fresh: Bool[Array, "n time"]  # whether a trial begins with the step
    judged: Float[Array, "n time whole"]
    task: Int[Array, "n time"]
    chosen: Choice
    value_target: Float[Array, "n time"]
    goal: Float[Array, "n time goal"]  # in standard deviations


class _Losses(NamedTuple):
    policy: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, ""]
    kl: Float[Array, ""]
    belief: Float[Array, ""]


def make_rl2(config: RL2Config, env: TrainingEnv) -> Algorithm:
    """RL² in these environments.

    Raises:
        ValueError: if configuration and environments disagree about the number of lanes or the episodes of a trial, or
            if the observation tells the task.
    """
    env.check_lanes(config.num_envs)
    if env.trial_episodes != config.trial_episodes:
        have = "no trials" if env.trial_episodes is None else f"trials of {env.trial_episodes} episodes"
        raise ValueError(f"the configuration says trials of {config.trial_episodes} episodes, these have {have}")
    if env.one_hot:
        raise ValueError("in trials the task is to be found out: make(..., one_hot=False)")
    rl2 = _RL2(config, env)
    return Algorithm(
        steps_per_iteration=config.num_envs * config.horizon,
        init=rl2.init,
        iterate=rl2.iterate,
        policy=rl2.policy,
        sharding=env.sharding,
        recurrent=rl2.recurrent,
    )


class _RL2:
    def __init__(self, config: RL2Config, env: TrainingEnv) -> None:
        self.config, self.env = config, env
        self.goal_size = env.goal.stop - env.goal.start
        self.lanes = TrialLanes(env, self._actor(), across_episodes=config.across_episodes)
        self.critic = Critic(config.hidden, env.num_tasks)
        self.optimizer = make_optimizer(config.max_grad_norm)

    def _actor(self) -> RecurrentActor:
        config, env = self.config, self.env
        return RecurrentActor(
            hidden=config.hidden,
            memory_hidden=config.memory_hidden,
            memory_size=config.memory,
            span=float(env.trial_steps),
            action_size=env.action_size,
            goal_size=env.goal.stop - env.goal.start,
            initial_std=config.initial_std,
        )

    def init(self, key: Array) -> RL2State:
        key, env_key, actor_key, critic_key = jax.random.split(key, 4)
        env_state = self.env.reset(env_key)
        num_envs, obs = self.env.num_envs, env_state.obs
        moments = merge(no_moments((self.env.observation_size,)), batch_moments(obs))
        carried = self.lanes.nothing_carried(num_envs)
        actor = self.lanes.init_actor(actor_key, moments, obs)
        judged = self.lanes.judged(moments, obs, carried.step, env_state.episode, carried.memory)
        critic = self.critic.init(critic_key, judged, env_state.task)
        return RL2State(
            key=key,
            iteration=jnp.zeros((), jnp.int32),
            env_state=env_state,
            carried=carried,
            learner=Learner(
                (actor, critic), self.optimizer.init((actor, critic)), jnp.asarray(self.config.learning_rate)
            ),
            obs_moments=moments,
            reward_scale=no_reward_scale(num_envs, self.env.num_tasks),
            episodes=no_episodes(num_envs),
        )

    def policy(self, state: RL2State) -> Policy:
        def act(obs: Array, task: Array) -> Array:
            raise ValueError("this policy acts on what it remembers of a trial: take `recurrent` instead of `policy`")

        return act

    def recurrent(self, state: RL2State) -> RecurrentPolicy:
        def act(memory: Array, obs: Array, past: Past, key: Array | None) -> tuple[Array, Array]:
            out = self.lanes.act(state.learner.params[0], self.lanes.seen(state.obs_moments, obs, past), memory)
            noise = 0.0 if key is None else jnp.exp(out.log_std) * jax.random.normal(key, out.mean.shape)
            return jnp.clip(out.mean + noise, -1.0, 1.0), out.memory

        return RecurrentPolicy(self.lanes.no_memory, act)

    def _value(self, params: Any, judged: Array, task: Array) -> Array:
        return cast(Array, self.critic.apply(params, judged, task))

    def iterate(self, state: RL2State) -> tuple[RL2State, RL2Report]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        keys = jax.random.split(rollout_key, self.config.horizon)
        start = state.env_state, state.carried
        (env_state, carried), rollout = self.lanes.collect(state.learner.params[0], state.obs_moments, start, keys)
        env_state, carried, rollout = self.lanes.spread_trials(state.iteration, env_state, carried, rollout)
        transitions, num_tasks = rollout.transition, self.env.num_tasks
        done = transitions.terminated | transitions.truncated
        episodes, report = follow(state.episodes, transitions, num_tasks)
        _, last_report = follow(state.episodes, transitions, num_tasks, rollout.over)
        reward_scale = observe_rewards(
            state.reward_scale, transitions.reward, done, transitions.task, self.config.gamma
        )
        batch, explained = self._prepare(state, rollout, reward_scale)
        learner, losses = learn(
            state.learner,
            batch,
            update_key,
            loss=self._loss,
            optimizer=self.optimizer,
            settings=self.config,
            lanes=self.env.sharding,
        )
        state = state.replace(
            key=key,
            iteration=state.iteration + 1,
            env_state=env_state,
            carried=carried,
            learner=learner,
            # The batch was standardised as it was when acting; what it taught counts from the next rollout on.
            obs_moments=merge(state.obs_moments, batch_moments(transitions.obs)),
            reward_scale=reward_scale,
            episodes=episodes,
        )
        return state, RL2Report(
            episodes=report,
            last_episodes=last_report,
            policy_loss=losses.policy,
            value_loss=losses.value,
            belief_loss=losses.belief,
            explained_variance=explained,
            entropy=losses.entropy,
            kl=losses.kl,
            learning_rate=learner.learning_rate,
        )

    def _prepare(self, state: RL2State, rollout: Rollout, reward_scale: RewardScale) -> tuple[_Batch, Float[Array, ""]]:
        """The rollout as sequences, and how much of the returns the value explained."""
        config, transitions, critic = self.config, rollout.transition, state.learner.params[1]
        task = transitions.task
        value = self._value(critic, rollout.judged, task)
        advantage = advantages(
            transitions.reward / reward_scale.divisor()[task],
            rollout.terminated,
            rollout.truncated,
            value,
            self._value(critic, rollout.judged_next, task),
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
        )
        standardised = standardise_by_task(advantage, task, self.env.num_tasks)
        batch = _Batch(
            seen=rollout.seen,
            memory=rollout.memory,
            fresh=jnp.concatenate([jnp.zeros_like(rollout.over[:1]), rollout.over[:-1]]),
            judged=rollout.judged,
            task=task,
            chosen=Choice(transitions.action, rollout.mean, rollout.log_std, standardised),
            value_target=value + advantage,
            goal=standardise(state.obs_moments, transitions.obs)[..., self.env.goal],
        )
        # The updates draw from all lanes.
        batch = jax.tree.map(self._as_sequences, gather(batch, self.env.sharding))
        return batch._replace(memory=batch.memory[:, 0]), explained_variance(advantage, value)

    def _as_sequences(self, x: Array) -> Array:
        """Rows (n, sequence, ...) of an array (time, envs, ...)."""
        x = x.reshape(-1, self.config.sequence, *x.shape[1:])
        return jnp.moveaxis(x, 2, 1).reshape(-1, self.config.sequence, *x.shape[3:])

    def _loss(self, params: tuple[Any, Any], batch: _Batch) -> tuple[Float[Array, ""], _Losses]:
        config = self.config
        seen, fresh = jnp.swapaxes(batch.seen, 0, 1), jnp.swapaxes(batch.fresh, 0, 1)
        out = cast(Output, self.lanes.actor.apply(params[0], seen, batch.memory, fresh))
        mean, log_std, belief = (jnp.swapaxes(x, 0, 1) for x in (out.mean, out.log_std, out.belief))
        error = self._value(params[1], batch.judged, batch.task) - batch.value_target
        losses = clipped_losses(batch.chosen, (mean, log_std), error, config.clip)
        belief_loss = jnp.mean((belief - batch.goal) ** 2) if out.belief.size else jnp.zeros(())
        total = losses.policy + config.value_weight * losses.value - config.entropy_weight * losses.entropy
        return total + config.belief_weight * belief_loss, _Losses(*losses, belief=belief_loss)
