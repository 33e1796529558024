"""Messages that name the command which brings what is missing, by the way in which this package was installed."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from urllib.parse import unquote, urlparse

_NAME = "mjx-metaworld"


def install_command(extra: str) -> str:
    """Command of pip that installs an extra of this package from where the package came: a folder, git, a file."""
    return f"pip install {_arguments(extra)}"


def _arguments(extra: str) -> str:
    origin = _origin()
    if origin is None:
        checkout = Path(__file__).parents[2]
        if (checkout / "pyproject.toml").exists():  # not installed: found by PYTHONPATH
            return f"-e {shlex.quote(f'{checkout}[{extra}]')}"
        return shlex.quote(f"{_NAME}[{extra}]")
    url = origin["url"]
    if "dir_info" in origin:
        place = shlex.quote(f"{unquote(urlparse(url).path)}[{extra}]")
        return f"-e {place}" if origin["dir_info"].get("editable") else place
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return shlex.quote(f"{_NAME}[{extra}] @ {url}")


def _origin() -> dict | None:
    """Record by PEP 610 of where the package came from; None if from an index, or if it is not installed."""
    try:
        record = importlib.metadata.distribution(_NAME).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if record is None else json.loads(record)
