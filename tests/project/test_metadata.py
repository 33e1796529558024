"""Metadata of the wheel, as its build backend writes it."""

from __future__ import annotations

import tomllib
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Labels by which indexes show a project's own addresses, of which this one has none.
OWN = {"homepage", "repository", "source", "documentation", "changelog", "issues", "download", "funding"}


def test_the_addresses_are_those_of_the_reference_and_say_so(tmp_path, monkeypatch):
    backend = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    folder = backend.prepare_metadata_for_build_wheel(str(tmp_path))
    metadata = message_from_string((tmp_path / folder / "METADATA").read_text(encoding="utf-8"))
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert urls == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Reference (Meta-World)"] == "https://github.com/Farama-Foundation/Metaworld"
    assert not {label.lower() for label in urls} & OWN
    assert "Home-page" not in metadata
