"""Parameters of an episode that a reset draws: `mw.make(..., randomise=[mw.randomise.friction(0.5, 1.5)])`.

A term is a pure function `(key, drawn, nominal) -> drawn` of one environment. Those here are made by functions that
take the range of what they draw; one's own stand beside them:

    def heavy_and_slippery(key, drawn, nominal):
        mass, friction = jax.random.uniform(key, (2,), minval=0.5, maxval=2.0)
        dynamics = drawn.dynamics.replace(free_mass=mass, friction=1.0 / friction)
        return drawn.replace(dynamics=dynamics)
"""

from __future__ import annotations

from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.randomise.drawing import Term, parameters
from mjx_metaworld.randomise.structs import Delay, Noise, Nominal, Randomised, Repeat
from mjx_metaworld.randomise.terms import (
    action_delay,
    action_noise,
    action_repeat,
    actuator_gain,
    friction,
    gravity,
    initial_joint_noise,
    joint_damping,
    object_mass,
    observation_noise,
)

__all__ = [
    "Delay",
    "Dynamics",
    "Noise",
    "Nominal",
    "Randomised",
    "Repeat",
    "Term",
    "action_delay",
    "action_noise",
    "action_repeat",
    "actuator_gain",
    "friction",
    "gravity",
    "initial_joint_noise",
    "joint_damping",
    "object_mass",
    "observation_noise",
    "parameters",
]
