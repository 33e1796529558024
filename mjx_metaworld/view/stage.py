"""Lanes side by side in a viser scene: what does not move is sent once, of the rest the pose of each body."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mjx_metaworld.physics.model import WORLD
from mjx_metaworld.rendering.marks import GoalMark, goal_mark
from mjx_metaworld.scenes.catalog import SceneSpec
from mjx_metaworld.tasks.spec import TaskSpec
from mjx_metaworld.view.drawables import scene_drawables
from mjx_metaworld.view.frames import Frame
from mjx_metaworld.view.glb import to_glb

if TYPE_CHECKING:
    import viser

_SPACING = np.array([-1.7, -2.2, 0.0])  # m between lanes, for who stands before the first: to the right, behind it
_LABEL_POS = np.array([0.0, 0.95, 0.75])
_CENTRE = np.array([0.0, 0.55, 0.1])  # of a lane: about where the hand works
_CAMERA_POS = np.array([0.8, 1.15, 0.85])  # from there, for a single lane
_SEEN = np.array([[-0.45, 0.3, 0.0], [0.45, 0.95, 0.6]])  # bounds of what is to be seen of a lane, from its origin
_FOV = math.radians(45.0)
_ASPECT = 1.15  # width over height of the narrowest picture in which all lanes are to be seen


def lane_offsets(num_lanes: int) -> np.ndarray:
    """Places (lanes, 3) of the lanes' origins: in rows, about as many as there are columns."""
    columns = math.ceil(math.sqrt(num_lanes)) if num_lanes > 3 else num_lanes
    column, row = np.arange(num_lanes) % columns, np.arange(num_lanes) // columns
    places = np.stack([column - (columns - 1) / 2, row, np.zeros(num_lanes)], axis=-1)
    return places * _SPACING


