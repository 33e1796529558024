"""Pictures under the names that observations have for them, and their spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from mjx_metaworld.rendering.camera import Views

_FIELDS = {"pixels": "color", "depth": "depth", "segmentation": "label"}  # of `Views`
_LABELS = np.iinfo(np.int32)
_BOUNDS = {"pixels": (0, 255), "depth": (0.0, np.inf), "segmentation": (_LABELS.min, _LABELS.max)}


def named_pixels(pixels: Any) -> dict[str, Any]:
    """Pictures of cameras by name: "pixels", the colours, and with depth or segmentation "depth" and "segmentation"."""
    if isinstance(pixels, Views):
        return {name: getattr(pixels, field) for name, field in _FIELDS.items()}
    return {"pixels": pixels}


def picture_boxes(shapes: Mapping[str, Any]) -> dict[str, Box]:
    """Spaces of what `named_pixels` names, of which `shapes` holds whatever has a shape and a type."""
    boxes = {}
    for name, shape in shapes.items():
        low, high = _BOUNDS[name]
        boxes[name] = Box(low, high, shape.shape, np.dtype(shape.dtype).type)
    return boxes
