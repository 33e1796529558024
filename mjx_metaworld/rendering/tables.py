"""All that is drawn, as arrays on the host: the visible geoms and sites of scenes, their meshes, materials and lights.

What MuJoCo draws is read from the compiled scenes: geoms and sites of groups 0 to 2 that are not wholly transparent,
in MuJoCo's order, geoms first. Each takes a slot of its scene; poses are relative to the skeleton's bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from mjx_metaworld.physics import model as layout
from mjx_metaworld.rendering.textures import TextureAtlas, TextureTable
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene

MOCAP = layout.NUM_BODIES  # the mocap body, as one body more than the skeleton has
MAX_SLOTS = 128  # of a scene; a tile's list of them holds bytes
MAX_LIGHTS = 9  # the headlight, and MuJoCo's limit of the others
SKY, SITE = -1, -2  # labels: nothing but sky; site k is SITE - k
OPAQUE = 0.995  # MuJoCo's bound: what is less, it blends
_UNSET_RGBA = (0.5, 0.5, 0.5, 1.0)  # the compiler's default: the material's colour counts
_DRAWN_GROUPS = 3
_SMOOTH = 0.8  # cosine between the normals of a face and a corner below which MuJoCo shades the face flat


class Slots(NamedTuple):
    """Geoms and sites to draw, (scenes, slots) and what each has; padded with kind -1."""

    kind: np.ndarray  # int32 mujoco.mjtGeom
    size: np.ndarray  # (3,)
    low: np.ndarray  # (3,) corner of its bounding box, in its frame
    high: np.ndarray  # (3,)
    body: np.ndarray  # int32 skeleton body, or `MOCAP`
    pos: np.ndarray  # (3,) in the body's frame
    mat: np.ndarray  # (3, 3)
    mesh: np.ndarray  # int32 row of the meshes, -1 for none
    rgba: np.ndarray  # (4,)
    shine: np.ndarray  # (3,) specular, exponent, emission
    reflectance: np.ndarray  # () of the one slot that reflects, else 0
    texture: np.ndarray  # int32, -1 for none
    scale: np.ndarray  # (3,) of texture coordinates
    geom: np.ndarray  # int32 geom id in the scene; `SITE` - id of a site
    owner: np.ndarray  # int32 body id in the scene


class Meshes(NamedTuple):
    """Meshes, each distinct one once."""

    vertices: tuple[np.ndarray, ...]  # (n, 3) each
    faces: tuple[np.ndarray, ...]  # (m, 3) int32
    first: np.ndarray  # (meshes,) int32 row of its first face in `normals`
    normals: np.ndarray  # (faces, 3, 3) of the corners, as MuJoCo shades them


class Lights(NamedTuple):
    """Lights of each scene, (scenes, lights) and what each has; the first is the headlight."""

    kind: np.ndarray  # int32: 0 off, 1 directional, 2 spot
    casts: np.ndarray  # int32
    pos: np.ndarray  # (3,)
    dir: np.ndarray  # (3,)
    ambient: np.ndarray  # (3,)
    diffuse: np.ndarray  # (3,)
    specular: np.ndarray  # (3,)
    falloff: np.ndarray  # (5,) attenuation (3), cosine of the cutoff, exponent


class View(NamedTuple):
    """Cameras and clipping of each scene, (scenes,)."""

    near: np.ndarray  # metres along the camera's axis
    far: np.ndarray
    shadow: np.ndarray  # half the width of the square that shadows fall in
    texel: np.ndarray  # metres of a shadow map's pixel
    sky: np.ndarray  # int32 texture, -1 for black


class Cameras(NamedTuple):
    """Cameras, (scenes, cameras) and what each has."""

    body: np.ndarray  # int32 skeleton body
    origin: np.ndarray  # (3,) of the body that holds it, in the skeleton body's frame
    frame: np.ndarray  # (3, 3)
    tracks: np.ndarray  # int32: 1 if it follows that body without turning, and all below is along the world's axes
    pos: np.ndarray  # (3,) from that origin
    mat: np.ndarray  # (3, 3)
    fovy: np.ndarray  # degrees


class DrawTables(NamedTuple):
    """Everything about scenes that pictures need."""

    slots: Slots
    meshes: Meshes
    textures: TextureTable
    lights: Lights
    view: View
    cameras: Cameras
    camera_names: tuple[str, ...]

    @property
    def fixed(self) -> np.ndarray:
        """Slots (scenes, slots) that never move: opaque geoms of the world's body."""
        slots = self.slots
        opaque = slots.rgba[..., 3] >= OPAQUE
        return (slots.kind >= 0) & (slots.body == layout.WORLD) & (slots.geom > SITE) & opaque


