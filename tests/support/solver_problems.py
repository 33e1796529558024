"""Constraint problems of MuJoCo C in one tile, as on a GPU or TPU."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

import mjx_metaworld as mw
from mjx_metaworld.parity.dissect import constraints_of, mass_of, record, to_lanes
from mjx_metaworld.physics.config import EngineConfig, Execution
from mjx_metaworld.physics.solver import Solution, solve
from mjx_metaworld.physics.tiles import TILES

SIZE = 8  # of a pack in the tests of packs
NUM_CONTACTS = 32  # all recorded states fit


def in_one_tile(fn, *args):
    """`fn` of lanes-last arrays, as the engine calls it where all environments are one tile."""
    out = mw.jit(jax.vmap(fn, axis_name=TILES))(*jax.tree.map(lambda x: jnp.asarray(x)[None], args))
    return jax.tree.map(lambda x: np.asarray(x)[0], out)


@functools.cache
def solved(execution: Execution) -> Solution:
    """The solution of all of `recorded` as an execution has it."""
    return in_one_tile(functools.partial(solve, config=EngineConfig(execution=execution)), *recorded()[0])


@functools.cache
def recorded():
    """MuJoCo's problems, several times over to fill packs, and its accelerations (18, L)."""
    states = [state for state in record() if len(state.contacts) <= NUM_CONTACTS]
    states = states * -(-4 * SIZE * 8 // len(states))
    problem = (
        mass_of(states),
        to_lanes([state.qfrc_smooth for state in states]),
        constraints_of(states, NUM_CONTACTS),
        to_lanes([state.qacc_warmstart for state in states]),
    )
    return problem, np.stack([state.qacc_exact for state in states], axis=-1)
