"""Ready-made terms. Each draws uniformly, once an episode.

Factors multiply with what terms before drew of the same parameter, offsets of joints add; what else there is takes the
place of it, so that `combines` is False and an environment has one such term at most.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mjx_metaworld.inputs.keys import PRNGKey, as_words
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.model import ARM_DOFS, FREE_DOFS
from mjx_metaworld.randomise.structs import Delay, Noise, Nominal, Randomised, Repeat

_ACTION_SIZE = 4
_FLOAT32 = np.finfo(np.float32)  # below its `tiny` XLA takes numbers for zero
_MOST_STEPS = 2**31 - 2  # one more has to fit into 32 bits, too


@dataclass(frozen=True)
class _Range:
    """A term that draws between two bounds.

    Raises:
        ValueError: if a bound is not finite in float32 or out of range, or if they are in the wrong order.
    """

    low: float
    high: float
    name: ClassVar[str]
    least: ClassVar[float] = 0.0
    most: ClassVar[float] = float(_FLOAT32.max)
    positive: ClassVar[bool] = False
    combines: ClassVar[bool] = True  # with what terms before it drew of the same parameter

    def __post_init__(self) -> None:
        for bound in ("low", "high"):
            value = getattr(self, bound)
            number = _as_float(value)
            if not math.isfinite(number):
                raise ValueError(f"{self.name} takes finite numbers, got {bound}={value!r:.40}")
            if number > self.most:
                raise ValueError(f"{self.name} must be at most {self.most:g}, got {bound}={number:g}")
            object.__setattr__(self, bound, number)
        if self.low < self.least or (self.positive and self.low <= 0.0):
            needed = "above 0" if self.positive else f"at least {self.least:g}"
            raise ValueError(f"{self.name} must be {needed}, got low={self.low:g}")
        if self.positive and self.low < _FLOAT32.tiny:
            raise ValueError(f"{self.name} must be at least {_FLOAT32.tiny:g} in float32, got low={self.low:g}")
        if self.low > self.high:
            raise ValueError(f"{self.name} takes low <= high, got low={self.low:g}, high={self.high:g}")

    def __repr__(self) -> str:
        return f"{self.name}({_exact(self.low)}, {_exact(self.high)})"  # by which kept programs are told apart

    def uniform(self, key: PRNGKey, shape: tuple[int, ...] = ()) -> Array:
        """Draw between the bounds, in JAX's default float."""
        return jax.random.uniform(key, shape, float, self.low, self.high)


def _as_float(value: object) -> float:
    """A real number as a float; NaN of all else, and of what no float holds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _exact(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _times(before: Array | None, factor: Array) -> Array:
    return factor if before is None else before * factor


def _with(drawn: Randomised, **changes: Array | None) -> Randomised:
    return drawn.replace(dynamics=drawn.dynamics.replace(**changes))


class Friction(_Range):
    """Factor of the friction of all geoms."""

    name = "friction"

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw it."""
        return _with(drawn, friction=_times(drawn.dynamics.friction, self.uniform(key)))


class ObjectMass(_Range):
    """Factor of mass and inertia of the free body and of the fixture's moving part."""

    name = "object_mass"
    positive = True

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw it."""
        factor, now = self.uniform(key), drawn.dynamics
        return _with(drawn, free_mass=_times(now.free_mass, factor), part_mass=_times(now.part_mass, factor))


class JointDamping(_Range):
    """Factors of the joints' damping."""

    name = "joint_damping"

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw them, one for all dofs of the free joint: a medium is the same in all directions."""
        factors = self.uniform(key, nominal.damping.shape)
        factors = factors.at[FREE_DOFS].set(factors[FREE_DOFS.start])
        return _with(drawn, damping=_times(drawn.dynamics.damping, factors))


class ActuatorGain(_Range):
    """Factors of the finger servos' gain."""

    name = "actuator_gain"
    positive = True

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw them."""
        return _with(drawn, gain=_times(drawn.dynamics.gain, self.uniform(key, nominal.gain.shape)))


class Gravity(_Range):
    """Gravity, downwards."""

    name = "gravity"
    combines = False

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw it."""
        return _with(drawn, gravity=jnp.zeros_like(nominal.gravity).at[2].set(-self.uniform(key)))