def build_draw_tables(specs: Sequence[SceneSpec], camera_names: Sequence[str]) -> DrawTables:
    """Read scenes, all of which have the named cameras.

    Raises:
        ValueError: if a scene holds what cannot be drawn: more than `MAX_SLOTS` geoms and sites, or height fields.
    """
    atlas, library = TextureAtlas(), _MeshLibrary()
    slots, lights, views, cameras = [], [], [], []
    for spec in specs:
        model = load_scene(spec)
        frames = Frames(model, spec.prop)
        slots.append(_read_slots(model, frames, atlas, library, spec.name))
        lights.append(_read_lights(model))
        views.append(_read_view(model, atlas))
        cameras.append(_read_cameras(model, frames, camera_names))
    most = max(len(one.kind) for one in slots)
    return DrawTables(
        Slots(*(np.stack(column) for column in zip(*(_padded(one, most) for one in slots), strict=True))),
        library.meshes(),
        atlas.table(),
        Lights(*(np.stack(column) for column in zip(*lights, strict=True))),
        View(*(np.stack(column) for column in zip(*views, strict=True))),
        Cameras(*(np.stack(column) for column in zip(*cameras, strict=True))),
        tuple(camera_names),
    )


def find_slot(slots: Slots, scene: int, site: int) -> int:
    """Slot of a scene's site; -1 if it is not drawn."""
    found = np.flatnonzero(slots.geom[scene] == SITE - site)
    return int(found[0]) if found.size else -1


