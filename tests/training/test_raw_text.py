"""Text of orbax's own beside an error that it raises."""

from __future__ import annotations

import logging
import sys

import pytest

from mjx_metaworld.training.raw_text import without_raw_text


def shown(path: str, level: int) -> bool:
    """Whether absl's logger would print a record that is written in a file."""
    absl = logging.getLogger("absl")
    return bool(absl.filter(logging.LogRecord("absl", level, path, 1, "is there already", None, None)))


def test_warnings_and_errors_of_orbax_are_left_out_meanwhile_and_after_one_that_was_raised(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # which goes back at the end
    absl = logging.getLogger("absl")
    before = list(absl.filters), list(logging.getLogger("asyncio").filters)
    ours, others = "site-packages/orbax/checkpoint/utils.py", "site-packages/tensorstore/__init__.py"
    try:
        with without_raw_text():
            assert [shown(ours, level) for level in (logging.INFO, logging.WARNING, logging.ERROR)] == [
                True,
                False,
                False,
            ]
            assert shown(others, logging.ERROR)
        assert shown(ours, logging.ERROR)
        with pytest.raises(OSError, match="full"), without_raw_text():
            raise OSError("full")
        assert not shown(ours, logging.ERROR)  # which a thread of its may print later
    finally:
        absl.filters[:], logging.getLogger("asyncio").filters[:] = before
