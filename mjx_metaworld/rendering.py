"""Pictures of environments, drawn by MuJoCo from the original Meta-World scenes."""

from __future__ import annotations

import atexit
import functools
import importlib
import platform
import subprocess
import sys
import warnings

import mujoco
import numpy as np

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.export import to_mujoco
from mjx_metaworld.raycast import raycast
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.types import State

_HEADLESS = ("egl", "osmesa")  # in the order of preference: EGL can use a GPU, OSMesa is software
_MAX_PIXELS = 4096  # a side; beyond any use, and OpenGL drivers refuse a little further up


def render(env: MetaWorldEnv, state: State, camera: str = "corner2", width: int = 480, height: int = 480) -> np.ndarray:
    """Draw a batch of environments as MuJoCo draws the original scenes, goal included.

    Headless: through EGL, else OSMesa. Where neither can be loaded, MuJoCo's ray caster draws the same geometry with
    plainer shading (see `raycast`), and one warning names the missing libraries. Note that Meta-World's `corner2`
    camera is mounted upside down; turn its pictures with `images[:, ::-1, ::-1]`.

    Args:
        env: the environment that the state belongs to.
        state: a batch of n states (every leaf with one leading axis), or a single one.
        camera: one of the scene's cameras.
        width: pixels.
        height: pixels.

    Returns:
        uint8 `(n, height, width, 3)`; n is 1 for a single state.

    Raises:
        ValueError: for a camera that the scene does not have, or a size outside 1 .. 4096.
    """
    for name, size in (("width", width), ("height", height)):
        if not isinstance(size, int) or not 1 <= size <= _MAX_PIXELS:
            raise ValueError(f"{name} must be an integer from 1 to {_MAX_PIXELS}, got {size!r}")
    tasks = np.atleast_1d(state.task)
    images = np.empty((len(tasks), height, width, 3), np.uint8)
    for i, task in enumerate(tasks):
        model, data = to_mujoco(env, state, i)
        camera_id = _find_camera(model, camera)
        if _opengl() is None:
            images[i] = raycast(model, data, camera_id, width, height)
        else:
            images[i] = _draw_opengl(env.tasks[task].scene_spec, model, data, camera_id, width, height)
    return images


def _find_camera(model: mujoco.MjModel, camera: str) -> int:
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
    if index < 0:
        names = ", ".join(model.camera(i).name for i in range(model.ncam))
        raise ValueError(f"no camera {camera!r} in the scene; it has {names}")
    return index


@functools.cache
def _opengl() -> type | None:
    """The class that makes OpenGL contexts on this machine, or None with a warning."""
    if platform.system() != "Linux":
        return mujoco.gl_context.GLContext
    reasons = []
    for backend in _HEADLESS:
        # In a process of its own: PyOpenGL binds itself to the first platform that is tried, and drivers may crash.
        code = f"from mujoco.{backend} import GLContext as G; c = G(8, 8); c.make_current(); c.free()"
        probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        if probe.returncode == 0:
            return importlib.import_module(f"mujoco.{backend}").GLContext
        lines = probe.stderr.strip().splitlines()
        reasons.append(f"{backend}: {lines[-1] if lines else f'exit status {probe.returncode}'}")
    warnings.warn(
        "No OpenGL to render with, so MuJoCo's ray caster draws instead (true geometry, plain shading). For OpenGL "
        "install libEGL (Debian: libegl1 with a GPU's driver) or libOSMesa (Debian: libosmesa6). Tried "
        + "; ".join(reasons),
        stacklevel=3,
    )
    return None


@functools.cache
def _context():
    """The process's OpenGL context; pictures of any size are drawn into buffers of their own."""
    context_class = _opengl()
    assert context_class is not None
    context = context_class(1, 1)
    atexit.register(_release)  # registered last, so that it runs before the backend shuts itself down
    return context


def _release() -> None:
    _resources.cache_clear()
    _context.cache_clear()


@functools.lru_cache(maxsize=16)
def _resources(scene: SceneSpec, width: int, height: int) -> mujoco.MjrContext:
    """A scene's meshes and textures on the drawing device, and the buffer: these take longer than a picture."""
    model = load_scene(scene)
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)


def _draw_opengl(
    scene_spec: SceneSpec, model: mujoco.MjModel, data: mujoco.MjData, camera_id: int, width: int, height: int
) -> np.ndarray:
    """As `mujoco.Renderer` draws, in a context of our own choice instead of the one fixed when mujoco is imported."""
    _context().make_current()
    resources = _resources(scene_spec, width, height)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, resources)
    camera = mujoco.MjvCamera()
    camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera_id
    scene = mujoco.MjvScene(model, maxgeom=1000)
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
    viewport = mujoco.MjrRect(0, 0, width, height)
    image = np.empty((height, width, 3), np.uint8)
    mujoco.mjr_render(viewport, scene, resources)
    mujoco.mjr_readPixels(image, None, viewport, resources)
    return image[::-1]  # OpenGL's first row is the lowest
