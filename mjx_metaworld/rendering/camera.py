"""Cameras as pure functions: `camera(env, "corner2")` gives a function that draws one environment's state.

The picture is drawn on the device that holds the state, inside whatever program it is part of. Here is what JAX
computes of it: poses, cameras, and where the goal is marked. `device` casts the rays.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence, Set
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.physics.exportable import exportable
from mjx_metaworld.physics.lookup import take_row
from mjx_metaworld.physics.model import WORLD
from mjx_metaworld.physics.operation import batched
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.rendering.marks import goal_mark
from mjx_metaworld.rendering.render import CAMERAS, check_picture, check_place
from mjx_metaworld.rendering.still import StillCameras
from mjx_metaworld.rendering.tables import (
    SITE,
    Cameras,
    DrawTables,
    build_draw_tables,
    find_slot,
)
from mjx_metaworld.rendering.to_mujoco import MOCAP_QUAT
from mjx_metaworld.scenes.catalog import SceneSpec, load_scene
from mjx_metaworld.tasks.spec import TaskSpec
from mjx_metaworld.types import State

Segmentation = Literal["geom", "body"]


@exportable
class Views(struct.PyTreeNode):
    """Everything that a camera tells of one environment; with several cameras each leaf has a leading axis of them."""

    color: UInt8[Array, "*cameras height width 3"]
    depth: Float[Array, "*cameras height width"]  # metres along the camera's axis, infinity for the sky
    label: Int[Array, "*cameras height width"]  # geom or body in MuJoCo's scene, -1 the sky, -2 - k site k


def camera(
    env: MetaWorldEnv,
    camera: str | Sequence[str] = "corner2",
    width: int = 64,
    height: int = 64,
    *,
    camera_pos: tuple[float, float, float] | None = None,
    depth: bool = False,
    segmentation: Segmentation | None = None,
) -> Camera:
    """Make a camera that draws inside compiled programs, on CPUs and NVIDIA's GPUs; needs the extra `pixels`.

    It looks like `render`, `corner2`'s upside-down mounting included, but is a pure function of one environment's
    state: `draw = mw.camera(env); jax.jit(jax.vmap(draw))(states)`. Tasks and scenes may be mixed in a batch.

    Args:
        env: the environment that states will belong to.
        camera: one of `list_cameras()`, or several, which gives pictures a leading axis of cameras.
        width: pixels.
        height: pixels.
        camera_pos: where to put the camera (all of them) instead, in its body's frame; it keeps its orientation. To
            move it from picture to picture, give that to the function that draws.
        depth: tell distances, too; the result is then a `Views`.
        segmentation: tell what every pixel shows, too, by "geom" or "body"; the result is then a `Views`.

    Raises:
        ValueError: for an unknown camera or segmentation, a size outside 1 .. 4096, or a scene that cannot be drawn.
        ImportError: without the extra `pixels`.
        RuntimeError: if JAX computes on a device that cannot draw, or Warp cannot keep its compiled kernels.
    """
    names = check_request(camera, width, height, camera_pos, segmentation)
    single = isinstance(camera, str)
    return Camera(env, names, width, height, single=single, pos=camera_pos, depth=depth, segmentation=segmentation)


def check_request(
    camera: str | Sequence[str], width: int, height: int, camera_pos: Any, segmentation: str | None
) -> tuple[str, ...]:
    """Names of the cameras that are asked for; the arguments are those of `camera`.

    Raises:
        ValueError: for an unknown camera or segmentation, a size outside 1 .. 4096, or a bad place.
        TypeError: if `camera` is neither a name nor several in an order.
    """
    if not isinstance(camera, Iterable) or isinstance(camera, Set):
        raise TypeError(f"camera must be a name or a sequence of names, got {camera!r}")
    names = (camera,) if isinstance(camera, str) else tuple(camera)
    if not names:
        raise ValueError(f"no camera named; available: {', '.join(CAMERAS)}")
    for name in names:
        if name not in CAMERAS:
            raise ValueError(f"no camera {name!r}; available: {', '.join(CAMERAS)}")
        check_picture(name, width=width, height=height)
    if segmentation is not None and segmentation not in get_args(Segmentation):
        raise ValueError(f"segmentation by {segmentation!r}; available: {', '.join(get_args(Segmentation))}")
    check_place(camera_pos)
    return names


class Camera:
    """Draws one environment's state; made by `camera`.

    Attributes:
        names: the cameras.
        width: pixels.
        height: pixels.
        num_slots: geoms and sites of the scene that has most: rows of `tint`.
    """

    def __init__(
        self,
        env: MetaWorldEnv,
        names: tuple[str, ...],
        width: int,
        height: int,
        *,
        single: bool,
        pos: tuple[float, float, float] | None,
        depth: bool,
        segmentation: Segmentation | None,
    ) -> None:
        bridge = check_available()
        self._env = env
        self.names, self.width, self.height = names, width, height
        self._single = single
        self._views = depth or segmentation is not None
        specs = tuple(dict.fromkeys(spec.scene_spec for spec in env.tasks))
        self._tables = _tables(specs)
        self.num_slots = self._tables.slots.kind.shape[1]
        rows = np.array([specs.index(spec.scene_spec) for spec in env.tasks], np.int32)
        chosen = [self._tables.camera_names.index(name) for name in names]
        of_scene = Cameras(*(column[:, chosen] for column in self._tables.cameras))
        if pos is not None:
            of_scene = of_scene._replace(pos=np.broadcast_to(np.asarray(pos, float), of_scene.pos.shape))
        marks = [_mark(spec, specs.index(spec.scene_spec), self._tables) for spec in env.tasks]
        columns = _Mark(*(np.stack(column) for column in zip(*marks, strict=True)))
        self._rows = _TaskRow(rows, columns, Cameras(*(column[rows] for column in of_scene)))
        still = _still_cameras(of_scene, height)
        measured = {"measured": self._views, "by_body": segmentation == "body"}
        draw = bridge.Bridge(self._tables, still, width, height, **measured)
        self._draw = batched("mw.camera", draw, shapes=draw.shapes)

    def __call__(
        self,
        state: State,
        *,
        camera_pos: Float[Array, "*cameras 3"] | None = None,
        camera_mat: Float[Array, "*cameras 3 3"] | None = None,
        tint: Float[Array, "slots 3"] | None = None,
    ) -> UInt8[Array, "*cameras height width 3"] | Views:
        """Draw one environment; batch it with `jax.vmap`.

        Args:
            state: of one environment.
            camera_pos: where to put the camera instead, from its body's origin and in its frame; along the world's axes
                where the camera follows its body without turning (`behindGripper`, `gripperPOV`).
            camera_mat: how to turn it instead, in the same frame: columns to the right, up, and backwards.
            tint: factors of the colours, red, green and blue, of each of `slots`; what the scene lacks is unread.

        Returns:
            uint8 `(height, width, 3)`, or `Views` if depth or segmentation was asked for; with a leading axis of
            cameras if several were.
        """
        if not isinstance(state, State):
            raise TypeError(f"a camera draws a State, not a {type(state).__name__}")
        if np.ndim(state.task) != 0:
            raise ValueError(f"a camera draws one environment; jax.vmap it over axes {np.shape(state.task)}")
        tint = None if tint is None else jnp.asarray(tint, jnp.float32)
        state, camera_pos, camera_mat, tint = jax.lax.stop_gradient((state, camera_pos, camera_mat, tint))
        row = self._task_row(state.task)
        pos, mat = self._bodies(state)
        cameras = row.cameras
        if camera_pos is not None:
            cameras = cameras._replace(pos=self._checked("camera_pos", camera_pos, (3,)))
        if camera_mat is not None:
            cameras = cameras._replace(mat=self._checked("camera_mat", camera_mat, (3, 3)))
        own_colors = tint is None
        if tint is None:
            tint = jnp.ones((1, 3), jnp.float32)
        elif np.shape(tint) != (self.num_slots, 3):
            raise ValueError(f"tint must have shape ({self.num_slots}, 3), got {np.shape(tint)}")
        frame = jnp.where(cameras.tracks[:, None, None] > 0, jnp.eye(3), mat[cameras.body] @ cameras.frame)
        eyes = pos[cameras.body] + _rotate(mat[cameras.body], cameras.origin) + _rotate(frame, cameras.pos)
        turns = frame @ cameras.mat
        focal = 0.5 * self.height / jnp.tan(0.5 * jnp.deg2rad(cameras.fovy))
        mark = row.mark
        marked = jnp.where(mark.of_object > 0, state.episode.object_init + mark.shift, state.episode.goal)
        marked = mark.pos + mark.mat @ marked
        # What never moves is drawn once, as long as the camera and the colours are the scene's own.
        as_it_is = camera_pos is None and camera_mat is None and own_colors
        view = jnp.arange(len(self.names)) if as_it_is else jnp.full(len(self.names), -1)
        each = jax.vmap(self._draw, (None, None, None, 0, 0, 0, None, None, None, 0))
        views = Views(*each(row.scene, pos, mat, eyes, turns, focal, mark.slot, marked, tint, view.astype(jnp.int32)))
        if self._single:
            views = jax.tree.map(lambda x: x[0], views)
        return views if self._views else views.color

    def slots(self, task: int) -> tuple[str, ...]:
        """Names of what a task's scene shows, in the order of `tint`: "geom 3 (table)", "site goal".

        Raises:
            ValueError: if `task` is no index into the environment's tasks.
        """
        task = check_integer("task", task, 0, len(self._env.tasks) - 1)
        spec = self._env.tasks[task]
        model = load_scene(spec.scene_spec)
        ids = self._tables.slots.geom[self._rows.scene[task]]
        kinds = self._tables.slots.kind[self._rows.scene[task]]
        names = []
        for geom in ids[kinds >= 0]:
            if geom <= SITE:
                names.append(f"site {model.site(int(SITE - geom)).name}")
            else:
                names.append(f"geom {geom} ({model.geom(int(geom)).name or model.body(model.geom_bodyid[geom]).name})")
        return tuple(names)

    def _checked(self, name: str, value: Any, shape: tuple[int, ...]) -> Array:
        wanted = shape if self._single else (len(self.names), *shape)
        if np.shape(value) != wanted:
            raise ValueError(f"{name} must have shape {wanted}, got {np.shape(value)}")
        return jnp.asarray(value, jnp.float32)[None] if self._single else jnp.asarray(value, jnp.float32)

    def _task_row(self, task: Int[Array, ""]) -> _TaskRow:
        if len(self._env.tasks) == 1:
            return jax.tree.map(lambda x: _numbers(x[0]), self._rows)
        return jax.tree.map(_numbers, take_row(self._rows, task))

    def _bodies(self, state: State) -> tuple[Array, Array]:
        """Poses (15, 3) and (15, 3, 3) of the skeleton's bodies and the mocap body."""
        poses = self._env.engine.poses(self._env.rows(state.task).scene, state.physics)
        pos = jnp.concatenate([poses.xpos, state.physics.mocap_pos[None]])
        return _numbers(pos), _numbers(jnp.concatenate([poses.xmat, jnp.asarray(_MOCAP_MAT, poses.xmat.dtype)[None]]))


