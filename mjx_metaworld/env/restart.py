"""Automatic resets of one environment; a batch computes those of the environments that are done, some at a time."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.env.environment import MetaWorldEnv
from mjx_metaworld.inputs.keys import as_typed, as_words, is_typed
from mjx_metaworld.physics.operation import batched, varying_alike
from mjx_metaworld.physics.promotion import default_promotion
from mjx_metaworld.types import State, Transition

_GROUP = 128  # environments whose ends are counted together
# Environments that restart together: few, so that a step in which a few end costs little, but enough that a batch that
# ends all at once takes few rounds.
_LEAST_RESTARTS, _RESTART_ROUNDS = 16, 32


def step_and_restart(
    env: MetaWorldEnv,
    state: State,
    action: Float[Array, "4"],
    lane: Int[Array, ""] | int = 0,
    *,
    resample_task: bool = True,
) -> tuple[State, Transition]:
    """Advance one environment by a control step, and start a new episode if that ended the last; see `VectorEnv.step`.

    A pure function of one environment, to be batched with `jax.vmap`; `lane` as for `restart`.
    """
    successor, transition = advance(env, state, action)
    done = transition.terminated | transition.truncated
    return restart(env, successor, done, lane, resample_task=resample_task), transition


def advance(env: MetaWorldEnv, state: State, action: Float[Array, "4"]) -> tuple[State, Transition]:
    """Advance one environment by a control step and leave it there, undrawn, also where that ended the episode.

    For loops that end episodes by conditions of their own, too: one `restart` begins new ones after either.
    """
    successor = env.blind.step(state, action)
    return successor, Transition(
        obs=state.obs,
        action=action,
        reward=successor.reward,
        terminated=successor.terminated,
        truncated=successor.truncated,
        next_obs=successor.obs,
        metrics=successor.metrics,
        task=state.task,
        finite=successor.finite,
        pixels=state.pixels,
    )


@default_promotion
def restart(
    env: MetaWorldEnv,
    state: State,
    done: Bool[Array, ""],
    lane: Int[Array, ""] | int = 0,
    *,
    resample_task: bool = True,
) -> State:
    """Start a new episode of one environment if its last one is done, else keep the state; batch it with `jax.vmap`.

    Under any number of `jax.vmap`s a reset is computed for the environments that are done and for no others, some at a
    time. The new episode is drawn from `state.episode.next_key` and the lane. With `pixels` the state that it returns
    is drawn, so a loop of one's own may leave the step before undrawn: `env.blind.step`.

    Args:
        env: the environment that the state belongs to.
        state: from `reset` or `step`.
        done: whether the episode has ended.
        lane: number of the environment in its batch, so that those that began alike, with one goal, part ways.
        resample_task: draw the task anew, uniformly among `env.tasks`, instead of keeping it.

    Raises:
        TypeError: if `done` is no boolean.
    """
    done, episode = _as_ends(done), state.episode
    if is_typed(episode.next_key):
        words, key_impl = as_words(episode.next_key)
        state = state.replace(episode=episode.replace(next_key=words, key_impl=key_impl))
    # Kept with the engine, for all copies of the environment: an operation that is made anew would be compiled anew.
    blind = env.blind
    operations, place = env.engine.operations, ("restart", type(env), blind.content(), resample_task)
    if place not in operations:
        own = copy.copy(blind)  # which nobody will change
        operations[place] = _restart_operation(own, resample_task), own
    args = state.replace(pixels=None), done, jnp.asarray(lane)
    return env.draw(operations[place][0](*varying_alike(args)))


def _as_ends(done: Any) -> Array:
    """An array of which episodes have ended.

    Raises:
        TypeError: if it holds other than booleans: a 0.5, or the 1.0 of other libraries, would not always count.
    """
    done = jnp.asarray(done)
    if done.dtype != jnp.bool_:
        raise TypeError(f"done must hold booleans, such as done > 0, got {done.dtype}")
    return done


def _restart_operation(env: MetaWorldEnv, resample_task: bool) -> Callable[[State, Array, Array], State]:
    alive = weakref.ref(env)  # JAX's caches keep what a compiled program is made of, and are not to keep environments

    def fresh(state: State, lane: Array) -> State:
        env = alive()
        assert env is not None, "an environment restarts while it exists"
        key = jax.random.fold_in(as_typed(state.episode.next_key, state.episode.key_impl), 1 + lane)
        new = env.reset(key) if resample_task else env.reset(key, state.task)
        return jax.tree.map(lambda x, like: x if x.dtype == like.dtype else x.astype(like.dtype), new, state)

    def of_one(state: State, done: Array, lane: Array) -> State:
        return jax.lax.cond(done, fresh, lambda state, lane: state, state, lane)

    def of_batch(state: State, done: Array, lane: Array) -> State:
        size = done.shape[0]
        if not isinstance(size, int):  # a dimension of `jax.export` without a number: a batch that cannot be divided
            return jax.vmap(of_one)(state, done, lane)
        if size == 0:
            return state
        some = min(size, max(_LEAST_RESTARTS, size // _RESTART_ROUNDS))

        def restart_some(carry: tuple[Array, Array, State]) -> tuple[Array, Array, State]:
            _, done, state = carry
            members = jnp.nonzero(done, size=some, fill_value=size)[0]  # `size` is no place: nothing is put there
            new = jax.vmap(fresh)(*jax.tree.map(lambda x: x.at[members].get(mode="clip"), (state, lane)))
            state = jax.tree.map(lambda old, new: old.at[members].set(new, mode="drop"), state, new)
            done = done.at[members].set(False, mode="drop")
            return _any(done), done, state

        return jax.lax.while_loop(lambda carry: carry[0], restart_some, (_any(done), done, state))[2]

    operation = batched("restart", of_batch, of_one=of_one, shapes=_shapes_of_state)

    @jax.custom_vjp
    def differentiable(state: State, done: Array, lane: Array) -> State:
        return operation(state, done, lane)

    def pull_back(done: Array, cotangent: State) -> tuple[State, None, None]:
        """Cotangents of what is kept; a new episode depends on nothing that has a derivative."""

        def keep(x: Array) -> Array:
            return x if x.dtype == jax.dtypes.float0 else varying_alike((jnp.where(done, 0, x), done))[0]

        return jax.tree.map(keep, cotangent), None, None

    differentiable.defvjp(lambda state, done, lane: (operation(state, done, lane), done), pull_back)
    return differentiable


def _shapes_of_state(state: State, *_: Any) -> State:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


def _any(done: Bool[Array, "envs"]) -> Bool[Array, ""]:
    """True if an episode has ended.

    By sums of groups first: a GPU computes all that a reward is made of where it looks for an end, and would do so in a
    single block.
    """
    groups = done.reshape(-1, math.gcd(len(done), _GROUP))
    return jnp.max(jnp.sum(groups, axis=1, dtype=jnp.int32)) > 0
