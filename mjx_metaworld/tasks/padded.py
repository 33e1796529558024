"""A task's two functions on arrays that are padded, so that the tasks of an environment take the same."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from mjx_metaworld.tasks.spec import (
    Placement,
    RewardInputs,
    RewardVersion,
    Settled,
    TaskSpec,
    check_output,
    check_placement,
)
from mjx_metaworld.types import Metrics


@functools.lru_cache(maxsize=256)
def placer(spec: TaskSpec) -> Callable[[Array, Settled], Placement]:
    """The task's `place`, of a goal vector and points that are padded to the longest of an environment's tasks."""

    def place(rand_vec: Array, settled: Settled) -> Placement:
        num_points = len(spec.points)
        placed = spec.place(rand_vec[: len(spec.rand_low)], settled.replace(points=settled.points[:num_points]))
        placement = check_placement(spec.name, placed, num_points, settled.qpos.dtype)
        missing = settled.points.shape[0] - num_points
        return placement.replace(points_init=jnp.pad(placement.points_init, ((0, missing), (0, 0))))

    return place


@functools.lru_cache(maxsize=256)
def rewarder(spec: TaskSpec, version: RewardVersion) -> Callable[[RewardInputs], Metrics]:
    """The task's reward of a version, of points that are padded likewise."""
    rewarded = spec.reward_of(version)

    def reward(inputs: RewardInputs) -> Metrics:
        num_points = len(spec.points)
        outcome = rewarded(
            inputs.replace(points=inputs.points[:num_points], points_init=inputs.points_init[:num_points])
        )
        # In one type, whatever a task computes in: else a state would have another after a step than before.
        return check_output(spec.name, outcome).metrics(inputs.obs.dtype)

    return reward
