"""Behaviour cloning with corrections: a policy that sees imitates the scripted one that reads the goal.

DAgger (Ross et al., 2011): first the expert moves the environments, then more and more the student; wherever they come,
the expert says what it would do there. Pictures, answers and the updates from them are one program, with a buffer of
the newest pictures on the device. The train state holds the buffer, so that a run goes on from a checkpoint bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import flashbax
import jax
import jax.numpy as jnp
import optax
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
from mjx_metaworld.training.devices import by_device, gather, gradient
from mjx_metaworld.training.episodes import early_ends, follow, step_and_end
from mjx_metaworld.training.normalize import Moments, batch_moments, merge, no_moments, standardise
from mjx_metaworld.training.view import Sight, View, look_at_some
from mjx_metaworld.training.vision import SeeingActor
from mjx_metaworld.types import State, Transition


@dataclass(frozen=True)
class CloneConfig:
    """Hyperparameters of cloning; a rollout is `num_envs * horizon` transitions, each a view.

    Raises:
        ValueError: for a field out of range, or a buffer smaller than a rollout or a batch.
    """

    num_envs: int = 64
    horizon: int = 8  # control steps of a rollout, in which each lane is moved by either the expert or the student
    episode_steps: int = 200  # of a training episode, which ends at its first success, too
    cameras: tuple[str, ...] = ("behindGripper",)  # each with the place to which it is moved, if any: corner2@x,y,z
    picture_size: int = 64  # pixels a side
    see_hand: bool = True  # whether the policy feels the position of its hand and the opening of the gripper
    channels: tuple[int, ...] = (16, 16)  # features of each place of a picture, of each camera; the last are points
    hidden: tuple[int, ...] = (128, 128)
    expert_steps: int = 10_000  # environment steps over which the expert's share of the lanes falls from 1 to 0
    push: float = 0.3  # standard deviation of what is added to a lane's actions, the same through a rollout
    replay_size: int = 16_384  # views
    updates: int = 12  # of an iteration
    batch_size: int = 128  # views of an update
    learning_rate: float = 2e-3
    max_grad_norm: float = 1.0
    averaging: float = 0.99  # weight of the past, an update, in the averaged student that is evaluated

    def __post_init__(self) -> None:
        plain_fields(self)
        check_positive(self, "num_envs", "horizon", "episode_steps", "replay_size", "updates", "batch_size")
        check_positive(self, "learning_rate", "max_grad_norm")
        check_shares(self, "averaging")
        check_not_negative(self, "expert_steps", "push")
        check_widths(self, "channels", "hidden")
        least = max(self.num_envs * self.horizon, self.batch_size)
        if self.replay_size < least:
            raise ValueError(f"replay_size must be at least {least}, a rollout and a batch, got {self.replay_size}")
        self.sight()

    def sight(self) -> Sight:
        """Cameras of the policy, and whether it feels its hand."""
        return Sight(self.cameras, self.picture_size, self.see_hand)


class Lesson(struct.PyTreeNode):
    """Views, and what the expert would do there."""

    view: View
    task: Int[Array, "..."]
    answer: Float[Array, "... action"]


class CloneState(struct.PyTreeNode):
    """Everything that learning goes on from."""

    key: Key[Array, ""]
    iteration: Int[Array, ""]
    env_state: Any
    replay: Any
    student: Any  # parameters
    average: Any  # of the student of late, which is the policy
    optimizer: optax.OptState
    hand_moments: Moments
    episodes: EpisodeStats


class CloneReport(struct.PyTreeNode):
    """Figures of an iteration."""

    episodes: EpisodeReport
    loss: Float[Array, ""]  # mean square of the action's error, over the updates
    expert_share: Float[Array, ""]  # of the lanes


class _Collected(NamedTuple):
    env_state: Any
    transitions: Transition  # (time, envs)
    lessons: Lesson  # (time, envs)


def make_clone(config: CloneConfig, env: TrainingEnv) -> Algorithm:
    """Cloning in these environments.

    Raises:
        ValueError: if configuration and environments disagree about the number of lanes, or if a task has no expert.
        ImportError: without the extra `pixels`.
        RuntimeError: if JAX computes on a device that cannot draw.
    """
    env.check_lanes(config.num_envs)
    clone = _Clone(config, env)
    return Algorithm(
        steps_per_iteration=config.num_envs * config.horizon,
        init=clone.init,
        iterate=clone.iterate,
        policy=clone.policy,
        sharding=env.sharding,
        observe=clone.observe,
    )


class _Clone:
    def __init__(self, config: CloneConfig, env: TrainingEnv) -> None:
        if env.eyes is None or env.expert is None:
            raise ValueError("cloning needs environments that can be drawn and have an expert")
        self.config, self.env = config, env
        self.expert, self.eyes = env.expert(), env.eyes(config.sight())
        self.look = by_device(self.eyes, env.sharding)
        self.actor = SeeingActor(config.channels, config.hidden, env.action_size, env.num_tasks)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate, eps=1e-5)
        )
        self.buffer = flashbax.make_item_buffer(config.replay_size, 1, config.batch_size, add_batches=True)

    def init(self, key: Array) -> CloneState:
        key, env_key, student_key = jax.random.split(key, 3)
        env_state = self.env.reset(env_key)
        shapes = jax.eval_shape(self._lesson, env_state)
        view = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes.view)
        student = self.actor.init(student_key, view.pictures, view.hand, env_state.task)
        blank = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), shapes)
        return CloneState(
            key=key,
            iteration=jnp.zeros((), jnp.int32),
            env_state=env_state,
            replay=self.buffer.init(blank),
            student=student,
            average=jax.tree.map(jnp.copy, student),
            optimizer=self.optimizer.init(student),
            hand_moments=no_moments((view.hand.shape[-1],)),
            episodes=no_episodes(self.env.num_envs),
        )

    def observe(self, state: State, wanted: Bool[Array, " envs"] | None = None) -> View:
        return self.eyes(state) if wanted is None else look_at_some(self.eyes, state, wanted)

    def policy(self, state: CloneState) -> Any:
        def act(view: View, task: Array) -> Array:
            return self._act(state.average, state.hand_moments, view, task)

        return act

    def _act(self, params: Any, moments: Moments, view: View, task: Array) -> Float[Array, "n action"]:
        hand = standardise(moments, jnp.asarray(view.hand))
        return cast(Array, self.actor.apply(params, view.pictures, hand, task))

    def iterate(self, state: CloneState) -> tuple[CloneState, CloneReport]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        share = self._expert_share(state.iteration)
        collected = self._collect(state, rollout_key, share)
        episodes, episode_report = follow(state.episodes, collected.transitions, self.env.num_tasks)
        lessons = gather(collected.lessons, self.env.sharding)  # the updates draw from all lanes
        lessons = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lessons)
        state = state.replace(
            key=key,
            iteration=state.iteration + 1,
            env_state=collected.env_state,
            replay=self.buffer.add(state.replay, lessons),
            hand_moments=merge(state.hand_moments, batch_moments(lessons.view.hand)),
            episodes=episodes,
        )
        state, loss = self._learn(state, update_key)
        return state, CloneReport(episodes=episode_report, loss=loss, expert_share=share)

    def _expert_share(self, iteration: Array) -> Float[Array, ""]:
        done = iteration.astype(float) * (self.config.num_envs * self.config.horizon)  # beyond 32 bits, too
        return jnp.clip(1.0 - done / max(self.config.expert_steps, 1), 0.0, 1.0)

    def _lesson(self, env_state: Any) -> Lesson:
        """Views of the lanes and the expert's answers, clipped as the environment would."""
        answer = jnp.clip(self.expert(env_state.obs, env_state.task), -1.0, 1.0)
        return Lesson(self.look(env_state), env_state.task.astype(jnp.int32), answer.astype(jnp.float32))

    def _collect(self, state: CloneState, key: Array, share: Array) -> _Collected:
        lanes = (self.env.num_envs,)
        who_key, push_key = jax.random.split(key)
        led = jax.random.bernoulli(who_key, share, lanes)
        push = self.config.push * jax.random.normal(push_key, (*lanes, self.env.action_size))

        def step(env_state: Any, ends: Array) -> tuple[Any, tuple[Transition, Lesson]]:
            lesson = self._lesson(env_state)
            own = self._act(state.student, state.hand_moments, lesson.view, lesson.task)
            action = jnp.clip(jnp.where(led[:, None], lesson.answer, own) + push, -1.0, 1.0)
            action = action.astype(env_state.obs.dtype)
            # What follows a success is never evaluated.
            env_state, transition = step_and_end(self.env, env_state, action, lambda t: (t.metrics.success > 0) | ends)
            return env_state, (transition, lesson)

        ends = early_ends(self.env, self.config.horizon, state.iteration)
        env_state, (transitions, lessons) = jax.lax.scan(step, state.env_state, ends)
        return _Collected(env_state, transitions, lessons)

    def _learn(self, state: CloneState, key: Array) -> tuple[CloneState, Float[Array, ""]]:
        def loss(params: Any, batch: Lesson) -> tuple[Float[Array, ""], Float[Array, ""]]:
            error = self._act(params, state.hand_moments, batch.view, batch.task) - batch.answer
            mean = jnp.mean(error**2)
            return mean, mean

        def update(carry: tuple[Any, Any, Any], update_key: Array) -> tuple[tuple[Any, Any, Any], Array]:
            student, average, optimizer = carry
            batch = self.buffer.sample(state.replay, update_key).experience
            grads, value = gradient(loss, student, batch, self.env.sharding)
            steps, optimizer = self.optimizer.update(grads, optimizer)
            student = optax.apply_updates(student, steps)
            average = optax.incremental_update(student, average, 1.0 - self.config.averaging)
            return (student, average, optimizer), value

        start = (state.student, state.average, state.optimizer)
        keys = jax.random.split(key, self.config.updates)
        (student, average, optimizer), losses = jax.lax.scan(update, start, keys)
        return state.replace(student=student, average=average, optimizer=optimizer), losses.mean()
