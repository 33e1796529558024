"""The packages of the extras for training, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from mjx_metaworld.processes.installed import install_command


def require(module: str, *, extra: str = "train", needed_by: str = "training") -> Any:
    """Import a module of an extra.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs {module.split('.')[0]}, which is missing: {install_command(extra)}"
        ) from error
