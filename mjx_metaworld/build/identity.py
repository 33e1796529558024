"""Names of tables and tasks that are the same in all processes, for what is kept from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mjx_metaworld.processes.archive import describe
from mjx_metaworld.processes.cache import digest_of
from mjx_metaworld.tasks.registry import is_built_in
from mjx_metaworld.tasks.spec import TaskSpec


def all_built_in(specs: Sequence[TaskSpec]) -> bool:
    """True if all tasks are this package's, so that their names and its code tell what they compute."""
    return all(is_built_in(spec) for spec in specs)


def digest_of_tables(*tables: Any) -> str:
    """A digest of trees of arrays and options, by their content.

    Raises:
        TypeError: for what is neither a struct of this package nor an array, number or string.
    """
    leaves: list[Any] = []
    described = [describe(tree, leaves) for tree in tables]
    arrays = [np.ascontiguousarray(leaf) for leaf in jax.device_get(leaves)]
    shapes = [(array.shape, str(array.dtype)) for array in arrays]
    return digest_of(described, shapes, *(array.tobytes() for array in arrays))
