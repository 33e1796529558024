"""Pictures of a MuJoCo scene without OpenGL, by MuJoCo's own ray caster.

For machines that have no OpenGL library at all. The geometry and the camera are exact, since `mj_multiRay` intersects
the very geoms, meshes included, that OpenGL would draw. Shading is plainer: textures become their mean colour, there
are no shadows or reflections, and translucent geoms hide what is behind them.
"""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

from mjx_metaworld.rendering.opengl import clipping_planes

_VISIBLE_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # what MuJoCo's viewer shows unless told otherwise
_UNSET_RGBA = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # the compiler's default: the material's colour counts
_BACKGROUND = np.array([0.72, 0.80, 0.88])
_SAMPLES = 2  # rays per pixel and axis; their mean smooths the edges


def raycast(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    camera_id: int,
    width: int,
    height: int,
    *,
    depth: bool = False,
    zbuffer: bool = False,
) -> np.ndarray:
    """Draw a forwarded scene.

    Args:
        model: the scene.
        data: its state, with positions and camera poses computed (`mj_forward`).
        camera_id: a fixed camera of the model.
        width: pixels.
        height: pixels.
        depth: distances instead of colours.
        zbuffer: with `depth`, what OpenGL's depth buffer would hold.

    Returns:
        uint8 `(height, width, 3)`; with `depth` float32 `(height, width)`, metres along the camera's axis and
        infinity where there is nothing, or with `zbuffer` as well 0 (near) to 1 (far).
    """
    samples = 1 if depth else _SAMPLES
    rows, columns = height * samples, width * samples
    origin = data.cam_xpos[camera_id]
    rays = _camera_rays(model, data, camera_id, columns, rows)

    geom = np.full(rows * columns, -1, np.int32)
    distance = np.zeros(rows * columns)
    mujoco.mj_multiRay(
        model, data, origin, rays.ravel(), _VISIBLE_GROUPS, 1, -1, geom, distance, rows * columns, mujoco.mjMAXVAL
    )
    geom, distance, rays = geom.reshape(rows, columns), distance.reshape(rows, columns), rays.reshape(rows, columns, 3)
    free = np.where(geom >= 0, distance, np.inf)
    if depth:
        for _, hit in _sites(model, data, origin, rays):
            free = np.minimum(free, hit)
        metres = free * -(rays @ data.cam_xmat[camera_id].reshape(3, 3)[:, 2])
        return (_zbuffer(model, metres) if zbuffer else metres).astype(np.float32)

    points = origin + distance[..., None] * rays
    light = _lighting(model, origin, points, _facing_normals(points, geom, rays))
    image = np.where((geom >= 0)[..., None], _geom_colors(model)[geom] * light, _BACKGROUND)
    for site, hit in _sites(model, data, origin, rays):
        alpha = model.site_rgba[site, 3] * (hit < free)[..., None]
        image = (1 - alpha) * image + alpha * model.site_rgba[site, :3]

    image = image.reshape(height, _SAMPLES, width, _SAMPLES, 3).mean((1, 3))
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def _zbuffer(model: mujoco.MjModel, metres: np.ndarray) -> np.ndarray:
    near, far = clipping_planes(model)
    return (far - near * far / np.clip(metres, near, far)) / (far - near)


def _camera_rays(model: mujoco.MjModel, data: mujoco.MjData, camera_id: int, columns: int, rows: int) -> np.ndarray:
    """Unit vectors `(rows * columns, 3)` through the pixel centres, world frame; the camera looks along its -z."""
    focal = 0.5 * rows / np.tan(0.5 * np.deg2rad(model.cam_fovy[camera_id]))
    x, y = np.meshgrid(np.arange(columns) + 0.5 - 0.5 * columns, 0.5 * rows - 0.5 - np.arange(rows))
    rays = np.stack([x, y, np.full_like(x, -focal)], -1).reshape(-1, 3)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.ascontiguousarray(rays @ data.cam_xmat[camera_id].reshape(3, 3).T)


