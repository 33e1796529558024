"""The packages of the extra `train`, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from mjx_metaworld.processes.installed import install_command


def require(module: str) -> Any:
    """Import a module of the extra.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"training needs {module.split('.')[0]}, which is missing: {install_command('train')}"
        ) from error
