"""Handles by which goals are dragged, along the axes that their tasks leave free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mjx_metaworld.view.frames import Frame

if TYPE_CHECKING:
    import viser

_SIZE = 0.12  # m


class GoalHandles:
    """A handle a lane, where its goal can be put elsewhere.

    Args:
        server: where they are shown.
        offsets: (lanes, 3) origins of the lanes.
        on_move: called with a lane and where (3,), from the lane's origin, its goal was dragged.
    """

    def __init__(
        self, server: viser.ViserServer, offsets: np.ndarray, on_move: Callable[[int, np.ndarray], None]
    ) -> None:
        self._server, self._offsets, self._on_move = server, offsets, on_move
        self._handles: list[viser.TransformControlsHandle | None] = [None] * len(offsets)
        self._axes: list[tuple[bool, bool, bool] | None] = [None] * len(offsets)
        self._dragged = [False] * len(offsets)

    def show(self, frame: Frame, movable: Sequence[tuple[bool, bool, bool]]) -> None:
        """Put the handles at the goals of a moment (leading axis of lanes), but for one that is being dragged."""
        for lane, axes in enumerate(movable):
            if self._axes[lane] != axes:
                self._replace(lane, axes)
            handle = self._handles[lane]
            place = self._offsets[lane] + frame.goal[lane]
            if handle is not None and not self._dragged[lane] and not np.allclose(handle.position, place, atol=1e-6):
                handle.position = place

    def _replace(self, lane: int, axes: tuple[bool, bool, bool]) -> None:
        old = self._handles[lane]
        if old is not None:
            old.remove()
        self._handles[lane], self._axes[lane] = None, axes
        if not any(axes):
            return
        handle = self._server.scene.add_transform_controls(
            f"/goals/lane{lane}", scale=_SIZE, active_axes=axes, disable_rotations=True, disable_sliders=sum(axes) < 2
        )

        def drag(event: viser.TransformControlsEvent) -> None:
            self._dragged[lane] = event.phase != "end"
            self._on_move(lane, np.asarray(handle.position) - self._offsets[lane])

        handle.on_update(drag)
        self._handles[lane] = handle
