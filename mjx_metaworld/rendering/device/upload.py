"""`DrawTables` on a drawing device, once for each device."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.structs import Light, Scene, SceneArrays, Slot, Texture
from mjx_metaworld.rendering.tables import DrawTables, Meshes

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
        exponent = np.maximum(slots.shine[..., 1], 1e-3)
        faintest = np.where(slots.shine[..., 0] > 0.0, _FAINTEST ** (1.0 / exponent), 2.0)
        arrays = SceneArrays()
        arrays.rows = self._rows(
            Scene,
            num_lights=lights.kind.shape[1] - (lights.kind[:, ::-1] != 0).argmax(1),
            caster=np.where(lights.casts.any(1), lights.casts.argmax(1), -1),
            mirror=np.where((slots.reflectance > 0.0).any(1), (slots.reflectance > 0.0).argmax(1), -1),
            floor=_floor(tables),
            near=view.near,
            shadow=view.shadow,
            texel=view.texel,
            sky=view.sky,
        )
        arrays.slots = self._rows(
            Slot,
            **slots._replace(
                mesh=ids[mesh],
                shine=np.concatenate([slots.shine, faintest[..., None]], -1),
            )._asdict(),
            first=tables.meshes.first[mesh] if len(tables.meshes.first) else mesh,
            coarse=_coarse(tables.meshes)[mesh],
            fixed=tables.fixed,
        )
        arrays.lights = self._rows(
            Light,
            kind=lights.kind,
            pos=lights.pos,
            dir=lights.dir,
            ambient=lights.ambient,
            diffuse=lights.diffuse,
            specular=lights.specular,
            range=lights.falloff[..., :3],
            cone=lights.falloff[..., 3:],
        )
        arrays.textures = self._rows(
            Texture, cube=textures.cube, width=textures.width, height=textures.height, levels=textures.levels
        )
        arrays.moving = self._array(_bits(~tables.fixed), wp.uint32)
        arrays.normals = self._array(tables.meshes.normals, wp.vec3)
        arrays.texture_level = self._array(textures.level, wp.int32)
        arrays.pixels = self._array(textures.pixels, wp.vec3ub)
        return arrays

    def _rows(self, struct: Any, /, **columns: np.ndarray) -> wp.array:
        """An array of structs from its members' arrays, which have its axes in front."""
        dtype = np.dtype(struct.numpy_dtype())
        shape = next(iter(columns.values())).shape[: 1 if struct in (Scene, Texture) else 2]
        rows = np.zeros(shape, dtype)
        for name, values in columns.items():
            rows[name] = values.reshape(*shape, *dtype[name].shape)
        return self._array(rows, struct)

    def _array(self, values: np.ndarray, dtype: Any) -> wp.array:
        return wp.array(np.ascontiguousarray(values), dtype=dtype, device=self.device)


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