def check_available() -> ModuleType:
    """The module that draws.

    Raises:
        ImportError: without the extra `pixels`.
        RuntimeError: if JAX computes on a device that cannot draw, or Warp cannot keep its compiled kernels.
    """
    try:
        from mjx_metaworld.rendering.device import bridge
    except ImportError as error:
        raise ImportError(f"pictures on the device need warp-lang: {install_command('pixels')}") from error
    bridge.check_device()
    return bridge


class _Mark(NamedTuple):
    """The site that marks a task's goal."""

    slot: Any  # () int32, -1 for none
    pos: Any  # (3,) of its body in the skeleton body's frame
    mat: Any  # (3, 3)
    of_object: Any  # () int32: 1 where it marks a place beside the object's start
    shift: Any  # (3,) from there


class _TaskRow(NamedTuple):
    """All of a task, or of all tasks, that does not change."""

    scene: Any  # () int32
    mark: _Mark
    cameras: Cameras


_w, _x, _y, _z = np.array(MOCAP_QUAT) / np.linalg.norm(MOCAP_QUAT)
_MOCAP_MAT = np.array(
    [
        [1 - 2 * (_y * _y + _z * _z), 2 * (_x * _y - _w * _z), 2 * (_x * _z + _w * _y)],
        [2 * (_x * _y + _w * _z), 1 - 2 * (_x * _x + _z * _z), 2 * (_y * _z - _w * _x)],
        [2 * (_x * _z - _w * _y), 2 * (_y * _z + _w * _x), 1 - 2 * (_x * _x + _y * _y)],
    ]
)


def _numbers(x: Any) -> Array:
    x = jnp.asarray(x)
    return x.astype(jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else jnp.int32)


def _still_cameras(cameras: Cameras, height: int) -> StillCameras:
    """Poses of the cameras that the world's body holds."""
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(cameras.fovy))
    frame = np.where(cameras.tracks[..., None, None] > 0, np.eye(3), cameras.frame)
    pos = cameras.origin + np.einsum("...ij,...j->...i", frame, cameras.pos)
    return StillCameras(cameras.body == WORLD, pos, frame @ cameras.mat, focal)


def _rotate(mat: Array, vectors: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", mat, vectors)


@functools.lru_cache(maxsize=4)  # 20 MB for all scenes
def _tables(specs: tuple[SceneSpec, ...]) -> DrawTables:
    return build_draw_tables(specs, CAMERAS)


def _mark(spec: TaskSpec, scene: int, tables: DrawTables) -> _Mark:
    mark = goal_mark(spec)
    slot = find_slot(tables.slots, scene, mark.site) if mark.site >= 0 else -1
    moved = np.zeros(3) if mark.shift is None else mark.shift
    return _Mark(np.int32(slot), mark.pos, mark.mat, np.int32(mark.shift is not None), moved)
