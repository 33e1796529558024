"""A simulation without dynamics to be watched, compiled once a process."""

from __future__ import annotations

import functools

import jax.numpy as jnp

import mjx_metaworld as mw
from mjx_metaworld.episodes import batched
from mjx_metaworld.testing import KinematicEngine
from mjx_metaworld.view.sources import Recording, Simulation, spread

STEPS = 38  # of an episode: no multiple of those that one call of the simulation takes
LANES = 2


@functools.cache
def _prepared(tasks: tuple[str, ...]) -> Simulation:
    env = mw.make(tasks, max_episode_steps=STEPS, engine=KinematicEngine)
    scripted = mw.expert(env)
    act = batched(lambda obs, task, key: jnp.clip(scripted(obs, task), -1.0, 1.0))
    simulation = Simulation(env, act, spread(len(tasks), LANES))
    simulation.prepare()
    return simulation


def watched(tasks: tuple[str, ...] = ("reach-v3",)) -> Simulation:
    """Reach, or other tasks, by their experts in two lanes, from the start."""
    simulation = _prepared(tasks)
    simulation.restart(spread(len(tasks), LANES))
    simulation.release()
    return simulation


@functools.cache
def recorded() -> Recording:
    """A whole episode of it."""
    simulation = watched()
    simulation.extend(STEPS)
    return Recording(simulation.specs, simulation.frames())
