"""Checks of what callers give to an environment: refused where it is known, flagged where it is traced."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from mjx_metaworld.physics.checks import as_integer
from mjx_metaworld.physics.config import PhysicsConfig


def real_array(
    name: str, value: Any, shape: tuple[int, ...] | None = None, error: type[Exception] = ValueError
) -> Array:
    """An array of what a user's own function gave: floats of any size, integers or truth values.

    Args:
        name: of the value, for the message.
        value: a number, or any sequence or array of them, traced ones too.
        shape: that it must have; any by default.
        error: what to raise.

    Raises:
        Exception: `error`, if it is none of real numbers or of another shape.
    """
    try:
        array = None if value is None else jnp.asarray(value)
    except (TypeError, ValueError):  # texts, or rows of several lengths
        array = None
    if array is None:
        raise error(f"{name} must be real numbers{'' if shape is None else f' of shape {shape}'}, got {value!r:.100}")
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise error(f"{name} must be real numbers, got {array.dtype}")
    if shape is not None and array.shape != shape:
        raise error(f"{name} must have shape {shape}, got {array.shape}")
    return array


def known_task(task: Any, num_tasks: int) -> int | None:
    """A task's index as an int; None where it is traced.

    Raises:
        ValueError: if it is known and there is no such task.
        TypeError: if it is no integer, or more than one.
    """
    index = as_integer(task)
    if index is None:
        dtype, shape = jnp.result_type(task) if hasattr(task, "dtype") else None, np.shape(task)
        if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or shape:
            got = repr(task) if dtype is None else f"an array {shape} of {dtype}"
            raise TypeError(f"task must be one integer, an index into `tasks`, got {got}")
    elif not 0 <= index < num_tasks:
        raise ValueError(f"task must be in 0..{num_tasks - 1}, got {index}")
    return index


def row_of_task(task: Int[Array, ""], num_tasks: int) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """The row of a task in tables, the nearest where there is no such task, and whether there is."""
    return jnp.clip(task, 0, num_tasks - 1), (task >= 0) & (task < num_tasks)


@jax.jit  # where `jax_debug_nans` looks at outcomes alone
def nan_unless(known: Bool[Array, ""], x: Float[Array, " n"]) -> Float[Array, " n"]:
    """An array, or NaN in its place: what JAX gives for an index that is out of bounds."""
    return jnp.where(known, x, jnp.nan)


def padded_goal(rand_vec: Any, size: int, own_size: int | None) -> Float[Array, " rand"]:
    """A goal vector, padded with zeros to the longest of an environment's tasks.

    Args:
        rand_vec: (size,) or (own_size,).
        size: of the longest.
        own_size: of the task at hand; None where that is traced.

    Raises:
        ValueError: if it has another length, or holds NaN or infinity as far as it is known and not traced.
    """
    traced = any(isinstance(x, Tracer) for x in jax.tree.leaves(rand_vec))
    if not traced and not np.isfinite(np.asarray(rand_vec, float)).all():
        raise ValueError(f"rand_vec must be finite, got {np.asarray(rand_vec).tolist()}")
    rand_vec = jnp.asarray(rand_vec, float)
    check_goal_shape("rand_vec", rand_vec.shape, size, own_size)
    return jnp.pad(rand_vec, (0, size - rand_vec.shape[0]))


def check_goal_shape(name: str, shape: tuple[int, ...], size: int, own_size: int | None) -> None:
    """Refuse what is no goal vector by its shape; sizes are those of `padded_goal`, and the name is for the message.

    Raises:
        ValueError: if it is none.
    """
    lengths = {size} if own_size is None else {size, own_size}
    if len(shape) != 1 or shape[0] not in lengths:
        allowed = " or ".join(str(length) for length in sorted(lengths))
        raise ValueError(f"{name} must have shape ({allowed},), got {shape}")


def check_action(action: Any, size: int) -> Array:
    """An action of one environment as an array.

    Raises:
        ValueError: if it has the wrong shape.
        TypeError: if it is not of a floating-point type.
    """
    action = jnp.asarray(action)
    if action.shape != (size,):
        raise ValueError(f"action must have shape ({size},) for one environment, got {action.shape}")
    if not jnp.issubdtype(action.dtype, jnp.floating):
        raise TypeError(f"action must be of a floating-point type, got {action.dtype}")
    return action


def check_physics(physics: Any) -> PhysicsConfig:
    """The accuracy of the engine that was given, or the default one in place of None.

    Raises:
        TypeError: if it is anything else, such as a dict.
    """
    if not isinstance(physics, PhysicsConfig | None):
        raise TypeError(f"physics must be mw.PhysicsConfig(...) or None, got {physics!r}")
    return PhysicsConfig() if physics is None else physics


def check_floats(*of_state: Float[Array, "..."]) -> None:
    """Refuse a state of other floats than those of new arrays, as a float32 state where 64 bits were enabled later.

    Args:
        of_state: arrays of the state.

    Raises:
        TypeError: if it is one.
    """
    default = jnp.result_type(float)
    for x in of_state:
        if jnp.result_type(x) != default:
            raise TypeError(
                f"the state is of {jnp.result_type(x)}, but JAX's default is {default}: set jax_enable_x64 as it was "
                "where the state was made, or convert it: jax.tree.map(lambda x: x.astype(float) if "
                "jnp.issubdtype(x.dtype, jnp.floating) else x, state)"
            )


def all_finite(*arrays: Float[Array, "..."]) -> Bool[Array, ""]:
    """True if no entry of any array is NaN or infinite."""
    return jnp.all(jnp.isfinite(jnp.concatenate([jnp.ravel(x) for x in arrays])))
