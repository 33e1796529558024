"""Parts of several commands: progress bars, an environment and a policy by their names."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mjx_metaworld.cli.memory import release_freed
from mjx_metaworld.env import MetaWorldEnv, make
from mjx_metaworld.experts import expert
from mjx_metaworld.types import StochasticPolicy


def progress_bars(console: Console) -> Progress:
    """Bars for what takes a while; they vanish when all is done, and where nobody looks on there are none."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
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
            returns `(obs (obs,), task ()) -> action (4,)` in JAX.

    Raises:
        ValueError: if there is no such policy.
    """
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
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(f"unknown policy {name!r}; expected expert, random, or an import path module:function")
    try:
        make_policy = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load policy {name!r}: {error}") from error
    loaded = make_policy(env)
    return lambda obs, task, key: loaded(obs, task)
