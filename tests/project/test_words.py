"""The rule of words: docstrings begin with a noun or a verb, and the glossary's words exist in the code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mjx_metaworld

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("mjx_metaworld", "benchmarks", "integrations") for path in (ROOT / folder).rglob("*.py")]
AVOIDED = {"What", "Where", "Whether", "How", "Which"}
TEXT, _, GLOSSARY = (ROOT / "docs" / "physics.md").read_text(encoding="utf-8").partition("\n## Glossary\n")
ENTRIES = dict(re.findall(r"^### (.+)\n\n((?:.+\n)+)", GLOSSARY, re.MULTILINE))


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of every docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def avoided(text: str) -> bool:
    """True if a docstring begins with a question word instead of a noun or a verb."""
    return text.split()[0].rstrip(",:") in AVOIDED


def resolve(name: str) -> Any:
    """The object of a dotted name below the package; a field without a default is its annotation.

    Raises:
        AttributeError: if there is no such module or object.
    """
    found: Any = mjx_metaworld
    for part in name.split("."):
        if hasattr(found, "__path__") and importlib.util.find_spec(f"{found.__name__}.{part}"):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            fields = getattr(found, "__annotations__", {})
            found = fields[part] if part in fields else getattr(found, part)
    return found


def test_docstrings_begin_with_a_noun_or_a_verb():
    texts = [(path, line, text) for path in SOURCES for line, text in docstrings(path)]
    assert len(texts) > 1000
    wrong = [f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}" for path, line, text in texts if avoided(text)]
    assert wrong == []


def test_the_glossary_has_ten_words():
    assert len(ENTRIES) == 10


@pytest.mark.parametrize("word", ENTRIES)
def test_a_word_of_the_glossary_is_used_and_names_identifiers(word):
    assert f"](#{word.lower().replace(' ', '-')})" in TEXT
    names = re.findall(r"`([a-z_]+(?:\.\w+)+)`", ENTRIES[word])
    assert names
    for name in names:
        resolve(name)
