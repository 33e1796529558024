"""Tables of what declarations are made of, written into the guide: `python docs/field_tables.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import scene_elements

from mjx_metaworld.cli.markdown import rewrite_section
from mjx_metaworld.tasks import Placement, RewardInputs, Settled, TaskSpec, placement, rewards, task

GUIDE = Path(__file__).parent / "guides" / "new_task.md"
_FIELD = re.compile(r"^    (\w+): (.+?)(?: = (.+?))?(?:  # (.+))?$", re.MULTILINE)


def main(path: Path = GUIDE) -> None:
    """Write all tables between their markers in the guide."""
    for name, table in tables().items():
        rewrite_section(path, name, table)


def tables() -> dict[str, str]:
    """The tables in Markdown, by the names of their sections."""
    return {
        "spec": _table(("field of `TaskSpec`", "type", "default", "what"), _spec()),
        "inputs": _table(("of `RewardInputs`", "shape", "what"), _arrays(RewardInputs)),
        "placement": _table(
            ("name", "shape", "what"),
            [
                *((f"`settled.{name}`", *rest) for name, *rest in _arrays(Settled, mark="")),
                *((f"`Placement.{name}`", *rest) for name, *rest in _arrays(Placement, mark="")),
            ],
        ),
        "elements": _table(("in a file", "check", "what"), scene_elements.rows()),
        "helpers": _table(("function", "what"), [*_functions(placement), *_functions(rewards)]),
    }


def fields(cls: type) -> str:
    """Table in Markdown of a data class's fields; empty if it has none."""
    rows = [
        (f"`{name}`", f"`{kind}`", f"`{default}`" if default else "", comment)
        for name, kind, default, comment in _FIELD.findall(inspect.getsource(cls).split("def ")[0])
    ]
    return _table(("field", "type", "default", "what"), rows) if rows else ""


def _table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _spec() -> Iterator[tuple[str, ...]]:
    """A row a field, described by its comment, else as an argument of `task`."""
    arguments = dict(re.findall(r"^ {8}(\w+): (.+)$", inspect.getsource(task), re.MULTILINE))
    for name, kind, default, comment in _FIELD.findall(inspect.getsource(TaskSpec).split("def ")[0]):
        needed = f"`{default}`" if default else "needed"
        yield f"`{name}`", f"`{kind}`", needed, comment or arguments[name].rstrip(".")


def _arrays(cls: type, mark: str = "`") -> Iterator[tuple[str, ...]]:
    """A row a field and property of a class of arrays."""
    for name, kind, _, comment in _FIELD.findall(inspect.getsource(cls).split("def ")[0]):
        yield f"{mark}{name}{mark}", _shape(kind), comment
    for name, member in vars(cls).items():
        if isinstance(member, property):
            assert member.fget is not None
            yield f"{mark}{name}{mark}", _shape(member.fget.__annotations__["return"]), _first_line(member)


def _shape(annotation: str) -> str:
    found = re.search(r"[\"'](.*)[\"']", annotation)
    assert found is not None
    sizes = found[1].split()
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _functions(module: ModuleType) -> Iterator[tuple[str, ...]]:
    short = module.__name__.rpartition(".")[2]
    for name, function in vars(module).items():
        # A jitted function is found by what it wraps.
        own = inspect.isfunction(inspect.unwrap(function)) and function.__module__ == module.__name__
        if own and not name.startswith("_"):
            names = ", ".join(inspect.signature(function).parameters)
            yield f"`{short}.{name}({names})`", _first_line(function)


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


if __name__ == "__main__":
    main()