class Frames:
    """Poses of the original bodies relative to the skeleton's."""

    def __init__(self, model: mujoco.MjModel, prop: str | None) -> None:
        self._map = map_bodies(model, prop)
        self._mocap = int(np.flatnonzero(model.body_mocapid >= 0)[0])

    def of(self, body: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Skeleton body, and (3,), (3, 3) in its frame."""
        if body == self._mocap:
            return MOCAP, np.zeros(3), np.eye(3)
        return int(self._map.body[body]), self._map.pos[body], _matrix(self._map.quat[body])


class _MeshLibrary:
    """Collects meshes."""

    def __init__(self) -> None:
        self._found: dict[bytes, int] = {}
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, model: mujoco.MjModel, mesh: int) -> int:
        def part(values: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
            return values[first[mesh] : first[mesh] + count[mesh]]

        vertices = part(model.mesh_vert, model.mesh_vertadr, model.mesh_vertnum)
        faces = part(model.mesh_face, model.mesh_faceadr, model.mesh_facenum)
        normals = part(model.mesh_normal, model.mesh_normaladr, model.mesh_normalnum)
        corners = normals[part(model.mesh_facenormal, model.mesh_faceadr, model.mesh_facenum)]
        key = vertices.tobytes() + faces.tobytes() + corners.tobytes()
        if key not in self._found:
            self._found[key] = len(self._parts)
            self._parts.append((vertices.copy(), faces.copy(), _shading_normals(vertices[faces], corners)))
        return self._found[key]

    def meshes(self) -> Meshes:
        vertices, faces, normals = zip(*self._parts, strict=True) if self._parts else ((), (), (np.zeros((1, 3, 3)),))
        first = np.cumsum([0, *(len(n) for n in normals[:-1])])
        return Meshes(vertices, faces, first.astype(np.int32), np.concatenate(normals).astype(np.float32))


def _shading_normals(triangles: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Normals (faces, 3, 3) of the corners, the face's own where they differ much from it."""
    edges = triangles[:, 1:] - triangles[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.where(length < 1e-10, [0.0, 0.0, 1.0], normal / np.maximum(length, 1e-30))
    smooth = np.einsum("fck,fk->fc", corners, normal) >= _SMOOTH
    return np.where(smooth[..., None], corners, normal[:, None])


def _read_slots(model: mujoco.MjModel, frames: Frames, atlas: TextureAtlas, library: _MeshLibrary, name: str) -> Slots:
    rows = []
    for geom in np.flatnonzero(model.geom_group < _DRAWN_GROUPS):
        kind, size = int(model.geom_type[geom]), model.geom_size[geom]
        look = _look(model, int(model.geom_matid[geom]), model.geom_rgba[geom], kind, size, atlas)
        if look is None:
            continue
        if kind == mujoco.mjtGeom.mjGEOM_HFIELD:
            raise ValueError(f"scene {name!r} has a height field, which cannot be drawn on the device")
        mesh = -1
        if kind in (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_SDF):
            kind, mesh = int(mujoco.mjtGeom.mjGEOM_MESH), library.add(model, int(model.geom_dataid[geom]))
        pose = _place(frames.of(int(model.geom_bodyid[geom])), model.geom_pos[geom], model.geom_quat[geom])
        bounds = _bounds(model, kind, size, int(model.geom_dataid[geom]))
        rows.append((kind, size, *bounds, *pose, mesh, *look, geom, model.geom_bodyid[geom]))
    for site in np.flatnonzero(model.site_group < _DRAWN_GROUPS):
        kind, size = int(model.site_type[site]), model.site_size[site]
        look = _look(model, int(model.site_matid[site]), model.site_rgba[site], kind, size, atlas)
        if look is None:
            continue
        pose = _place(frames.of(int(model.site_bodyid[site])), model.site_pos[site], model.site_quat[site])
        rows.append(
            (kind, size, *_bounds(model, kind, size, -1), *pose, -1, *look, SITE - site, model.site_bodyid[site])
        )
    if len(rows) > MAX_SLOTS:
        raise ValueError(f"scene {name!r} shows {len(rows)} geoms and sites; at most {MAX_SLOTS} can be drawn")
    slots = Slots(*(np.array(column) for column in zip(*rows, strict=True)))
    return _one_reflects(slots)


def _one_reflects(slots: Slots) -> Slots:
    """MuJoCo lets the first opaque plane or box that reflects do so, and no other."""
    flat = np.isin(slots.kind, (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX))
    able = flat & (slots.rgba[:, 3] >= OPAQUE) & (slots.reflectance > 0.0)
    first = np.arange(len(able)) == np.argmax(able)
    return slots._replace(reflectance=np.where(able & first, slots.reflectance, 0.0))


def _look(
    model: mujoco.MjModel, material: int, rgba: np.ndarray, kind: int, size: np.ndarray, atlas: TextureAtlas
) -> tuple | None:
    """Columns `rgba` to `scale` of a slot, or None if it is wholly transparent."""
    specular, shininess, emission, reflectance = 0.5, 0.5, 0.0, 0.0  # MuJoCo's, without a material
    texture, scale = -1, np.ones(3)
    color = np.array(rgba, float)
    if material >= 0:
        if np.allclose(rgba, _UNSET_RGBA):
            color = model.mat_rgba[material].astype(float)
        specular, shininess = model.mat_specular[material], model.mat_shininess[material]
        emission, reflectance = model.mat_emission[material], model.mat_reflectance[material]
        image = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB])
        if image >= 0:
            texture = atlas.add(model, image)
            scale = _texture_scale(model, material, image, kind, size)
    if color[3] == 0.0:
        return None
    return color, np.array([specular, shininess * 128.0, emission]), reflectance, texture, scale


def _texture_scale(model: mujoco.MjModel, material: int, image: int, kind: int, size: np.ndarray) -> np.ndarray:
    """Factors of texture coordinates in the slot's frame, which here is in metres for every kind."""
    in_metres = kind in (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_PLANE)  # else MuJoCo scales a unit shape
    extent = np.where(size > 0.0, size, 1.0)
    uniform = bool(model.mat_texuniform[material])
    if model.tex_type[image] == mujoco.mjtTexture.mjTEXTURE_2D:
        scale = np.append(model.mat_texrepeat[material], 1.0).astype(float)
        scale = scale / extent if in_metres else scale
        scale = scale * extent if uniform else scale
    else:
        scale = size.copy() if uniform else np.ones(3)
    return scale if in_metres else scale / _unit(kind, size)


def _unit(kind: int, size: np.ndarray) -> np.ndarray:
    """Metres of MuJoCo's unit shape along each axis."""
    shape = mujoco.mjtGeom
    if kind == shape.mjGEOM_SPHERE:
        return np.full(3, size[0])
    if kind in (shape.mjGEOM_CAPSULE, shape.mjGEOM_CYLINDER):
        return np.array([size[0], size[0], size[1]])
    return np.where(size > 0.0, size, 1.0)


