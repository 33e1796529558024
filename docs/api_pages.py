"""The documentation's reference of the API: pages on which mkdocstrings sets the docstrings of all public names."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any, NamedTuple

import field_tables

import mjx_metaworld as mw


class Page(NamedTuple):
    """A page: names of packages that list what is public, or rooms of the package's root."""

    title: str
    about: str
    rooms: tuple[str, ...] = ()  # whose names stand at the package's root
    packages: tuple[str, ...] = ()  # all public names of each
    modules: tuple[str, ...] = ()  # as a whole


PAGES = {
    "environments": Page(
        "Environments",
        "What a training loop needs: `import mjx_metaworld as mw`, then `mw.make`.",
        rooms=("env", "vector", "types", "suites", "compile", "experts", "trials"),
    ),
    "physics": Page("Physics and scenes", "Accuracy, layout, and what a scene may hold.", rooms=("physics", "scenes")),
    "rendering": Page(
        "Pictures and trajectories",
        "Drawn by OpenGL, on the device, or in a browser.",
        rooms=("rendering", "view", "trajectory"),
    ),
    "randomise": Page("Randomisation", "`mw.randomise`: terms that a reset draws.", packages=("randomise",)),
    "tasks": Page("Tasks of your own", "`from mjx_metaworld.tasks import task`.", packages=("tasks",)),
    "training": Page("Training", "The extra `train`.", packages=("training",)),
    "adapters": Page(
        "Adapters",
        "The same environments for other libraries.",
        packages=("adapters.gymnasium",),
        modules=(
            "adapters.brax",
            "adapters.brax_system.System",
            "adapters.gymnax",
            "adapters.torch",
            "adapters.rsl_rl",
            "adapters.skrl",
        ),
    ),
}


def page(name: str) -> str:
    """A page in Markdown."""
    content = PAGES[name]
    package = mw.__name__
    paths = [_path(mw, public) for public in _of_rooms(content.rooms)]
    for each in content.packages:
        module = importlib.import_module(f"{package}.{each}")
        paths += [_path(module, public) for public in module.__all__ if not _is_module(module, public)]
    blocks = [f"::: {path}{_fields(path)}" for path in paths]
    # Importing these would need the library that each of them is for.
    blocks += [f"::: {package}.{each}\n    options: {{show_root_heading: true}}" for each in content.modules]
    return "\n\n".join([f"# {content.title}", content.about, *blocks]) + "\n"


def index() -> str:
    """The list of the pages."""
    rows = [f"- [{content.title}]({name}.md): {content.about}" for name, content in PAGES.items()]
    return "\n".join(["# Reference", "", *rows]) + "\n"


def _of_rooms(rooms: tuple[str, ...]) -> list[str]:
    homes = {name: importlib.import_module(f"{mw.__name__}.{home}") for name, home in mw._HOMES.items()}
    return [name for name in mw.__all__ if homes[name].__name__.split(".")[1] in rooms and not _is_module(mw, name)]


def _is_module(package: ModuleType, name: str) -> bool:
    return isinstance(getattr(package, name), ModuleType)


def _fields(path: str) -> str:
    """The fields of a data class as a table, which mkdocstrings would give without the comments beside them."""
    home, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(home), name)
    has_fields = inspect.isclass(value) and (hasattr(value, "_fields") or hasattr(value, "__dataclass_fields__"))
    return f"\n\n{field_tables.fields(value)}" if has_fields else ""


def _path(package: ModuleType, name: str) -> str:
    """Where a public name is defined: mkdocstrings reads sources and imports nothing."""
    value: Any = getattr(package, name)
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and home.startswith(mw.__name__) and hasattr(value, "__qualname__"):
        return f"{home}.{value.__qualname__}"
    return f"{package.__name__}.{name}"
