"""Arguments that all commands share on the command line, beside their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from tyro.conf import UseAppendAction, arg

T = TypeVar("T")

_IMPORT = arg(name="import", metavar="FILE.py|MODULE", help="a file or module that declares tasks of your own")


@dataclass(frozen=True)
class Invocation(Generic[T]):
    """A command's own arguments, and what all commands share."""

    command: T
    # `imports.import_tasks` has read these before the other arguments, which may name their tasks, are checked.
    imports: Annotated[UseAppendAction[tuple[str, ...]], _IMPORT] = ()
    json: bool = False  # print the result as JSON on stdout, and everything else on stderr
