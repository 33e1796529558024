"""Meta-World's scripted policies as pure functions of the observation, after `metaworld.policies`.

They keep no state, so one function serves any batch: `jax.vmap(expert_policy(names))(obs, task)`. Actions are not
clipped; the environment clips them, and rewards see them as they are, like the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jaxtyping import Array, Float, Int

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.experts import fixtures, puck, tools
from mjx_metaworld.experts.common import POLICIES
from mjx_metaworld.observation import OBSERVATION
from mjx_metaworld.physics.checks import check_offers
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.tasks.registry import registered
from mjx_metaworld.tasks.spec import Script, TaskSpec
from mjx_metaworld.types import Policy

__all__ = ["expert", "expert_policy", "fixtures", "puck", "tools"]


def expert_policy(tasks: Sequence[str | TaskSpec]) -> Policy:
    """The experts of several tasks as one function `(obs, task) -> action`, `task` an index into the names.

    Those of metaworld's tasks are here, a task of one's own brings its expert in its declaration.

    Entries of `obs` beyond the 39th, such as a one-hot task id, are ignored.

    Raises:
        ValueError: if a task has no expert.
    """
    found = [_policy(task) for task in tasks]  # also of a task that is named twice: `task` counts the names
    policies = [policy for policy in found if policy is not None]
    if len(policies) < len(found):
        missing = dict.fromkeys(_name(task) for task, policy in zip(tasks, found, strict=True) if policy is None)
        raise ValueError(f"no scripted policy for {', '.join(missing)}; a task is declared with one by expert=...")

    def policy(obs: Float[Array, " obs"], task: Int[Array, ""]) -> Float[Array, "4"]:
        check_threads("a scripted policy")
        return jax.lax.switch(task, policies, obs[OBSERVATION])

    return policy


def expert(env: MetaWorldEnv) -> Policy:
    """The scripted policies of an environment's tasks: `(obs, task) -> action`, to be batched with `jax.vmap`.

    They read the goal from the observation, so it must be observable.

    Raises:
        ValueError: if the environment hides the goal, or a task has no expert.
        TypeError: if `env` is no environment.
    """
    check_offers("env", env, "an environment, as mw.make makes one", "goal_observable", "tasks")
    if not env.goal_observable:
        raise ValueError("the scripted policies need an environment with goal_observable=True")
    return expert_policy(env.tasks)


def _name(task: str | TaskSpec) -> str:
    return task if isinstance(task, str) else task.name


def _policy(task: str | TaskSpec, asked: tuple[str, ...] = ()) -> Script | None:
    """A task's expert: its own, that of the task which it names, or the one in this package."""
    name = _name(task)
    if name in asked:
        raise ValueError(f"the experts of {', '.join(asked)} stand for each other")
    spec = task if isinstance(task, TaskSpec) else next((spec for spec in registered() if spec.name == name), None)
    if spec is None and name not in POLICIES and asked:
        raise ValueError(
            f"the expert of task {asked[-1]!r} names {name!r}, which is no task; it must be a task's name or a "
            "function (obs,) -> action"
        )
    if spec is None or spec.expert is None:
        return POLICIES.get(name)
    return _policy(spec.expert, (*asked, name)) if isinstance(spec.expert, str) else spec.expert