def _bounds(model: mujoco.MjModel, kind: int, size: np.ndarray, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    shape = mujoco.mjtGeom
    if kind == shape.mjGEOM_MESH:
        vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
        return vertices.min(0), vertices.max(0)
    if kind == shape.mjGEOM_PLANE:
        half = np.where(size > 0.0, size, 1e3)
        return np.array([-half[0], -half[1], -1e-4]), np.array([half[0], half[1], 1e-4])
    half = _unit(kind, size)
    if kind == shape.mjGEOM_CAPSULE:
        half = half + np.array([0.0, 0.0, size[0]])
    return -half, half


def _place(
    frame: tuple[int, np.ndarray, np.ndarray], pos: np.ndarray, quat: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    body, origin, mat = frame
    return body, origin + mat @ pos, mat @ _matrix(quat)


def _padded(slots: Slots, count: int) -> Slots:
    missing = count - len(slots.kind)
    padded = Slots(*(np.pad(column, [(0, missing)] + [(0, 0)] * (column.ndim - 1)) for column in slots))
    padded.kind[count - missing :] = -1
    return padded


def _read_lights(model: mujoco.MjModel) -> Lights:
    head = model.vis.headlight
    zero = np.zeros(3)
    plain = np.array([1.0, 0.0, 0.0, -1.0, 0.0])
    rows = [(int(head.active), 0, zero, zero, head.ambient, head.diffuse, head.specular, plain)]
    for light in np.flatnonzero(model.light_active)[: MAX_LIGHTS - 1]:
        cutoff = float(model.light_cutoff[light])
        falloff = [*model.light_attenuation[light], np.cos(np.deg2rad(cutoff)), model.light_exponent[light]]
        body = model.light_bodyid[light]
        if model.body_weldid[body] != 0:
            raise ValueError(f"light {model.light(light).name!r} moves, which cannot be drawn on the device")
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        rows.append(
            (
                1 if model.light_directional[light] else 2,
                int(model.light_castshadow[light]),
                data.light_xpos[light],
                data.light_xdir[light],
                model.light_ambient[light],
                model.light_diffuse[light],
                model.light_specular[light],
                plain if model.light_directional[light] else np.array(falloff),
            )
        )
    missing = MAX_LIGHTS - len(rows)
    return Lights(*(np.array([*column, *[np.zeros_like(column[0])] * missing]) for column in zip(*rows, strict=True)))


def _read_view(model: mujoco.MjModel, atlas: TextureAtlas) -> View:
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    extent, size = model.stat.extent, int(model.vis.quality.shadowsize)
    clip = model.vis.map.shadowclip * extent
    return View(
        near=np.array(model.vis.map.znear * extent),
        far=np.array(model.vis.map.zfar * extent),
        shadow=np.array(clip),
        texel=np.array(2.0 * clip / max(size - 2, 1)),
        sky=np.array(atlas.add(model, int(skies[0])) if skies.size else -1, np.int32),
    )


def _read_cameras(model: mujoco.MjModel, frames: Frames, names: Sequence[str]) -> Cameras:
    modes = mujoco.mjtCamLight
    rows = []
    for name in names:
        camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        if camera < 0:
            raise ValueError(f"a scene has no camera {name!r}")
        body, origin, frame = frames.of(int(model.cam_bodyid[camera]))
        pos, mat = model.cam_pos[camera], _matrix(model.cam_quat[camera])
        tracks = model.cam_mode[camera] == modes.mjCAMLIGHT_TRACK
        if tracks:
            pos, mat = model.cam_pos0[camera], model.cam_mat0[camera].reshape(3, 3)
        elif model.cam_mode[camera] != modes.mjCAMLIGHT_FIXED:
            raise ValueError(f"camera {name!r} aims at a target, which cannot be drawn on the device")
        rows.append((body, origin, frame, int(tracks), pos, mat, model.cam_fovy[camera]))
    return Cameras(*(np.array(column) for column in zip(*rows, strict=True)))


def _matrix(quat: np.ndarray) -> np.ndarray:
    mat = np.zeros(9)
    mujoco.mju_quat2Mat(mat, np.asarray(quat, float))
    return mat.reshape(3, 3)
