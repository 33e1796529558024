"""Physical parameters of an environment as brax's `sys`, which a `randomization_fn(sys, rng)` varies lane by lane."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.keys import PRNGKey
from mjx_metaworld.observation import OBSERVATION_SIZE
from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.randomise.drawing import SHAPES, parameters
from mjx_metaworld.randomise.structs import Nominal, Randomised
from mjx_metaworld.types import State

# What is varied here in place of an array of MuJoCo's model, which has an entry a geom, body or dof of one scene.
_IN_PLACE_OF = {
    "geom_friction": "friction",
    "pair_friction": "friction",
    "body_mass": "free_mass and part_mass",
    "body_inertia": "free_mass and part_mass",
    "dof_damping": "damping",
    "actuator_gainprm": "gain",
    "actuator_biasprm": "gain",
    "opt": "gravity",
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)  # no struct of flax, whose own `replace` would not tell which names there are
class System:
    """Physical parameters that a `randomization_fn` may set, the same ones as `mw.randomise.Dynamics` holds.

    One system serves all tasks of an environment, so that masses, friction, damping and gains are factors of what a
    lane's scene has: 1 is the scene as its file has it. In the tree of `in_axes` the fields are axes, or None.
    """

    gravity: Any  # (3,) m/s^2
    friction: Any  # () factor of all geoms' friction, and so of all contacts'
    free_mass: Any  # () factor of mass and inertia of the free body
    part_mass: Any  # () factor of mass and inertia of the fixture's moving part
    damping: Any  # (18,) factors of the dofs' damping
    gain: Any  # (2,) factors of the finger servos' kp

    def tree_replace(self, params: Mapping[str, Any]) -> System:
        """The same with other values, or axes, of some parameters by name.

        Raises:
            AttributeError: for a name that there is not; the message has those that there are.
        """
        for name in params:
            if name not in SHAPES:
                raise AttributeError(_unknown(name))
        return replace(self, **params)

    def replace(self, **params: Any) -> System:
        """The same as `tree_replace`, the names as keywords."""
        return self.tree_replace(params)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_unknown(name))


def _unknown(name: str) -> str:
    like = _IN_PLACE_OF.get(name.split(".")[0])
    hint = f"in its place is {like}; " if like else ""
    return f"there is no {name!r} to randomize: {hint}a system has {', '.join(SHAPES)}"


def system_of(env: MetaWorldEnv) -> System:
    """The scenes of an environment as their files have them.

    Raises:
        ValueError: if the scenes have gravities of their own, of which a system could hold only one.
    """
    rows = env.engine.scenes.gravity
    gravities = np.atleast_2d(env.engine.arm.gravity if rows is None else rows)
    if not np.all(gravities == gravities[0]):
        raise ValueError(
            "a randomization_fn is given one gravity, and the scenes of these tasks have several: "
            f"{np.unique(gravities, axis=0).tolist()}; draw them by terms, mw.make(..., randomise=[...])"
        )
    with jax.ensure_compile_time_eval():  # it outlives the function that is being traced
        ones = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
        return System(**ones | {"gravity": jnp.asarray(gravities[0], float)})


def chosen_of(system: System, usual: System) -> Dynamics:
    """The parameters of one lane that a system sets; None of those that it leaves as the scenes have them.

    Args:
        system: of one lane.
        usual: the system of the scenes as they are.

    Raises:
        TypeError: if that is no `System`.
        ValueError: if a parameter has not the shape of one lane's.
    """
    if not isinstance(system, System):
        raise TypeError(f"a randomization_fn must return the system that it was given, with changes, got {system!r}")
    changes = {}
    for name, shape in SHAPES.items():
        value = getattr(system, name)
        if not isinstance(value, Tracer) and np.array_equal(value, getattr(usual, name)):
            continue
        if value is None or jnp.shape(value) != shape:
            got = "None" if value is None else f"shape {jnp.shape(value)}"
            hint = "where lanes differ, its in_axes is 0"
            raise ValueError(f"{name} must have shape {shape} in each lane, got {got}; {hint}")
        changes[name] = jnp.asarray(value, float)
    return Dynamics(**changes)


def names_of(dynamics: Dynamics) -> tuple[str, ...]:
    """The parameters that have values."""
    return tuple(field.name for field in fields(dynamics) if getattr(dynamics, field.name) is not None)


@dataclass(frozen=True)
class _Room:
    """A term that gives the episode parameters without effect, in whose place those of a system are put."""

    names: tuple[str, ...]

    def __call__(self, key: PRNGKey, drawn: Randomised, nominal: Nominal) -> Randomised:
        """Draw nothing."""
        without_effect = {name: jnp.ones(SHAPES[name]) for name in self.names} | {"gravity": nominal.gravity}
        missing = [name for name in self.names if getattr(drawn.dynamics, name) is None]
        return drawn.replace(dynamics=drawn.dynamics.replace(**{name: without_effect[name] for name in missing}))


def with_room(env: MetaWorldEnv, names: tuple[str, ...]) -> MetaWorldEnv:
    """The environment with states that hold the parameters of these names; itself for none.

    Raises:
        ValueError: if its observations would have to show them and do not, since no term draws them.
    """
    if not names:
        return env
    if env.privileged:
        drawn = jax.eval_shape(env.draw_parameters, jax.random.key(0), jnp.int32(0))
        assert drawn is not None, "privileged observations show what is randomised"
        hidden = sorted(set(names) - set(names_of(drawn.dynamics)))
        if hidden:
            raise ValueError(
                f"privileged observations would not show {', '.join(hidden)}, which randomization_fn sets and no term "
                "draws; name such a term too, for example mw.randomise.friction(1, 1)"
            )
    room = copy.copy(env)
    room.randomise = (*(env.randomise or ()), _Room(names))
    return room


def choose(env: MetaWorldEnv, state: State, chosen: Dynamics) -> State:
    """A state of one environment with chosen parameters, which its observation shows if it is privileged.

    Args:
        env: with room for them.
        state: of that.
        chosen: the parameters; None for those that stay.
    """
    names = names_of(chosen)
    if not names:
        return state
    drawn = state.randomised
    drawn = drawn.replace(dynamics=drawn.dynamics.replace(**{name: getattr(chosen, name) for name in names}))
    state = state.replace(randomised=drawn)
    if not env.privileged:
        return state
    shown = parameters(drawn).astype(state.obs.dtype)
    return state.replace(obs=state.obs.at[OBSERVATION_SIZE : OBSERVATION_SIZE + len(shown)].set(shown))


def chosen_in(state: State, names: tuple[str, ...]) -> Dynamics:
    """The parameters of these names that a state has."""
    return Dynamics(**{name: getattr(state.randomised.dynamics, name) for name in names})
