"""Triangles as a binary glTF file, the format of meshes in browsers."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mjx_metaworld.view.drawables import Part

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125  # glTF's component types
_ARRAY, _ELEMENTS = 34962, 34963  # its targets of buffers
_REPEAT = 10497  # its wrapping of textures
_OPAQUE = 0.995  # MuJoCo's bound: what is less, it blends
_ROUGH = 0.7


def to_glb(parts: Sequence[Part]) -> bytes:
    """One mesh of all parts; those that look alike are drawn as one."""
    writer = _Writer()
    alike: dict[tuple[bytes, bytes], list[Part]] = {}
    for part in parts:
        key = part.rgba.tobytes(), b"" if part.image is None else part.image.tobytes()
        alike.setdefault(key, []).append(part)
    for same in alike.values():
        writer.add(same)
    return writer.close()


class _Writer:
    """Collects what a file holds."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._primitives: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []

    def add(self, parts: Sequence[Part]) -> None:
        """Add a primitive of parts that look alike."""
        columns = [np.concatenate([part.triangles.corners for part in parts]).reshape(-1, 3)]
        columns.append(np.concatenate([part.triangles.normals for part in parts]).reshape(-1, 3))
        if parts[0].uv is not None:
            columns.append(np.concatenate([part.uv for part in parts if part.uv is not None]).reshape(-1, 2))
        rows = np.concatenate(columns, axis=1).astype(np.float32)
        unique, index = np.unique(rows.round(6), axis=0, return_inverse=True)
        attributes = {"POSITION": self._array(unique[:, :3], _ARRAY, bounds=True)}
        attributes["NORMAL"] = self._array(unique[:, 3:6], _ARRAY)
        if parts[0].uv is not None:
            attributes["TEXCOORD_0"] = self._array(unique[:, 6:8], _ARRAY)
        small = len(unique) < 2**16
        indices = self._array(index.reshape(-1).astype(np.uint16 if small else np.uint32), _ELEMENTS)
        self._primitives.append(
            {"attributes": attributes, "indices": indices, "material": self._material(parts[0].rgba, parts[0].image)}
        )

    def close(self) -> bytes:
        """The file."""
        content: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": self._primitives}],
            "materials": self._materials,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._bytes)}],
        }
        if self._images:
            content["images"] = self._images
            content["samplers"] = [{"wrapS": _REPEAT, "wrapT": _REPEAT}]
            content["textures"] = [{"source": i, "sampler": 0} for i in range(len(self._images))]
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(self._bytes), 0x004E4942) + bytes(self._bytes)
        return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks

    def _view(self, content: bytes, **more: int) -> int:
        self._views.append({"buffer": 0, "byteOffset": len(self._bytes), "byteLength": len(content), **more})
        self._bytes += content + b"\0" * (-len(content) % 4)
        return len(self._views) - 1

    def _array(self, values: np.ndarray, target: int, *, bounds: bool = False) -> int:
        kind = {"f": _FLOAT, "u": _UINT16 if values.itemsize == 2 else _UINT32}[values.dtype.kind]
        accessor = {
            "bufferView": self._view(np.ascontiguousarray(values).tobytes(), target=target),
            "componentType": kind,
            "count": len(values),
            "type": "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}",
        }
        if bounds:
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def _material(self, rgba: np.ndarray, image: np.ndarray | None) -> int:
        look: dict[str, Any] = {
            "baseColorFactor": [*_linear(rgba[:3]), float(rgba[3])],
            "metallicFactor": 0.0,
            "roughnessFactor": _ROUGH,
        }
        if image is not None:
            look["baseColorTexture"] = {"index": len(self._images)}
            view = self._view(_jpeg(image))
            self._images.append({"bufferView": view, "mimeType": "image/jpeg"})
        # Both sides, since some of the robot's meshes have holes, behind which their insides are seen.
        material: dict[str, Any] = {"pbrMetallicRoughness": look, "doubleSided": True}
        if rgba[3] < _OPAQUE:
            material["alphaMode"] = "BLEND"
        self._materials.append(material)
        return len(self._materials) - 1


def _linear(color: np.ndarray) -> list[float]:
    """Displayed colour to the linear one that glTF asks for."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4).tolist()


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "jpeg", quality=85)
    return buffer.getvalue()
