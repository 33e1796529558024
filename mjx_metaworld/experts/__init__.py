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
from mjx_metaworld.types import Policy

__all__ = ["expert", "expert_policy", "fixtures", "puck", "tools"]


def expert_policy(task_names: Sequence[str]) -> Policy:
    """The experts of several tasks as one function `(obs, task) -> action`, `task` an index into the names.

    Entries of `obs` beyond the 39th, such as a one-hot task id, are ignored.

    Raises:
        ValueError: if a task has no expert.
    """
    missing = [name for name in task_names if name not in POLICIES]
    if missing:
        raise ValueError(f"no scripted policy for {', '.join(missing)}")
    policies = [POLICIES[name] for name in task_names]

    def policy(obs: Float[Array, " obs"], task: Int[Array, ""]) -> Float[Array, "4"]:
        return jax.lax.switch(task, policies, obs[OBSERVATION])

    return policy


def expert(env: MetaWorldEnv) -> Policy:
    """The scripted policies of an environment's tasks: `(obs, task) -> action`, to be batched with `jax.vmap`.

    They read the goal from the observation, so it must be observable.

    Raises:
        ValueError: if the environment hides the goal.
    """
    if not env.goal_observable:
        raise ValueError("the scripted policies need an environment with goal_observable=True")
    return expert_policy([spec.name for spec in env.tasks])
