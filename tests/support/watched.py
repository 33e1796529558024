"""A simulation without dynamics to be watched, compiled once a process."""

from __future__ import annotations

import functools

import jax.numpy as jnp

import mjx_metaworld as mw
from mjx_metaworld.episodes import batched
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.view.sources import Recording, Simulation, spread

STEPS = 40  # of an episode
LANES = 2


@functools.cache
def _prepared() -> Simulation:
    env = mw.make("reach-v3", max_episode_steps=STEPS, engine=KinematicEngine)
    scripted = mw.expert(env)
    act = batched(lambda obs, task, key: jnp.clip(scripted(obs, task), -1.0, 1.0))
    simulation = Simulation(env, act, spread(1, LANES))
    simulation.prepare()
    return simulation


def watched() -> Simulation:
    """Reach by its expert in two lanes, from the start."""
    simulation = _prepared()
    simulation.restart(spread(1, LANES))
    simulation.release()
    return simulation


@functools.cache
def recorded() -> Recording:
    """A whole episode of it."""
    simulation = watched()
    simulation.extend(STEPS)
    return Recording(simulation.specs, simulation.frames())
