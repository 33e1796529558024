"""Pictures of environments, drawn by MuJoCo from the original Meta-World scenes."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import platform
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import jax
import mujoco
import numpy as np
from jax.core import Tracer

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.checks import known_task
from mjx_metaworld.physics.checks import as_numbers, check_integer
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.rendering import opengl
from mjx_metaworld.rendering.free_camera import FreeCamera, default_lookat
from mjx_metaworld.rendering.raycast import raycast
from mjx_metaworld.rendering.studios import default_threads, in_parallel, studio
from mjx_metaworld.rendering.to_mujoco import OriginalScene
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.types import State, on_host

Backend = Literal["egl", "osmesa", "raycast", "device"]
Renderer = Literal["auto", "device", "opengl"]  # of environments that draw; see `backend_of`
CAMERAS = ("topview", "corner", "corner2", "corner3", "corner4", "behindGripper", "gripperPOV")  # of these ids
FREE = "free"  # MuJoCo's free camera, which is none of a scene's
_MOVED = CAMERAS.index("topview")  # which is put where the free one is
_MAX_PIXELS = 4096  # a side; beyond any use, and OpenGL drivers refuse a little further up


def list_cameras() -> list[str]:
    """The names of Meta-World's cameras; every scene has all of them."""
    return list(CAMERAS)


def render(
    env: MetaWorldEnv,
    state: State,
    camera: str = "corner2",
    width: int = 480,
    height: int = 480,
    *,
    camera_pos: tuple[float, float, float] | None = None,
    lookat: np.ndarray | None = None,
    depth: bool = False,
    zbuffer: bool = False,
    backend: Backend | None = None,
    num_threads: int | None = None,
    progress: bool = False,
    on_picture: Callable[[], None] | None = None,
) -> np.ndarray:
    """Draw environments as MuJoCo draws the original scenes, goal included.

    Needs no screen: draws through EGL, else OSMesa. Where neither can be loaded, MuJoCo's ray caster draws the same
    geometry with plainer shading (see `raycast`), and one warning names the missing libraries. Note that Meta-World's
    `corner2` camera is mounted upside down; turn its pictures with `images[..., ::-1, ::-1, :]`.

    Args:
        env: the environment that the state belongs to.
        state: a single state, a batch, or a trajectory of batches: any number of leading axes, the same in all leaves.
        camera: one of `list_cameras()`, or "free": MuJoCo's free camera, where gymnasium's renderer leaves it.
        width: pixels.
        height: pixels.
        camera_pos: where to put the camera instead, in its body's frame; it keeps its orientation.
        lookat: `(..., 3)` points that the free camera looks at, with the state's leading axes, m; by default the
            median of the geoms of each picture, see `free_lookats`.
        depth: distances instead of colours.
        zbuffer: with `depth`, the values of OpenGL's depth buffer instead of metres, as gymnasium's "depth_array" has
            them: 0 at the near clipping plane, 1 at the far one.
        backend: "egl", "osmesa", "raycast", or "device", which draws by `mw.camera` where the environment runs (extra
            `pixels`); by default the first that works of the others. A process can use one OpenGL library.
        num_threads: at most so many pictures are drawn at once; by default one a CPU core, up to 8.
        progress: show a progress bar on stderr; needs the extra `cli`.
        on_picture: called after every picture, from the threads that draw; for a progress bar of your own.

    Returns:
        uint8 `(..., height, width, 3)` with the state's leading axes; with `depth` float32 `(..., height, width)`,
        metres along the camera's axis and infinity where there is nothing.

    Raises:
        ValueError: for an unknown camera or backend, a size outside 1 .. 4096, a bad number of threads or place of the
            camera, a place of the free camera, `zbuffer` without `depth`, or a state of a task that there is not.
        TypeError: if `state` is no State (a Transition, say, does not hold the physics), or is being traced.
        RuntimeError: if the backend that was asked for cannot draw here; the message names the missing library.
        ForkError: in a process forked from one that has drawn by OpenGL, or one where JAX had begun to work, if the
            state cannot be read there; numpy arrays can.
        ImportError: for `progress` without the library that shows it.
    """
    _check(state, camera, width, height, num_threads)
    _check_free(camera, camera_pos, lookat, np.shape(state.task))
    if zbuffer and not depth:
        raise ValueError("zbuffer tells which depths are drawn: it needs depth=True")
    state = state.replace(pixels=None)  # pictures that it may hold already need not come to the host
    chosen = choose_backend(backend)
    if chosen == "device":
        from mjx_metaworld.rendering.on_device import draw_on_device

        if camera == FREE or zbuffer:
            raise ValueError("backend='device' draws neither from the free camera nor a depth buffer's values")
        _check_tasks(env, state)
        images = draw_on_device(env, state, camera, width, height, camera_pos=camera_pos, depth=depth)
        if on_picture is not None:
            for _ in range(math.prod(np.shape(state.task))):
                on_picture()
        return images
    count = math.prod(np.shape(state.task))
    images = np.empty((count, height, width), np.float32) if depth else np.empty((count, height, width, 3), np.uint8)
    points = None if lookat is None else np.reshape(lookat, (-1, 3))

    def draw(i: int, scene: OriginalScene, spec: TaskSpec, lane: State) -> None:
        model, data = scene.model, scene.data
        camera_id = _MOVED if camera == FREE else mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        own_pos = model.cam_pos[camera_id].copy()
        if camera_pos is not None:
            model.cam_pos[camera_id] = camera_pos
        scene.pose(spec, lane)
        model.cam_pos[camera_id] = own_pos  # pictures are drawn from the pose; the model serves others too
        point = None if points is None else points[i]
        with FreeCamera(model, data, camera_id, point) if camera == FREE else contextlib.nullcontext():
            paint = raycast if chosen == "raycast" else studio().painter(chosen).draw
            images[i] = paint(model, data, camera_id, width, height, depth=depth, zbuffer=zbuffer)
        for report in reports:
            report()

    with _progress_bar(count) if progress else contextlib.nullcontext() as advance:
        reports = [report for report in (advance, on_picture) if report is not None]
        _visit(env, state, draw, num_threads)
    return images.reshape(np.shape(state.task) + images.shape[1:])


