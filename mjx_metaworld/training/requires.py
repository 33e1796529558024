"""The packages of the extra `train`, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str) -> Any:
    """Import a module of the extra.

    Raises:
        ImportError: if it is missing, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"training needs {module.split('.')[0]}, which is missing: install mjx_metaworld with its extra, "
            "pip install 'mjx-metaworld[train]'"
        ) from error
