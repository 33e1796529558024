"""The structs that pass between the user and the environment. Shapes are those of one environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, UInt

from mjx_metaworld.inputs.keys import PRNGKey
from mjx_metaworld.physics.exportable import exportable
from mjx_metaworld.physics.model import PhysicsState
from mjx_metaworld.processes.forks import check_threads, without_threads

CONTROL_RATE = 80  # control steps in a second of simulated time
EPISODE_STEPS = 500  # control steps of the reference's episodes, after which it raises
NO_DISTANCE = -1.0  # `Episode.first_distance` before the first step: no distance is negative

# A policy acts on observation and task of one environment (batch it with `jax.vmap`), or of a batch of them whose
# leading axes its actions keep. A stochastic one draws from a key as well.
Policy: TypeAlias = Callable[[Float[Array, "*envs obs"], Int[Array, "*envs"]], Float[Array, "*envs action"]]
StochasticPolicy: TypeAlias = Callable[
    [Float[Array, "*envs obs"], Int[Array, "*envs"], PRNGKey], Float[Array, "*envs action"]
]


@exportable
class Metrics(struct.PyTreeNode):
    """The reference's seven `info` entries, field for field."""

    success: Float[Array, ""]
    near_object: Float[Array, ""]
    grasp_success: Float[Array, ""]
    grasp_reward: Float[Array, ""]
    in_place_reward: Float[Array, ""]
    obj_to_target: Float[Array, ""]
    unscaled_reward: Float[Array, ""]


@exportable
class Episode(struct.PyTreeNode):
    """Constants of an episode, fixed at reset, and the little that it accumulates."""

    next_key: UInt[Array, " words"]  # a restart folds it in and draws the next episode; it did not draw this one
    rand_vec: Float[Array, " rand"]  # as in a metaworld Task, padded with zeros to the env's longest
    goal: Float[Array, "3"]  # the reference's _target_pos
    object_init: Float[Array, "3"]  # the reference's obj_init_pos
    points_init: Float[Array, "points 3"]  # the task's named points right after reset, where a reward refers to them
    tcp_init: Float[Array, "3"]  # the reference's init_tcp
    first_distance: Float[Array, ""]  # of the object from the goal, after the first step; negative until then
    previous_frame: Float[Array, "18"]  # unclipped first half of the next observation's history
    step: Int[Array, ""]
    invalid_action: Bool[Array, ""]  # True after a step whose action held NaN or infinity (it was taken as zero)
    # The generator of `next_key`, by JAX's name; no array, but part of the structure.
    key_impl: str = struct.field(pytree_node=False, default="threefry2x32")


@exportable
class State(struct.PyTreeNode):
    """One environment between two control steps. All leaves are arrays of numbers, which NumPy can hold."""

    physics: PhysicsState
    obs: Float[Array, " obs"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    metrics: Metrics
    task: Int[Array, ""]  # index into `env.tasks`
    episode: Episode
    cost_estimate: Int[Array, ""]  # the engine's: orders environments on a CPU; any value gives the same results
    finite: Bool[Array, ""]  # False after a step with NaN or infinity: in its action, or in what came of it
    pixels: Any = None  # what the environment's `pixels` draw of it; None, which has no leaves, without
    randomised: Any = None  # the episode's parameters, a `Randomised`; None, which has no leaves, without `randomise`


@exportable
class Transition(struct.PyTreeNode):
    """One step of a vector environment; `next_obs` is the true successor, also at an episode's end."""

    obs: Float[Array, " obs"]
    action: Float[Array, "4"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    next_obs: Float[Array, " obs"]
    metrics: Metrics
    task: Int[Array, ""]
    # False where the action or what came of it held NaN or infinity; an episode ends where the latter did.
    finite: Bool[Array, ""] = struct.field(default_factory=lambda: jnp.ones((), bool))
    # Drawn of the state before the step, beside `obs`; the picture beside `next_obs` is the next transition's, and at
    # an episode's end nobody's.
    pixels: Any = None


def first_state(
    physics: PhysicsState,
    obs: Float[Array, " obs"],
    task: Int[Array, ""],
    episode: Episode,
    finite: Bool[Array, ""],
    randomised: Any,
) -> State:
    """State of an episode before its first step, without reward and in progress.

    Every leaf is a buffer of its own, shared neither with another nor with what the caller gave, so that the state may
    be donated. In a compiled program a copy is nothing.

    Args:
        physics: as the episode starts.
        obs: the first observation.
        task: index into `env.tasks`.
        episode: its constants.
        finite: False where any of this is not.
        randomised: the episode's parameters, None without.
    """
    zero, no = jnp.zeros((), episode.previous_frame.dtype), jnp.zeros((), bool)
    state = State(
        physics=physics,
        obs=obs,
        reward=zero,
        terminated=no,
        truncated=no,
        metrics=Metrics(*[zero] * 7),
        task=task,
        episode=episode,
        cost_estimate=jnp.zeros((), jnp.int32),
        finite=finite,
        randomised=randomised,
    )
    return jax.tree.map(jnp.copy, state)


def on_host(state: State) -> State:
    """A state as numpy arrays, whatever its leading axes.

    Raises:
        ForkError: in a process that was forked after JAX had begun to work, for arrays that cannot be read there: those
            that were not computed yet, and those on an accelerator.
    """
    if without_threads() and not all(map(_is_in_memory, jax.tree.leaves(state))):
        check_threads("reading a state on an accelerator or one that was not computed yet")
    return jax.device_get(state)


def _is_in_memory(leaf: object) -> bool:
    if not isinstance(leaf, jax.Array):
        return True
    computed = leaf.is_ready()  # pyright: ignore[reportAttributeAccessIssue] - not in JAX's types
    return computed and all(device.platform == "cpu" for device in leaf.devices())