def free_lookats(env: MetaWorldEnv, state: State) -> np.ndarray:
    """Points that the free camera looks at by default.

    Gymnasium's renderer chooses them at its first picture and keeps them; so does who passes them to `render`.

    Args:
        env: the environment that the state belongs to.
        state: with any number of leading axes.

    Returns:
        `(..., 3)` float64, m.
    """
    points = np.empty((*np.shape(state.task), 3))
    rows = points.reshape(-1, 3)

    def look(i: int, scene: OriginalScene, spec: TaskSpec, lane: State) -> None:
        scene.pose(spec, lane)
        rows[i] = default_lookat(scene.data)

    _visit(env, state, look)
    return points


def _visit(
    env: MetaWorldEnv,
    state: State,
    work: Callable[[int, OriginalScene, TaskSpec, State], None],
    num_threads: int | None = None,
) -> None:
    """Call `work` for every lane, in threads that keep the scenes: its number, its scene, task and state."""
    shape = np.shape(state.task)
    count = math.prod(shape)
    lanes = jax.tree.map(lambda x: np.reshape(x, (count, *np.shape(x)[len(shape) :])), on_host(state))
    _check_tasks(env, lanes)

    def visit(indices: np.ndarray) -> None:
        for i in indices:
            lane = jax.tree.map(operator.itemgetter(i), lanes)
            spec = env.tasks[int(lane.task)]
            work(i, studio().scene(spec.scene_spec), spec, lane)

    # Lanes of one scene go to one thread, so that few threads have to load it.
    files = np.array([spec.scene_name for spec in env.tasks])
    order = np.argsort(files[lanes.task], kind="stable")
    num_threads = min(num_threads or default_threads(), max(count, 1))
    in_parallel([functools.partial(visit, part) for part in np.array_split(order, num_threads)])


