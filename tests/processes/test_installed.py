"""The command that brings an extra, for each way to install this package."""

from __future__ import annotations

import importlib.metadata
import json
from types import SimpleNamespace

import pytest

from mjx_metaworld.processes.installed import install_command


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install 'mjx-metaworld[cli]'"),
        (
            {"url": "file:///home/me/my%20clone", "dir_info": {"editable": True}},
            "pip install -e '/home/me/my clone[cli]'",
        ),
        ({"url": "file:///home/me/clone", "dir_info": {}}, "pip install '/home/me/clone[cli]'"),
        (
            {"url": "https://example.org/mjx.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            "pip install 'mjx-metaworld[cli] @ git+https://example.org/mjx.git'",
        ),
        (
            {"url": "file:///tmp/mjx_metaworld-0.1.0.whl", "archive_info": {}},
            "pip install 'mjx-metaworld[cli] @ file:///tmp/mjx_metaworld-0.1.0.whl'",
        ),
    ],
)
def test_the_command_goes_where_the_package_came_from(monkeypatch, record, command):
    text = None if record is None else json.dumps(record)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    if record is None:
        monkeypatch.setattr("mjx_metaworld.processes.installed.__file__", "/site-packages/mjx_metaworld/processes/x.py")
    assert install_command("cli") == command