def _geom_colors(model: mujoco.MjModel) -> np.ndarray:
    """Colour `(ngeom, 3)` in 0..1: the geom's own if it has one, else its material's times the mean of the texture."""
    colors = model.geom_rgba[:, :3].astype(float)
    for g in np.flatnonzero(model.geom_matid >= 0):
        material = model.geom_matid[g]
        if np.array_equal(model.geom_rgba[g], _UNSET_RGBA):
            colors[g] = model.mat_rgba[material, :3]
        texture = model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        if texture >= 0:
            channels = model.tex_nchannel[texture]
            size = model.tex_height[texture] * model.tex_width[texture] * channels
            pixels = model.tex_data[model.tex_adr[texture] :][:size].reshape(-1, channels)
            colors[g] *= pixels[:, :3].mean(0) / 255
    return colors


def _facing_normals(points: np.ndarray, geom: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Surface normals `(rows, columns, 3)` that face the camera, from the neighbouring hits on the same geom."""
    normals = np.cross(_same_geom_slope(points, geom, 1), _same_geom_slope(points, geom, 0))
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(length > 0, normals / np.where(length > 0, length, 1), -rays)
    return np.where(np.sum(normals * rays, -1, keepdims=True) > 0, -normals, normals)


def _same_geom_slope(points: np.ndarray, geom: np.ndarray, axis: int) -> np.ndarray:
    """Difference to the next pixel along an axis, or from the last one at a geom's rim; zero between two rims."""
    step = np.diff(points, axis=axis)
    joined = np.diff(geom, axis=axis) == 0
    step = np.where(joined[..., None], step, 0)
    pad = [(0, 1) if a == axis else (0, 0) for a in range(3)]
    ahead, behind = np.pad(step, pad), np.pad(step, [p[::-1] for p in pad])
    return np.where(np.pad(joined, pad[:2])[..., None], ahead, behind)


def _lighting(model: mujoco.MjModel, origin: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Ambient and diffuse light `(rows, columns, 3)` of the headlight and of the scene's lights, without shadows."""
    headlight = model.vis.headlight
    to_camera = origin - points
    to_camera /= np.maximum(np.linalg.norm(to_camera, axis=-1, keepdims=True), 1e-9)
    light = headlight.ambient + headlight.diffuse * np.sum(normals * to_camera, -1, keepdims=True)
    for i in range(model.nlight):
        lit = np.maximum(-normals @ model.light_dir[i], 0)
        light = light + model.light_ambient[i] + model.light_diffuse[i] * lit[..., None]
    return light


def _sites(
    model: mujoco.MjModel, data: mujoco.MjData, origin: np.ndarray, rays: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """The visible sites, far ones first, with every ray's distance to them or infinity."""
    shown = (model.site_group <= 2) & (model.site_rgba[:, 3] > 0)
    centres = data.site_xpos - origin
    for site in sorted(np.flatnonzero(shown), key=lambda s: -np.linalg.norm(centres[s])):
        if model.site_type[site] == mujoco.mjtGeom.mjGEOM_SPHERE:  # all of Meta-World's
            yield int(site), _sphere_hits(centres[site], model.site_size[site, 0], rays)
        else:
            yield int(site), _solid_hits(model, data, int(site), origin, rays)


def _sphere_hits(centre: np.ndarray, radius: float, rays: np.ndarray) -> np.ndarray:
    """Distances to a sphere, infinity for a miss and from within; the centre is relative to the rays' origin."""
    along = rays @ centre
    inside = radius**2 - (centre @ centre - along**2)
    hit = along - np.sqrt(np.maximum(inside, 0))
    return np.where((inside > 0) & (hit > 0), hit, np.inf)


def _solid_hits(
    model: mujoco.MjModel, data: mujoco.MjData, site: int, origin: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """Distances to a site that is no sphere, infinity for a miss and from within."""
    size, kind = model.site_size[site], model.site_type[site]
    centre, mat = data.site_xpos[site], data.site_xmat[site]
    hits = np.full(rays.shape[:-1], np.inf)
    towards = centre - origin
    along = rays @ towards
    # A call a ray is slow: only for those that pass the sphere around it.
    for pixel in np.argwhere((along > 0) & (towards @ towards - along**2 < size.sum() ** 2)):
        ray = rays[tuple(pixel)]
        if mujoco.mju_rayGeom(centre, mat, size, origin, -ray, kind) >= 0:
            break  # also behind: the camera is within
        hit = mujoco.mju_rayGeom(centre, mat, size, origin, ray, kind)
        hits[tuple(pixel)] = hit if hit >= 0 else np.inf
    return hits