class InitialJointNoise(_Range):
    """Offsets of the arm's joints at the beginning of an episode."""

    name = "initial_joint_noise"
    least = -math.pi
    most = math.pi

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw them."""
        offset = self.uniform(key, (ARM_DOFS.stop,))
        return drawn.replace(joint_offset=offset if drawn.joint_offset is None else drawn.joint_offset + offset)


class _IntegerRange(_Range):
    def __post_init__(self) -> None:
        for bound in ("low", "high"):
            steps = check_integer(f"{self.name}'s {bound}", getattr(self, bound), int(self.least))
            check_integer(f"{self.name}'s {bound}", steps, int(self.least), _MOST_STEPS)
        super().__post_init__()

    def integer(self, key: PRNGKey) -> Array:
        """Draw one of the integers from the lower to the upper bound, these included."""
        return jax.random.randint(key, (), int(self.low), int(self.high) + 1, jnp.int32)


class ActionRepeat(_IntegerRange):
    """Control steps for which an action is held."""

    name = "action_repeat"
    least = 1.0
    combines = False

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw them."""
        return drawn.replace(action_repeat=Repeat(self.integer(key), jnp.zeros(_ACTION_SIZE)))


class ActionDelay(_IntegerRange):
    """Control steps by which an action comes late."""

    name = "action_delay"
    combines = False

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw them."""
        pending = jnp.zeros((max(int(self.high), 1), _ACTION_SIZE))
        return drawn.replace(action_delay=Delay(self.integer(key), pending))


class ActionNoise(_Range):
    """Standard deviation of noise on the action."""

    name = "action_noise"
    combines = False

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw it, and the key of the noise."""
        return drawn.replace(action_noise=_noise(key, self.uniform))


class ObservationNoise(_Range):
    """Standard deviation of noise on the observed positions."""

    name = "observation_noise"
    combines = False

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw it, and the key of the noise."""
        return drawn.replace(observation_noise=_noise(key, self.uniform))


def _noise(key: PRNGKey, draw: Callable[[PRNGKey], Array]) -> Noise:
    scale_key, noise_key = jax.random.split(key)
    words, key_impl = as_words(noise_key)
    return Noise(draw(scale_key), words, key_impl)


# --- what makes them ---


def friction(low: float, high: float) -> Friction:
    """Multiply the friction of all geoms, sliding and torsional, and so that of every contact, by one factor.

    MuJoCo takes the larger friction of two geoms, so this is a factor of each contact's friction.
    """
    return Friction(low, high)


def object_mass(low: float, high: float) -> ObjectMass:
    """Multiply mass and inertia of the free body and of the fixture's moving part by one factor, above 0."""
    return ObjectMass(low, high)


def joint_damping(low: float, high: float) -> JointDamping:
    """Multiply the damping of every joint by a factor of its own."""
    return JointDamping(low, high)


def actuator_gain(low: float, high: float) -> ActuatorGain:
    """Multiply kp of each finger's position servo by a factor of its own, above 0."""
    return ActuatorGain(low, high)


def gravity(low: float, high: float) -> Gravity:
    """Draw gravity, in m/s^2 downwards; the scenes have 9.81."""
    return Gravity(low, high)


def initial_joint_noise(low: float, high: float) -> InitialJointNoise:
    """Add an offset in rad to each of the arm's seven joints when an episode begins.

    The hand is welded to the mocap body, which stays where it is and draws it back: 0.02 rad are a centimetre or two at
    the hand, gone after some control steps.
    """
    return InitialJointNoise(low, high)


def action_repeat(low: int, high: int) -> ActionRepeat:
    """Hold every action for a number of control steps, those of a policy in between being dropped; 1 holds none."""
    return ActionRepeat(low, high)


def action_delay(low: int, high: int) -> ActionDelay:
    """Let actions come late by a number of control steps, the first of which the robot does not move in; 0 is at once.

    An action is as late in the whole episode.
    """
    return ActionDelay(low, high)


def action_noise(low: float, high: float) -> ActionNoise:
    """Add noise of a standard deviation to each of the four numbers of an action, before they are clipped to 1."""
    return ActionNoise(low, high)


def observation_noise(low: float, high: float) -> ObservationNoise:
    """Add noise of a standard deviation, in m, to the observed positions of hand and objects.

    The reward is that of the true positions. An observation shows the frame before with the noise that it had then.
    """
    return ObservationNoise(low, high)
