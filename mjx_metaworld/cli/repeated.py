"""Options of several values that are given more than once: tyro takes the last alone, here all of them count."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any, get_origin, get_type_hints

_OPTION = re.compile("--?[A-Za-z]")  # not a negative number, which is a value


def options_of_several(arguments: type[Any]) -> set[str]:
    """Options of a dataclass of arguments that take several values: those whose fields are tuples."""
    fields = get_type_hints(arguments).items()
    return {_option(f"--{name}") for name, kind in fields if get_origin(kind) is tuple}


def joined(argv: Sequence[str], options: Collection[str]) -> list[str]:
    """Arguments with all values of a repeated option behind its first mention: `--set a b --set=c` as `--set a b c`.

    Args:
        argv: arguments of a command.
        options: that take several values.
    """
    end = argv.index("--") if "--" in argv else len(argv)  # behind it all are positional
    part: list[str] = []  # an option and the words behind it
    parts, given = [part], {}
    for word in argv[:end]:
        name, equals, value = word.partition("=")
        option = _option(name)
        if option in given:
            part = given[option]
            part += [value] if equals else []
        elif _OPTION.match(word):
            part = [word]
            parts.append(part)
            if option in options:
                given[option] = part
        else:
            part.append(word)
    return [*itertools.chain(*parts), *argv[end:]]


def _option(name: str) -> str:
    """An option's name with dashes; tyro takes both --num_envs and --num-envs."""
    return name.replace("_", "-")
