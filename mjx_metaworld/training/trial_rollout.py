"""Rollouts in trials: what the lanes of a recurrent policy carry from step to step, see, and leave to learn from."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from mjx_metaworld.training.algorithm import TrainingEnv
from mjx_metaworld.training.episodes import early_end
from mjx_metaworld.training.normalize import Moments, standardise
from mjx_metaworld.training.recurrent import Output, Past, RecurrentActor, no_past, past_after
from mjx_metaworld.types import Transition
from mjx_metaworld.vector import select_envs


class Carried(struct.PyTreeNode):
    """Contents of the lanes beside their environments, carried from step to step."""

    memory: Float[Array, "envs size"]  # zero where a trial begins
    past: Past
    step: Int[Array, " envs"]  # of the episode


class Rollout(NamedTuple):
    """Steps of all lanes."""

    transition: Transition  # its action as drawn, its flags those of episodes
    over: Bool[Array, "time envs"]  # whether the trial ended
    terminated: Bool[Array, "time envs"]  # whether nothing follows that counts for what was done
    truncated: Bool[Array, "time envs"]  # whether something does, but is not seen
    seen: Float[Array, "time envs input"]  # by the actor
    mean: Float[Array, "time envs action"]
    log_std: Float[Array, "time envs action"]
    memory: Float[Array, "time envs size"]  # before the step
    judged: Float[Array, "time envs whole"]  # by the critic, before the step
    judged_next: Float[Array, "time envs whole"]  # and of what follows


class TrialLanes:
    """Environments with trials, and the actor that moves them.

    Args:
        env: the environments.
        actor: whose parameters the functions take.
        across_episodes: whether what follows an episode is the next one of its trial, and nothing the trial, instead of
            more of the same episode.
    """

    def __init__(self, env: TrainingEnv, actor: RecurrentActor, *, across_episodes: bool) -> None:
        self.env, self.actor, self.across_episodes = env, actor, across_episodes

    def no_memory(self, num_envs: int) -> Float[Array, "envs size"]:
        """The memory before a trial."""
        return jnp.zeros((num_envs, self.actor.memory_size), jnp.float32)

    def nothing_carried(self, num_envs: int) -> Carried:
        """Contents of lanes before a trial."""
        past = no_past(num_envs, self.env.action_size)
        return Carried(self.no_memory(num_envs), past, jnp.zeros(num_envs, jnp.int32))

    def init_actor(self, key: Key[Array, ""], moments: Moments, obs: Float[Array, "n obs"]) -> Any:
        """First parameters of the actor."""
        nothing = self.nothing_carried(len(obs))
        seen = self.seen(moments, obs, nothing.past)
        return self.actor.init(key, seen[None], nothing.memory, nothing.past.done[None])

    def seen(self, moments: Moments, obs: Float[Array, "n obs"], past: Past) -> Float[Array, "n input"]:
        """Inputs of the actor: the observation without the goal, and the step before."""
        obs = standardise(moments, obs).at[..., self.env.goal].set(0.0)
        seen = jnp.concatenate([obs, past.action, past.reward[..., None], past.done[..., None]], -1)
        return seen.astype(jnp.float32)  # also where environments are 64 bits wide

    def judged(
        self,
        moments: Moments,
        obs: Float[Array, "n obs"],
        step: Int[Array, " n"],
        episode: Int[Array, " n"],
        memory: Float[Array, "n size"],
    ) -> Float[Array, "n whole"]:
        """Inputs of the critic: the whole observation, how far the trial has come, and what the actor remembers."""
        # An episode that counts as endless is worth the same at all of its steps.
        step = step / self.env.episode_steps if self.across_episodes else jnp.zeros(step.shape)
        clock = jnp.stack([step, episode / (self.env.trial_episodes or 1)], -1)
        return jnp.concatenate([standardise(moments, obs), clock, memory], -1).astype(jnp.float32)

    def act(self, params: Any, seen: Float[Array, "n input"], memory: Float[Array, "n size"]) -> Output:
        """Outputs of a single step, without the axis of time."""
        out = cast(Output, self.actor.apply(params, seen[None], memory, jnp.zeros((1, len(seen)), bool)))
        return Output(*(x[0] for x in out))

    def collect(
        self, params: Any, moments: Moments, start: tuple[Any, Carried], keys: Key[Array, " time"]
    ) -> tuple[tuple[Any, Carried], Rollout]:
        """A rollout of all lanes.

        Args:
            params: of the actor.
            moments: by which observations are standardised.
            start: states of the environments, and what their lanes carry.
            keys: of the actions of each step.

        Returns:
            What to go on from, and the steps.
        """

        def step(now: tuple[Any, Carried], step_key: Array) -> tuple[tuple[Any, Carried], Rollout]:
            env_state, carried = now
            seen = self.seen(moments, env_state.obs, carried.past)
            out = self.act(params, seen, carried.memory)
            action = out.mean + jnp.exp(out.log_std) * jax.random.normal(step_key, out.mean.shape)
            taken = jnp.clip(action, -1.0, 1.0)
            after, transition = self.env.step(env_state, taken)
            done = transition.terminated | transition.truncated
            over = done & (after.episode == 0)
            next_begins = done & ~over & self.across_episodes
            count = carried.step + 1
            follows = (
                jnp.where(next_begins[:, None], after.obs, transition.next_obs),
                jnp.where(next_begins, 0, count),
                jnp.where(next_begins, after.episode, env_state.episode),
            )
            rollout = Rollout(
                transition=transition.replace(action=action),  # as drawn: the density is that of the Gaussian
                over=over,
                terminated=over if self.across_episodes else transition.terminated,
                truncated=jnp.zeros_like(over) if self.across_episodes else done & ~transition.terminated,
                seen=seen,
                mean=out.mean,
                log_std=out.log_std,
                memory=carried.memory,
                judged=self.judged(moments, env_state.obs, carried.step, env_state.episode, carried.memory),
                judged_next=self.judged(moments, *follows, out.memory),
            )
            carried = Carried(
                memory=jnp.where(over[:, None], 0.0, out.memory),
                past=past_after(taken, transition.reward, done, over),
                step=jnp.where(done, 0, count),
            )
            return (after, carried), rollout

        return jax.lax.scan(step, start, keys)

    def spread_trials(
        self, iteration: Int[Array, ""], env_state: Any, carried: Carried, rollout: Rollout
    ) -> tuple[Any, Carried, Rollout]:
        """Cut some first trials short after a rollout, so that a batch holds all phases; see `early_end`."""
        early = early_end(self.env, len(rollout.over), iteration) & ~rollout.over[-1]

        def cut(ends: Array) -> Array:
            return ends.at[-1].set(ends[-1] | early)

        rollout = rollout._replace(
            transition=rollout.transition.replace(truncated=cut(rollout.transition.truncated)),
            over=cut(rollout.over),
            truncated=cut(rollout.truncated),
        )
        carried = select_envs(early, self.nothing_carried(len(early)), carried)
        return self.env.restart(env_state, early), carried, rollout
