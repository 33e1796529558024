"""Meta-World's scripted policies as pure functions of the observation, after `metaworld.policies`.

They keep no state, so one function serves any batch: `jax.vmap(expert_policy(names))(obs, task)`. Actions are not
clipped; the environment clips them, and rewards see them as they are, like the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array, Float, Int

from mjx_metaworld.expert import fixtures, puck, tools
from mjx_metaworld.expert.common import POLICIES

__all__ = ["expert_policy", "fixtures", "puck", "tools"]


def expert_policy(task_names: Sequence[str]) -> Callable[[Float[Array, " obs"], Int[Array, ""]], Float[Array, "4"]]:
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
        return jax.lax.switch(task, policies, obs[:39])

    return policy
