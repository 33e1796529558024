"""Parts of several commands: progress bars, an environment and a policy by their names."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mjx_metaworld.cli.faults import blamed, defined_at
from mjx_metaworld.cli.imports import import_module
from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.experts import expert
from mjx_metaworld.types import StochasticPolicy


def progress_bars(console: Console) -> Progress:
    """Bars for what takes a while; they vanish when all is done, and where nobody looks on there are none."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
    )
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)


def build(bars: Progress, tasks: str, **options: Any) -> MetaWorldEnv:
    """`mjx_metaworld.make`, with a bar while it loads the scenes."""
    loading = bars.add_task(f"loading {tasks}", total=None)
    env = make(tasks, **options)
    release_freed()
    bars.remove_task(loading)
    return env


def load_policy(env: MetaWorldEnv, name: str) -> StochasticPolicy:
    """A policy of one environment, `(obs, task, key) -> action`, by its name on the command line.

    Args:
        env: what it is to act in.
        name: "expert", "random", or `module:function`. The function is called with `env`, like `mw.expert`, and
            returns `(obs (obs,), task ()) -> action (4,)` in JAX. The module may lie in the current folder.

    Raises:
        ValueError: if there is no such policy, or a user's one raises or returns no action, with its place.
    """
    check_policy_name(name)
    if name == "random":
        return lambda obs, task, key: jax.random.uniform(key, (env.action_size,), obs.dtype, -1.0, 1.0)
    if name == "expert":
        try:
            scripted = expert(env)
        except ValueError as error:
            raise ValueError(
                f"{error}. Other policies: --policy module:function, and in rollout and render --policy random"
            ) from error
        return lambda obs, task, key: jnp.clip(scripted(obs, task), -1.0, 1.0)
    what, (module, _, function) = f"policy {name!r}", name.partition(":")
    make_policy = blamed(lambda: getattr(import_module(module), function), f"cannot load {what}")
    made = blamed(lambda: make_policy(env), what)
    _check_policy(env, made, what)
    return lambda obs, task, key: blamed(lambda: made(obs, task), what)


def check_policy_name(name: str) -> None:
    """Check the name of a policy, before the tasks are loaded.

    Raises:
        ValueError: if it is neither that of a ready-made one nor a module's and a function's.
    """
    module, _, function = name.partition(":")
    if name not in ("expert", "random") and not (module and function):
        raise ValueError(f"unknown policy {name!r}; expected expert, random, or an import path module:function")


def _check_policy(env: MetaWorldEnv, policy: Any, what: str) -> None:
    """Check what a user's policy returns, before anything is compiled.

    Raises:
        ValueError: if it is no function, raises, or returns something else than an action.
    """
    if not callable(policy):
        raise ValueError(f"{what} makes a {type(policy).__name__}, expected a function (obs, task) -> action")
    obs = jax.ShapeDtypeStruct((env.observation_size,), jnp.result_type(float))
    action = blamed(lambda: jax.eval_shape(policy, obs, jax.ShapeDtypeStruct((), jnp.int32)), what)
    if not isinstance(action, jax.ShapeDtypeStruct):
        raise ValueError(f"{what} returns a {type(action).__name__}, expected an array{defined_at(policy)}")
    if action.shape != (env.action_size,) or not jnp.issubdtype(action.dtype, jnp.floating):
        raise ValueError(
            f"{what} returns {action.dtype} of shape {action.shape}, expected floats of shape ({env.action_size},)"
            f"{defined_at(policy)}"
        )
