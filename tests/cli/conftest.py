"""Commands' tests leave nothing behind."""

from __future__ import annotations

import pytest

from mjx_metaworld.cli import imports


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command imports is none of the next test's."""
    monkeypatch.setattr(imports, "_given", [])
