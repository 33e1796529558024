"""Drawing of an episode's parameters by a list of terms, and their view as one vector."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mjx_metaworld.inputs.checks import real_array
from mjx_metaworld.inputs.keys import PRNGKey
from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.randomise import terms as ready_made
from mjx_metaworld.randomise.structs import Delay, Noise, Nominal, Randomised, Repeat

# Draws something of one environment's episode; a pure function, hashable, as all functions are.
Term: TypeAlias = Callable[[PRNGKey, Randomised, Nominal], Randomised]
# The parameters of `Dynamics`, in one environment.
SHAPES = {"gravity": (3,), "friction": (), "free_mass": (), "part_mass": (), "damping": (18,), "gain": (2,)}
_STRUCTS = {
    "dynamics": Dynamics,
    "action_repeat": Repeat | None,
    "action_delay": Delay | None,
    "action_noise": Noise | None,
    "observation_noise": Noise | None,
}


def check_terms(terms: Term | Iterable[Term]) -> tuple[Term, ...]:
    """One term or several as a tuple.

    Raises:
        TypeError: if one is no function, or cannot be hashed; the message shows it.
        ValueError: if two draw a parameter of which the later one alone would count; the message names them.
    """
    found: tuple[Any, ...] = (
        (terms,) if callable(terms) or isinstance(terms, str) or not isinstance(terms, Iterable) else tuple(terms)
    )
    for term in found:
        if inspect.isfunction(term) and term.__module__ == ready_made.__name__:  # which makes a term
            raise TypeError(f"randomise takes mw.randomise.{term.__name__}(...), got the function without a call")
        if not callable(term) or inspect.isclass(term):
            raise TypeError(f"randomise takes terms such as mw.randomise.friction(0.5, 1.5), got {term!r}")
        try:
            hash(term)
        except TypeError as error:
            raise TypeError(f"a term of randomise must be hashable, as functions are; {term!r} is not") from error
    alone = [term for term in found if _is_ready_made(term) and not term.combines]
    for name in dict.fromkeys(term.name for term in alone):
        same = [term for term in alone if term.name == name]
        if len(same) > 1:
            raise ValueError(f"randomise takes one term {name}, as the last alone would count, got {same}")
    return found


def are_ready_made(terms: Sequence[Term]) -> bool:
    """True if all terms are this package's, so that their names and bounds tell what they draw."""
    return all(map(_is_ready_made, terms))


def _is_ready_made(term: Any) -> bool:
    return type(term).__module__ == ready_made.__name__


def draw_by_terms(terms: Sequence[Term], key: PRNGKey, nominal: Nominal) -> Randomised:
    """Parameters of one environment's episode: each term in turn, with a key of its own.

    Args:
        terms: what to draw.
        key: the only source of randomness.
        nominal: the episode's task and scene.

    Raises:
        TypeError: if a term returns something else than a `Randomised`, or values of another shape or kind than it
            declares.
    """
    drawn = Randomised()
    for number, term in enumerate(terms):
        drawn = term(jax.random.fold_in(key, number), drawn, nominal)
        if not isinstance(drawn, Randomised):
            raise TypeError(f"term {term!r} must return mw.randomise.Randomised, got {type(drawn).__name__}")
    return _checked(drawn)


def _checked(drawn: Randomised) -> Randomised:
    """The same with JAX's default floats, in arrays of the declared shapes."""
    for name, kind in _STRUCTS.items():
        if not isinstance(value := getattr(drawn, name), kind):
            allowed = " or ".join(one.__name__.removesuffix("Type") for one in get_args(kind) or (kind,))
            raise TypeError(f"randomised {name} must be {allowed}, got {type(value).__name__}")
    dynamics = {name: _in_shape(name, getattr(drawn.dynamics, name), shape) for name, shape in SHAPES.items()}
    offset = _in_shape("joint_offset", drawn.joint_offset, (7,))
    drawn = drawn.replace(dynamics=drawn.dynamics.replace(**dynamics), joint_offset=offset)
    return jax.tree_util.tree_map_with_path(_in_default_type, drawn)


def _in_shape(name: str, value: Any, shape: tuple[int, ...]) -> Array | None:
    """A parameter of the declared shape, in JAX's default float."""
    if value is None:
        return None
    array = real_array(f"randomised {name}", value, error=TypeError)
    if array.shape != shape:
        raise TypeError(f"randomised {name} must have shape {shape}, got {array.shape}")
    return array.astype(float)


def _in_default_type(path: tuple[Any, ...], x: Any) -> Array:
    x = real_array(f"randomised {jax.tree_util.keystr(path).removeprefix('.')}", x, error=TypeError)
    return x.astype(float) if jnp.issubdtype(x.dtype, jnp.floating) else x


def neutral(drawn: Randomised, nominal: Nominal) -> Randomised:
    """Parameters of the same structure that change nothing: an episode as it is without them.

    Args:
        drawn: parameters of one environment, of which only shapes and types matter.
        nominal: the episode's task and scene.
    """
    ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), drawn.dynamics)
    if drawn.dynamics.gravity is not None:
        ones = ones.replace(gravity=nominal.gravity)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), drawn)
    if zeros.action_repeat is not None:
        zeros = zeros.replace(action_repeat=zeros.action_repeat.replace(steps=jnp.ones((), jnp.int32)))
    return zeros.replace(dynamics=ones)


def parameters(drawn: Randomised) -> Float[Array, " parameters"]:
    """The parameters as one vector, in the order of the structs' fields; what is pending and keys are left out.

    Args:
        drawn: of one environment; batch with `jax.vmap`.
    """
    few = drawn.replace(
        action_repeat=None if drawn.action_repeat is None else drawn.action_repeat.steps,
        action_delay=None if drawn.action_delay is None else drawn.action_delay.steps,
        action_noise=None if drawn.action_noise is None else drawn.action_noise.scale,
        observation_noise=None if drawn.observation_noise is None else drawn.observation_noise.scale,
    )
    flat = [jnp.ravel(x).astype(float) for x in jax.tree.leaves(few)]
    return jnp.concatenate(flat) if flat else jnp.zeros(0)


def count_parameters(terms: Sequence[Term], nominal: Nominal) -> int:
    """Number of the parameters that terms draw, by tracing them.

    Args:
        terms: what to draw.
        nominal: of an episode, of which only shapes and types matter.

    Raises:
        TypeError: as `draw_by_terms`.
    """
    drawn = jax.eval_shape(lambda nominal: parameters(draw_by_terms(terms, jax.random.key(0), nominal)), nominal)
    return drawn.shape[0]