def camera_pos(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place (3,) of a camera that sees all lanes, and the point (3,) that it looks at.

    Args:
        offsets: (lanes, 3) origins of the lanes.
    """
    centre = offsets.mean(0) + _CENTRE
    corners = np.array(list(itertools.product(*_SEEN.T)))
    points = (offsets[:, None] + corners - centre).reshape(-1, 3)
    distance = np.linalg.norm(_CAMERA_POS)
    forward = -_CAMERA_POS / distance
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    slope = math.tan(_FOV / 2)
    # A point is seen from a depth at which the picture is as wide, or high, as it is off the middle.
    needed = np.maximum(np.abs(points @ right) / (_ASPECT * slope), np.abs(points @ up) / slope) - points @ forward
    return centre + _CAMERA_POS * max(1.0, needed.max() / distance), centre


class Stage:
    """The viser scene of some lanes.

    Args:
        server: where it is shown.
        specs: tasks, by the frames' `task`.
        num_lanes: how many.

    Raises:
        ValueError: if a scene holds what cannot be drawn.
    """

    def __init__(self, server: viser.ViserServer, specs: tuple[TaskSpec, ...], num_lanes: int) -> None:
        self._server, self._specs = server, specs
        self.offsets = lane_offsets(num_lanes)
        self._lanes = [_Lane(server, f"/lane{i}", offset) for i, offset in enumerate(self.offsets)]
        self._has_floor = False
        server.scene.set_up_direction("+z")
        server.scene.world_axes.visible = False
        self._place_camera()

    def show(self, frame: Frame) -> None:
        """Show a moment: leading axis of lanes."""
        with self._server.atomic():
            for i, lane in enumerate(self._lanes):
                spec = self._specs[int(frame.task[i])]
                if lane.spec is not spec:
                    self._lay_floor(lane.set_up(spec).floor)
                lane.move(frame, i)

    def _lay_floor(self, floor: bytes | None) -> None:
        """The first scene's floor serves all."""
        if floor is not None and not self._has_floor:
            self._server.scene.add_glb("/floor", floor)
            self._has_floor = True

    def _place_camera(self) -> None:
        camera = self._server.initial_camera
        pos, centre = camera_pos(self.offsets)
        camera.look_at, camera.position = tuple(centre), tuple(pos)
        camera.fov, camera.near, camera.far = _FOV, 0.01, 100.0


class _SceneGlbs(NamedTuple):
    """A scene's parts as files."""

    bodies: dict[int, bytes]  # by body of the skeleton
    floor: bytes | None
    goal: bytes | None


class _Lane:
    """A lane's nodes."""

    def __init__(self, server: viser.ViserServer, name: str, offset: np.ndarray) -> None:
        self._scene = server.scene
        self._name = name
        self._root = server.scene.add_frame(name, show_axes=False, position=offset)
        self.spec: TaskSpec | None = None
        self._bodies: list[tuple[int, viser.GlbHandle]] = []
        self._goal: viser.GlbHandle | None = None
        self._mark: GoalMark | None = None
        self._label: viser.LabelHandle | None = None
        self._solved = False

    def set_up(self, spec: TaskSpec) -> _SceneGlbs:
        """Show the scene of a task."""
        mark = goal_mark(spec)
        glbs = _scene_glbs(spec.scene_spec, mark.site)
        for handle in [handle for _, handle in self._bodies] + [x for x in (self._goal, self._label) if x]:
            handle.remove()
        self._bodies = [
            (body, self._scene.add_glb(f"{self._name}/body{body}", content)) for body, content in glbs.bodies.items()
        ]
        self._goal = None
        if glbs.goal is not None:
            self._goal = self._scene.add_glb(f"{self._name}/goal", glbs.goal)
        self._label = self._scene.add_label(f"{self._name}/label", spec.name, position=_LABEL_POS)
        self.spec, self._mark, self._solved = spec, mark, False
        return glbs

    def move(self, frame: Frame, lane: int) -> None:
        """Put all bodies where a moment has them."""
        pos, quat = np.asarray(frame.pos[lane]), np.asarray(frame.quat[lane])
        for body, handle in self._bodies:
            if body != WORLD and body < len(pos):  # beyond is the mocap body, which shows nothing
                _put(handle, pos[body], quat[body])
        if self._goal is not None and self._mark is not None:
            _put(self._goal, goal_place(frame, lane, self._mark), np.array([1.0, 0.0, 0.0, 0.0]))
        self._tell(bool(frame.metrics.success[lane] > 0))

    def _tell(self, solved: bool) -> None:
        if self._label is not None and self.spec is not None and solved != self._solved:
            self._label.text = f"{self.spec.name}: success" if solved else self.spec.name
            self._solved = solved


def _put(handle: viser.GlbHandle, pos: np.ndarray, quat: np.ndarray) -> None:
    """Pose a node, if it is elsewhere: what rests is told once."""
    if not np.array_equal(handle.position, pos):
        handle.position = pos
    if not np.array_equal(handle.wxyz, quat):
        handle.wxyz = quat


@functools.lru_cache(maxsize=16)  # 3 MB each
def _scene_glbs(spec: SceneSpec, goal_site: int) -> _SceneGlbs:
    drawn = scene_drawables(spec, goal_site)
    floor, goal = (None if drawable is None else to_glb(drawable.parts) for drawable in (drawn.floor, drawn.goal))
    return _SceneGlbs({drawable.body: to_glb(drawable.parts) for drawable in drawn.bodies}, floor, goal)


def goal_place(frame: Frame, lane: int, mark: GoalMark) -> np.ndarray:
    """Place (3,), from a lane's origin, of the site that marks its goal."""
    target = np.asarray(frame.goal[lane] if mark.shift is None else frame.object_init[lane] + mark.shift)
    place = mark.pos + mark.mat @ target
    return np.asarray(frame.pos[lane, mark.body]) + rotate(np.asarray(frame.quat[lane, mark.body]), place)


def rotate(quat: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by a unit quaternion w, x, y, z."""
    w, u = quat[0], quat[1:]
    return vectors + 2.0 * np.cross(u, np.cross(u, vectors) + w * vectors)
