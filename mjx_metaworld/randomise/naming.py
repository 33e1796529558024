"""Terms by their text, as a command line or a file holds them."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

from mjx_metaworld.randomise import terms as ready_made
from mjx_metaworld.randomise.drawing import Term, check_terms

_MAKERS: dict[str, Callable[[Any, Any], Term]] = {
    maker.__name__: maker
    for maker in (
        ready_made.friction,
        ready_made.object_mass,
        ready_made.joint_damping,
        ready_made.actuator_gain,
        ready_made.gravity,
        ready_made.initial_joint_noise,
        ready_made.action_repeat,
        ready_made.action_delay,
        ready_made.action_noise,
        ready_made.observation_noise,
    )
}


def terms_of(given: str | Term | Iterable[str | Term]) -> tuple[Term, ...]:
    """Terms, each given as such or by its text, see `term_of`.

    Raises:
        ValueError: for the text of no term.
        TypeError: for what is neither.
    """
    each = (given,) if isinstance(given, str) or callable(given) else given
    return check_terms([term_of(term) if isinstance(term, str) else term for term in each])


def term_of(text: str) -> Term:
    """Term from a text: `friction=0.5,1.5` with the bounds of a ready-made one, or `module:function` of one's own.

    Raises:
        ValueError: if there is none of this name, if its bounds are no numbers or out of range, or if a module cannot
            be imported or has no such function.
    """
    place = _place_of(text)
    if place is None:
        return _ready_made(text)
    module, function = place
    try:
        (term,) = check_terms([getattr(importlib.import_module(module), function)])
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"cannot load the term {text!r}: {error}") from error
    return term


def check_text(text: str) -> None:
    """Check a term's text without importing anything: that of a file may name any module.

    Raises:
        ValueError: if it is none, as `term_of`, or names a module that is there and a function that it has not.
    """
    if _place_of(text) is None:
        _ready_made(text)
    elif missing_module(text) is None:
        term_of(text)


def missing_module(text: str) -> str | None:
    """Module that a term's text names and this process has not imported; None where there is none."""
    place = _place_of(text)
    return None if place is None or place[0] in sys.modules else place[0]


def _place_of(text: str) -> tuple[str, str] | None:
    """Module and function of a term of one's own; None of a ready-made one."""
    if "=" in text:
        return None
    module, colon, function = text.partition(":")
    if not (module and colon and function):
        names = ", ".join(_MAKERS)
        raise ValueError(
            f"unknown term {text!r}; expected NAME=LOW,HIGH with one of {names}, or an import path module:function"
        )
    return module, function


def _ready_made(text: str) -> Term:
    name, _, bounds = text.partition("=")
    name = name.strip()
    if name not in _MAKERS:
        near = difflib.get_close_matches(name, _MAKERS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_MAKERS)}"
        raise ValueError(f"no term is called {name!r}; {hint}")
    try:
        low, high = (_number(bound) for bound in bounds.split(","))
    except ValueError:
        raise ValueError(f"a term takes two numbers, such as {name}=0,1, got {text!r}") from None
    try:
        return _MAKERS[name](low, high)
    except TypeError as error:  # of a fraction where an integer is meant
        raise ValueError(str(error)) from error


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
