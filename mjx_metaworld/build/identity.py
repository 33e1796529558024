"""Names of tables and tasks that are the same in all processes, for what is kept from one to the next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mjx_metaworld.processes.archive import describe
from mjx_metaworld.processes.cache import digest_of
from mjx_metaworld.processes.code import digest_of_value
from mjx_metaworld.scenes.catalog import load_scene, scene_content
from mjx_metaworld.tasks.registry import is_built_in
from mjx_metaworld.tasks.spec import TaskSpec


def all_built_in(specs: Sequence[TaskSpec]) -> bool:
    """True if all tasks are this package's, so that their names and its code tell what they compute."""
    return all(is_built_in(spec) for spec in specs)


def declarations(specs: Sequence[TaskSpec]) -> dict[str, str]:
    """Digests of the tasks that are not this package's, by their names and the Python that compiled their functions."""
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return {
        f"{spec.name} ({python})": digest_of(digest_of_value(spec), _scene(spec))[:16]
        for spec in specs
        if not is_built_in(spec)
    }


def _scene(spec: TaskSpec) -> str:
    scene = spec.scene_spec
    return scene.name if scene.own is None else scene_content(load_scene(scene))


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