@contextlib.contextmanager
def _progress_bar(count: int) -> Iterator[Callable[[], None]]:
    """A bar of pictures; gives the function that moves it, which any thread may call."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise ImportError(f"progress needs rich: {install_command('cli')}") from error
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        drawing = bars.add_task("drawing", total=count)
        yield lambda: bars.advance(drawing)


def _check(state: object, camera: str, width: int, height: int, num_threads: int | None) -> None:
    if not isinstance(state, State):
        raise TypeError(f"render draws a State (single, batched, or stacked over time), not a {type(state).__name__}")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(state)):
        raise TypeError("mw.render draws on the host, and this state is being traced; within jax.jit mw.camera draws")
    check_picture(camera, width=width, height=height)
    if num_threads is not None:
        check_integer("num_threads", num_threads)


def _check_tasks(env: MetaWorldEnv, state: State) -> None:
    for task in np.unique(state.task):
        known_task(task, len(env.tasks))


def _check_free(camera: str, camera_pos: Any, lookat: np.ndarray | None, shape: tuple[int, ...]) -> None:
    check_place(camera_pos)
    if camera == FREE and camera_pos is not None:
        raise ValueError(f"the free camera takes a point to look at, lookat, and no camera_pos, got {camera_pos!r}")
    if lookat is None:
        return
    if camera != FREE:
        raise ValueError(f"only the free camera takes a point to look at, got camera={camera!r}")
    if np.shape(lookat) != (*shape, 3):
        raise ValueError(
            f"lookat must have shape {(*shape, 3)}, the state's leading axes and 3, got {np.shape(lookat)}"
        )
    if as_numbers(np.ravel(lookat)) is None:
        raise ValueError(f"lookat must be finite numbers, got {lookat!r}")


def check_picture(camera: str, **sizes: int) -> None:
    """Check what can be asked for, before anything is drawn.

    Args:
        camera: one of `list_cameras()`, or "free".
        **sizes: pixels, under the names that the caller knows them by.

    Raises:
        ValueError: for an unknown camera, or a size outside 1 .. 4096.
    """
    if camera not in (*CAMERAS, FREE):
        raise ValueError(f"no camera {camera!r}; available: {', '.join((*CAMERAS, FREE))}")
    for name, size in sizes.items():
        check_integer(name, size, 1, _MAX_PIXELS)


def check_place(camera_pos: Any) -> None:
    """Check where a camera is to be put.

    Raises:
        ValueError: if it is neither three finite numbers nor None, the camera's own place.
    """
    if camera_pos is None:
        return
    if np.shape(camera_pos) != (3,):
        raise ValueError(f"camera_pos must have shape (3,), got {np.shape(camera_pos)}")
    if as_numbers(camera_pos) is None:
        raise ValueError(f"camera_pos must be three finite numbers, got {camera_pos!r}")


# --- which library draws ---


def choose_backend(backend: Backend | None = None) -> Backend:
    """The backend that draws when this one is asked for; by default the first that works, with a warning if it is slow.

    Raises:
        ValueError: for an unknown backend.
        RuntimeError: if it cannot draw here; the message names the missing library.
        ImportError: for "device" without the extra `pixels`.
    """
    if backend is None:
        return _first_that_works()
    if backend not in get_args(Backend):
        raise ValueError(f"unknown backend {backend!r}; available: {', '.join(get_args(Backend))}")
    if backend == "device":
        from mjx_metaworld.rendering.camera import check_available

        check_available()
        return backend
    if backend != "raycast" and (reason := opengl.probe(backend)) is not None:
        raise RuntimeError(
            f"backend {backend!r} cannot draw here; it needs {opengl.library(backend)}. Tried {reason}. "
            "backend='raycast' needs no library."
        )
    return backend


def check_renderer(renderer: str) -> None:
    """Check what an environment is to draw by; raises ValueError for an unknown renderer."""
    if renderer not in get_args(Renderer):
        raise ValueError(f"unknown renderer {renderer!r}; available: {', '.join(get_args(Renderer))}")


def backend_of(renderer: Renderer) -> Backend | None:
    """Backend of an environment that draws: the device where it is wanted and can draw, else `render`'s own choice.

    Raises:
        ValueError: for an unknown renderer.
        RuntimeError: if "device" cannot draw here.
        ImportError: for "device" without the extra `pixels`.
    """
    check_renderer(renderer)
    if renderer == "opengl":
        return None
    try:
        return choose_backend("device")
    except (ImportError, RuntimeError):
        if renderer == "device":
            raise
        return None


@functools.cache
def _first_that_works() -> Backend:
    """The headless library of this machine, or the ray caster with a warning."""
    if platform.system() != "Linux":
        return "egl"  # there `opengl` takes the system's own OpenGL
    reasons = []
    for backend in opengl.HEADLESS:
        reason = opengl.probe(backend)
        if reason is None:
            return backend
        reasons.append(reason)
    needed = " or ".join(opengl.library(backend) for backend in opengl.HEADLESS)
    warnings.warn(
        "No OpenGL to render with, so MuJoCo's ray caster draws instead (true geometry, plain shading). For OpenGL "
        f"install {needed}. Tried {'; '.join(reasons)}",
        stacklevel=4,
    )
    return "raycast"
