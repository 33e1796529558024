"""Pictures of a MuJoCo scene through OpenGL without a screen: which library, one context a thread, colour and depth."""

from __future__ import annotations

import functools
import importlib
import os
import platform
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

import mujoco
import numpy as np

from mjx_metaworld.processes.forks import ForkError

HEADLESS = ("egl", "osmesa")  # in the order of preference: EGL can use a GPU, OSMesa is software
_LIBRARIES = {
    "egl": "libEGL (Debian: libegl1, with a GPU's driver or libgl1-mesa-dri)",
    "osmesa": "libOSMesa (Debian: libosmesa6)",
}
_MAX_GEOMS = 1000  # that one picture may hold, as the reference's renderer has it
_CREATION = threading.Lock()  # mujoco.egl opens its display in the first context's constructor
_drawn: set[int] = set()  # processes, of this one and those that it was forked from, that made a context


def library(backend: str) -> str:
    """Name, in words, of the library to install for a backend."""
    return _LIBRARIES[backend]


@functools.cache
def probe(backend: str) -> str | None:
    """Why a headless backend cannot draw on this machine, or None if it can.

    Tried in a process of its own: PyOpenGL binds itself to the first platform that is tried, and drivers may crash.
    """
    code = f"from mujoco.{backend} import GLContext as G; c = G(8, 8); c.make_current(); c.free()"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    lines = tried.stderr.strip().splitlines()
    return f"{backend}: {lines[-1] if lines else f'exit status {tried.returncode}'}"


def context_class(backend: str) -> Any:
    """The class that makes contexts of a headless backend; the system's own where that is not Linux."""
    if platform.system() != "Linux":
        return mujoco.gl_context.GLContext
    return importlib.import_module(f"mujoco.{backend}").GLContext


class Painter:
    """Draws scenes of any number of models, in one thread: the one that made it.

    Raises:
        ForkError: in a process forked from one that has drawn by OpenGL, whose drivers share no display with it.

    Args:
        backend: one of `HEADLESS`.
        max_scenes: how many models' meshes and textures to keep on the drawing device; to load them takes longer than
            a picture.
    """

    def __init__(self, backend: str, max_scenes: int) -> None:
        self._max_scenes = max_scenes
        self._resources: OrderedDict[tuple[int, int, int], _Resources] = OrderedDict()
        if _drawn - {os.getpid()}:
            raise ForkError(
                f"backend {backend!r} cannot draw in this process ({os.getpid()}): the one that it was forked from has "
                'drawn by OpenGL. Start processes with the method "spawn" or "forkserver", or draw with '
                'backend="raycast".'
            )
        _drawn.add(os.getpid())
        with _CREATION:
            self._context = context_class(backend)(1, 1)
        self._context.make_current()

    def draw(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera_id: int,
        width: int,
        height: int,
        *,
        depth: bool,
        zbuffer: bool = False,
    ) -> np.ndarray:
        """A forwarded scene as `mujoco.Renderer` draws it.

        Returns:
            uint8 `(height, width, 3)`; with `depth` float32 `(height, width)`, metres along the camera's axis and
            infinity where there is nothing, or with `zbuffer` as well OpenGL's own values, 0 .. 1, of the picture.
        """
        resources = self._load(model, width, height)
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera_id
        scene = resources.scene
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
        # Drawn as flat labels, the scene has neither sky nor blending, so that its depth is that of the surfaces.
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            scene.flags[flag] = depth and not zbuffer
        # Far as 0 is precise far away; far as 1 is OpenGL's default.
        order = mujoco.mjtDepthMap.mjDEPTH_ZERONEAR if zbuffer else mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        resources.context.readDepthMap = order
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, scene, resources.context)
        if depth:
            values = np.empty((height, width), np.float32)
            mujoco.mjr_readPixels(None, values, viewport, resources.context)
            return values[::-1] if zbuffer else _metres(model, values[::-1])
        image = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, viewport, resources.context)
        return image[::-1]  # OpenGL's first row is the lowest

    def measure(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera_id: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth of a forwarded scene as `draw` gives it, and what each pixel shows.

        Returns:
            float32 `(height, width)`, metres; and object types and ids int32 `(height, width)`, -1 for nothing.
        """
        depth = self.draw(model, data, camera_id, width, height, depth=True)  # drawn as flat labels
        resources = self._load(model, width, height)
        colors = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(colors, None, mujoco.MjrRect(0, 0, width, height), resources.context)
        drawn = colors[::-1].astype(np.int64) @ [1, 2**8, 2**16]  # one more than the place among the scene's geoms
        geoms = resources.scene.geoms[: resources.scene.ngeom]
        kinds, ids = np.full((2, len(geoms) + 1), -1, np.int32)
        for geom in geoms:
            if geom.segid >= 0:
                kinds[geom.segid + 1], ids[geom.segid + 1] = geom.objtype, geom.objid
        return depth, kinds[drawn], ids[drawn]

    def close(self) -> None:
        """Free everything, in the thread that drew."""
        self._resources.clear()
        self._context.free()

    def _load(self, model: mujoco.MjModel, width: int, height: int) -> _Resources:
        key = (id(model), width, height)  # the entry holds the model, so that no other can get its id
        if key not in self._resources:
            if len(self._resources) >= self._max_scenes:
                self._resources.popitem(last=False)
            self._resources[key] = _Resources(model, width, height)
        self._resources.move_to_end(key)
        resources = self._resources[key]
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, resources.context)
        return resources


class _Resources:
    """A model's meshes and textures on the drawing device, its buffer of one size, and its abstract scene."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self.model = model
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        self.scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)


def _metres(model: mujoco.MjModel, zbuffer: np.ndarray) -> np.ndarray:
    """Distances from a depth buffer, which is linear in their reciprocals between the two clipping planes."""
    near, far = clipping_planes(model)
    share = zbuffer.astype(float)
    distance = near * far / (near + share * (far - near))
    return np.where(share > 0.0, distance, np.inf).astype(np.float32)


def clipping_planes(model: mujoco.MjModel) -> tuple[float, float]:
    """Distances from the camera within which a scene is drawn, in metres."""
    return model.vis.map.znear * model.stat.extent, model.vis.map.zfar * model.stat.extent
