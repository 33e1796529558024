"""MuJoCo's free camera, from which gymnasium's renderer draws where no camera is named."""

from __future__ import annotations

import mujoco
import numpy as np


def default_lookat(data: mujoco.MjData) -> np.ndarray:
    """The point (3,) that gymnasium's renderer lets the free camera look at: the median of the geoms' positions, m."""
    return np.median(data.geom_xpos, axis=0)


class FreeCamera:
    """A fixed camera of the world, put where the free one is; a context that puts it back.

    Both are drawn by the same projection, so that no part of a drawing has to know a second kind of camera.

    Args:
        model: the scene.
        data: its state, forwarded.
        camera_id: the fixed camera, of the world's body.
        lookat: (3,) m; by default `default_lookat(data)`.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera_id: int, lookat: np.ndarray | None = None
    ) -> None:
        self._model, self._data, self._id = model, data, camera_id
        self._lookat = default_lookat(data) if lookat is None else np.asarray(lookat)
        self._fovy = float(model.cam_fovy[camera_id])

    def __enter__(self) -> None:
        free = mujoco.MjvCamera()  # gymnasium leaves its angles
        azimuth, elevation = np.deg2rad([free.azimuth, free.elevation])
        ahead = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        self._data.cam_xpos[self._id] = self._lookat - self._model.stat.extent * ahead
        self._data.cam_xmat[self._id] = np.column_stack([right, np.cross(right, ahead), -ahead]).ravel()
        self._model.cam_fovy[self._id] = self._model.vis.global_.fovy

    def __exit__(self, *_: object) -> None:
        self._model.cam_fovy[self._id] = self._fovy
