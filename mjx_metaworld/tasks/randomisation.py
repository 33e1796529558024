"""Fresh goal vectors in JAX, distributed as the reference draws them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from mjx_metaworld.tasks.spec import TaskSpec

# The reference draws until a goal vector is accepted. No task rejects more than about half of its draws, so all of
# this many are rejected less than once in a billion resets; the last one is taken then.
_ATTEMPTS = 32


@struct.dataclass
class GoalBox:
    """A task's `rand_low`, `rand_high` and rejection rule as arrays; goal vectors are padded with zeros."""

    low: Float[Array, " rand"]
    high: Float[Array, " rand"]
    min_separation: Float[Array, ""]
    fixed: Bool[Array, ""]  # the second place is `other`, not part of the goal vector
    other: Float[Array, "2"]


def goal_box(spec: TaskSpec, size: int) -> GoalBox:
    """The box of a task (numpy leaves) for goal vectors padded to `size`."""
    padding = (0, size - len(spec.rand_low))
    return GoalBox(
        low=np.pad(spec.rand_low, padding),
        high=np.pad(spec.rand_high, padding),
        min_separation=np.array(spec.min_separation),
        fixed=np.array(spec.separate_from is not None or len(spec.rand_low) < 6),
        other=np.array(spec.separate_from or (0.0, 0.0)),
    )


def draw_goal_vector(key: Key[Array, ""], box: GoalBox) -> Float[Array, " rand"]:
    """A goal vector, uniform among those that the task accepts."""
    draws = jax.random.uniform(key, (_ATTEMPTS, box.low.shape[0]), minval=box.low, maxval=box.high)
    second = draws[:, 3:5] if draws.shape[1] >= 5 else box.other
    apart = draws[:, :2] - jnp.where(box.fixed, box.other, second)
    accepted = jnp.sum(apart * apart, axis=1) >= box.min_separation**2
    return draws[jnp.where(jnp.any(accepted), jnp.argmax(accepted), _ATTEMPTS - 1)]
