"""`DrawTables` on a drawing device, once for each device."""

from __future__ import annotations

import numpy as np
import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.structs import SceneArrays
from mjx_metaworld.rendering.tables import OPAQUE, DrawTables, Meshes

_FAINTEST = 1.0 / 512.0  # of a highlight, in shares of its peak; below half a step of a byte
_COARSE = 0.012  # metres of a mean edge above which a mesh is lit at its corners


class Uploaded:
    """The tables' arrays on a device, and the meshes that these refer to.

    Attributes:
        arrays: what the kernels take.
    """

    def __init__(self, tables: DrawTables, device: wp.Device) -> None:
        self.device = device
        self._meshes = [_mesh(v, f, device) for v, f in zip(tables.meshes.vertices, tables.meshes.faces, strict=True)]
        self.arrays = self._fill(tables)

    def _fill(self, tables: DrawTables) -> SceneArrays:
        slots, lights, view, textures = tables.slots, tables.lights, tables.view, tables.textures
        mesh = np.maximum(slots.mesh, 0)
        ids = np.array([one.id for one in self._meshes] or [0], np.uint64)
        coarse = _coarse(tables.meshes)
        exponent = np.maximum(slots.shine[..., 1], 1e-3)
        faintest = np.where(slots.shine[..., 0] > 0.0, _FAINTEST ** (1.0 / exponent), 2.0)
        caster = np.where(lights.casts.any(1), lights.casts.argmax(1), -1)
        mirror = np.where((slots.reflectance > 0.0).any(1), (slots.reflectance > 0.0).argmax(1), -1)
        columns = {
            "kind": (slots.kind, wp.int32),
            "size": (slots.size, wp.vec3),
            "low": (slots.low, wp.vec3),
            "high": (slots.high, wp.vec3),
            "body": (slots.body, wp.int32),
            "pos": (slots.pos, wp.vec3),
            "mat": (slots.mat, wp.mat33),
            "mesh": (ids[mesh], wp.uint64),
            "first": (tables.meshes.first[mesh] if len(tables.meshes.first) else mesh, wp.int32),
            "coarse": (coarse[mesh], wp.int32),
            "rgba": (slots.rgba, wp.vec4),
            "shine": (np.concatenate([slots.shine, faintest[..., None]], -1), wp.vec4),
            "reflectance": (slots.reflectance, wp.float32),
            "texture": (slots.texture, wp.int32),
            "scale": (slots.scale, wp.vec3),
            "geom": (slots.geom, wp.int32),
            "owner": (slots.owner, wp.int32),
            "fixed": (tables.fixed, wp.int32),
            "moving": (_bits(~tables.fixed), wp.uint32),
            "normals": (tables.meshes.normals, wp.vec3),
            "light_kind": (lights.kind, wp.int32),
            "light_pos": (lights.pos, wp.vec3),
            "light_dir": (lights.dir, wp.vec3),
            "light_ambient": (lights.ambient, wp.vec3),
            "light_diffuse": (lights.diffuse, wp.vec3),
            "light_specular": (lights.specular, wp.vec3),
            "light_range": (lights.falloff[..., :3], wp.vec3),
            "light_cone": (lights.falloff[..., 3:], wp.vec2),
            "num_lights": (lights.kind.shape[1] - (lights.kind[:, ::-1] != 0).argmax(1), wp.int32),
            "caster": (caster, wp.int32),
            "mirror": (mirror, wp.int32),
            "veils": (((slots.kind >= 0) & (slots.rgba[..., 3] < OPAQUE)).any(1), wp.int32),
            "floor": (_floor(tables), wp.float32),
            "near": (view.near, wp.float32),
            "shadow": (view.shadow, wp.float32),
            "texel": (view.texel, wp.float32),
            "sky": (view.sky, wp.int32),
            "pixels": (textures.pixels, wp.vec3ub),
            "texture_cube": (textures.cube, wp.int32),
            "texture_width": (textures.width, wp.int32),
            "texture_height": (textures.height, wp.int32),
            "texture_levels": (textures.levels, wp.int32),
            "texture_level": (textures.level, wp.int32),
        }
        arrays = SceneArrays()
        for name, (values, dtype) in columns.items():
            setattr(arrays, name, wp.array(np.ascontiguousarray(values), dtype=dtype, device=self.device))
        return arrays


def _bits(flags: np.ndarray) -> np.ndarray:
    """Words (rows, words) of 32 flags each."""
    rows, count = flags.shape
    padded = np.pad(flags, ((0, 0), (0, -count % 32))).reshape(rows, -1, 32)
    return (padded.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32)


def _floor(tables: DrawTables) -> np.ndarray:
    """Heights (scenes,) of the lowest corner of what never moves."""
    slots = tables.slots
    ends = np.stack([slots.low, slots.high], 2)
    up = slots.mat[:, :, None, 2]  # the world's height in the slot's frame
    lowest = slots.pos[..., 2] + (ends * up).min(2).sum(-1)
    return np.where(tables.fixed, lowest, np.inf).min(1, initial=np.inf)


def _mesh(vertices: np.ndarray, faces: np.ndarray, device: wp.Device) -> wp.Mesh:
    return wp.Mesh(
        points=wp.array(vertices.astype(np.float32), dtype=wp.vec3, device=device),
        indices=wp.array(faces.reshape(-1).astype(np.int32), dtype=wp.int32, device=device),
    )


def _coarse(meshes: Meshes) -> np.ndarray:
    """Flags of meshes whose triangles are so large that light differs between their corners and insides."""
    result = [0] * max(len(meshes.vertices), 1)
    for i, (vertices, faces) in enumerate(zip(meshes.vertices, meshes.faces, strict=True)):
        corners = vertices[faces]
        area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
        # Area by area, since it is the large triangles that are seen.
        edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
        result[i] = int((edge * area).sum() > _COARSE * area.sum())
    return np.array(result, np.int32)
