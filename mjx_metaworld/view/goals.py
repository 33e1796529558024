"""Axes along which a task's goal can be put elsewhere while everything else stays where it is."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.spec import Settled, TaskSpec

_NOTHING = 1e-6  # metres of the goal or of a body by a metre of the goal vector, below which nothing moves


@functools.lru_cache(maxsize=64)
def movable_axes(spec: TaskSpec) -> tuple[bool, bool, bool]:
    """Axes x, y, z of the goal that the task's goal vector moves without moving a body: of `reach-v3` all three.

    The goals of doors, drawers and buttons lie where the fixture stands, so they move along none.
    """
    settled = _somewhere(spec)
    middle = (np.asarray(spec.rand_low, np.float32) + np.asarray(spec.rand_high, np.float32)) / 2
    if not middle.size:
        return False, False, False
    slopes = jax.jit(jax.jacfwd(lambda rand_vec: placer(spec)(rand_vec, settled)))(jnp.asarray(middle))
    bodies = np.concatenate([np.asarray(slopes.qpos), np.asarray(slopes.prop_pos)])
    _, sizes, directions = np.linalg.svd(bodies, full_matrices=True)
    still = directions[np.sum(sizes > _NOTHING) :]  # goal vectors along which no body moves
    x, y, z = np.abs(np.asarray(slopes.goal) @ still.T).max(axis=1, initial=0.0) > _NOTHING
    return bool(x), bool(y), bool(z)


def _somewhere(spec: TaskSpec) -> Settled:
    """A settled state of the right shapes; its numbers have no part in how goals depend on goal vectors."""
    shapes = {"qpos": (19,), "qvel": (18,), "qacc_warmstart": (18,), "prop_pos": (3,), "tcp": (3,), "frame": (18,)}
    zeros = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    return Settled(points=jnp.zeros((len(spec.points), 3)), **zeros)
