"""Copies, by `copy` or `pickle`, that share what the first has compiled.

What holds compiled programs, such as an engine, is copied as itself within a process: `reduce_to_itself`. An
environment has copies of its own, so that one can be changed, which are equal until then: `EqualCopies`.

`jax.jit` knows a function again if it equals one that it has seen. Two bound methods of Python are equal only if they
belong to the same object, so `jax.jit(copy.step)` would compile anew. A `shared_method` equals that of an equal object.
"""

from __future__ import annotations

import copy
import difflib
import functools
import types
import uuid
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

_MISSPELT = 0.85  # likeness of two names, from 0 to 1, above which one is meant to be the other

_alive: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def reduce_to_itself(item: Any, make: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """`item.__reduce__()` of an immutable object: itself where it is alive, `make(*args)` in another process."""
    token = vars(item).get("_token")
    if token is None:
        token = vars(item)["_token"] = uuid.uuid4().hex
        _alive[token] = item
    return _find_or_make, (token, make, args)


def _find_or_make(token: str, make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    item = _alive.get(token)
    if item is None:
        item = _alive[token] = make(*args)
        vars(item)["_token"] = token
    return item


class EqualCopies:
    """An object whose copies share its attributes, and equal it until one of them is changed.

    A class names the attributes that tell its objects apart, and those that follow from these. When one of the former
    is set, what was computed of it (`functools.cached_property`) is forgotten.
    """

    _options: ClassVar[tuple[str, ...]]
    _derived: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._options:
            for derived in self._derived:
                if isinstance(getattr(type(self), derived, None), functools.cached_property):
                    vars(self).pop(derived, None)
        elif not name.startswith("_") and name not in vars(self) and not hasattr(type(self), name):
            near = difflib.get_close_matches(name, self._options, n=1, cutoff=_MISSPELT)
            if near:  # one of another's own would be set, and change nothing
                raise AttributeError(f"{type(self).__name__} has no option {name!r}; did you mean {near[0]}?")
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        # What can be changed itself, such as a batch's environment, is the copy's own too.
        own = {name: value for name, value in vars(self).items() if isinstance(value, EqualCopies)}
        vars(twin).update(copy.deepcopy(own, memo))
        return twin

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and isinstance(other, EqualCopies) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(self.content())

    def content(self) -> tuple[Any, ...]:
        """The values of all options, and which attributes there are besides."""
        more = [(name, id(vars(self)[name])) for name in self.added()]
        return *(getattr(self, name) for name in self._options), *more

    def added(self) -> list[str]:
        """Names of the attributes that the class does not know of, such as methods in place of its own."""
        return sorted(vars(self).keys() - {*self._options, *self._derived})


class BoundMethod:
    """A method of an object, equal to the same method of an equal object."""

    def __init__(self, function: Callable[..., Any], owner: Any) -> None:
        # Name, documentation, and the signature without `self`, which JAX asks for.
        functools.update_wrapper(self, types.MethodType(function, owner))
        self.__func__, self.__self__ = function, owner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        return self.__func__(self.__self__, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ == other.__self__

    def __hash__(self) -> int:
        return hash((self.__func__, self.__self__))

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)

    def __repr__(self) -> str:
        return f"<bound method {self.__func__.__qualname__} of {self.__self__!r}>"


class _SharedMethod:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self._function if owner is None else BoundMethod(self._function, owner)


if TYPE_CHECKING:

    def shared_method(function: Method) -> Method:
        """A pure method, of which equal objects have equal ones."""
        return function
else:
    shared_method = _SharedMethod
