"""A batch of environments under a policy, a call at a time, with the episodes' outcomes: what several commands run."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.experts import expert
from mjx_metaworld.types import State

Policy = Callable[[Float[Array, " obs"], Int[Array, ""], Key[Array, ""]], Float[Array, "4"]]


class Outcome(NamedTuple):
    """Results of one episode in every lane."""

    success: np.ndarray  # (lanes,) bool: at any step
    episode_return: np.ndarray  # (lanes,)
    kept: State | None  # with `keep`: the states on the host, leading axes (moments, lanes)
    compile_seconds: float
    run_seconds: float


class _Carry(NamedTuple):
    state: State
    success: Bool[Array, " lanes"]
    episode_return: Float[Array, " lanes"]


def progress_bars(console: Console) -> Progress:
    """Bars for what takes a while; they vanish when all is done, and where nobody looks on there are none."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)


def build(bars: Progress, tasks: str, **options: Any) -> MetaWorldEnv:
    """`mjx_metaworld.make`, with a bar while it loads the scenes."""
    loading = bars.add_task(f"loading {tasks}", total=None)
    env = make(tasks, **options)
    bars.remove_task(loading)
    return env


def load_policy(env: MetaWorldEnv, name: str) -> Policy:
    """A policy of one environment, `(obs, task, key) -> action`, by its name on the command line.

    Args:
        env: what it is to act in.
        name: "expert", "random", or `module:function`. The function is called with `env`, like `mw.expert`, and
            returns `(obs (obs,), task ()) -> action (4,)` in JAX.

    Raises:
        ValueError: if there is no such policy.
    """
    if name == "random":
        return lambda obs, task, key: jax.random.uniform(key, (env.action_size,), obs.dtype, -1.0, 1.0)
    if name == "expert":
        scripted = expert(env)
        return lambda obs, task, key: jnp.clip(scripted(obs, task), -1.0, 1.0)
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(f"unknown policy {name!r}; expected expert, random, or an import path module:function")
    try:
        make_policy = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load policy {name!r}: {error}") from error
    loaded = make_policy(env)
    return lambda obs, task, key: loaded(obs, task)


def run_lanes(
    env: MetaWorldEnv,
    policy: Policy,
    reset: Callable[[], State],
    num_steps: int,
    bars: Progress,
    *,
    seed: int = 0,
    stride: int = 10,
    keep: bool = False,
) -> Outcome:
    """One episode in every lane, compiled ahead, so that compile and run time are apart.

    Args:
        env: the environment.
        policy: as `load_policy` returns.
        reset: makes the first states, one leading axis of lanes.
        num_steps: control steps, a multiple of `stride`.
        bars: where to show progress.
        seed: of the policy's randomness.
        stride: control steps in one call.
        keep: keep the first state and the one after every call.
    """

    def step(carry: _Carry, key: Array) -> tuple[_Carry, None]:
        state = carry.state
        actions = jax.vmap(policy)(state.obs, state.task, jax.random.split(key, state.task.shape[0]))
        state = jax.vmap(env.step)(state, actions)
        success = carry.success | (state.metrics.success > 0)
        return _Carry(state, success, carry.episode_return + state.reward), None

    def advance(carry: _Carry, key: Array) -> _Carry:
        return jax.lax.scan(step, carry, jax.random.split(key, stride))[0]

    compiling = bars.add_task("compiling", total=None)
    start = time.perf_counter()
    state = jit(reset)()
    lanes = state.task.shape
    carry = _Carry(state, jnp.zeros(lanes, bool), jnp.zeros(lanes, state.reward.dtype))
    keys = jax.random.split(jax.random.key(seed), num_steps // stride)
    compiled = jit(advance).lower(carry, keys[0]).compile()
    compile_seconds = time.perf_counter() - start
    bars.update(compiling, total=1, completed=1)

    stepping = bars.add_task(f"stepping {lanes[0]} environments", total=len(keys))
    kept = [_without_keys(carry.state)] if keep else []
    start = time.perf_counter()
    for key in keys:
        carry = jax.block_until_ready(compiled(carry, key))
        if keep:
            kept.append(_without_keys(carry.state))
        bars.advance(stepping)
    run_seconds = time.perf_counter() - start
    return Outcome(
        success=np.asarray(carry.success),
        episode_return=np.asarray(carry.episode_return),
        kept=jax.tree.map(lambda *leaves: np.stack(leaves), *kept) if keep else None,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )


def _without_keys(state: State) -> State:
    return jax.device_get(state.replace(episode=state.episode.replace(key=None)))
