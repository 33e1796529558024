"""Tasks of one's own for the command line: Python files and modules that declare them, and installed packages.

A package offers its tasks by an entry point of the group `mjx_metaworld.tasks` that names the module to import.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from mjx_metaworld.cli.faults import blamed

GROUP = "mjx_metaworld.tasks"
FLAG = "--import"
_given: list[str] = []  # what the command that runs has imported


def named(argv: Sequence[str]) -> list[str]:
    """The files and modules that arguments name by `--import`, before anything else looks at the arguments."""
    following = itertools.zip_longest(argv, argv[1:])
    return [
        name if argument == FLAG else argument.removeprefix(f"{FLAG}=")
        for argument, name in following
        if argument.startswith(f"{FLAG}=") or (argument == FLAG and name is not None)
    ]


def import_tasks(argv: Sequence[str]) -> None:
    """Import what installed packages offer, then what the arguments name.

    Raises:
        ValueError: if something cannot be imported, with its name and the reason.
    """
    _given[:] = named(argv)
    serves_terms = any(argument.startswith("--randomise") for argument in argv)
    for point in entry_points(group=GROUP):
        blamed(point.load, f"entry point {point.name} of {GROUP}, {point.value}")
    for name in _given:
        is_file = name.endswith(".py") or "/" in name
        before, loaded = _declared(), set(sys.modules)
        module = blamed(functools.partial(_load_file if is_file else import_module, name), f"{FLAG} {name}")
        if module.__name__ not in loaded and _declared() == before and not serves_terms:
            print(f"mjx-metaworld: warning: {FLAG} {name} declares no task and no suite", file=sys.stderr)


def given_flags() -> str:
    """The `--import`s of the command that runs, to be repeated in one that it suggests; begins with a space."""
    return "".join(f" {FLAG} {shlex.quote(name)}" for name in _given)


def declaring_packages() -> set[str]:
    """Packages and modules that have declared tasks, by their names at the top; does not load this package."""
    functions = [function for spec in _declared()[0] for function in (spec.reward, spec.place)]
    modules = {str(getattr(function, "__module__", "")).partition(".")[0] for function in functions}
    return modules - {"mjx_metaworld", *sys.stdlib_module_names}


def _declared() -> tuple[list[Any], dict[str, tuple[str, ...]]]:
    """All tasks and suites from outside the package so far; does not load the package, which a file may configure."""
    registry, suites = (sys.modules.get(f"mjx_metaworld.{name}") for name in ("tasks.registry", "suites"))
    tasks = [] if registry is None else [spec for spec in registry.registered() if not registry.is_built_in(spec)]
    return tasks, {} if suites is None else suites.own_suites()


def import_module(name: str) -> ModuleType:
    """Import a module by its name, also from the current folder, as `python -m` does."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _load_file(name: str) -> ModuleType:
    """Run a file as a module of its own name; what lies beside it can be imported by it, as by a script."""
    path = Path(name).absolute()
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    loaded = next((module for module in sys.modules.values() if getattr(module, "__file__", None) == str(path)), None)
    if loaded is not None:
        return loaded
    if path.stem in sys.modules:
        raise ImportError(f"another module is called {path.stem}; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
