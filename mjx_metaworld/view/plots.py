"""Live plots of rewards: that of every lane, and the terms of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mjx_metaworld.types import Metrics

if TYPE_CHECKING:
    import viser

TERMS = ("success", "near_object", "grasp_success", "grasp_reward", "in_place_reward", "obj_to_target")
_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_MOST = 400  # points a line: what a plot has room for


def thinned(values: np.ndarray) -> np.ndarray:
    """Values (moments, ...) of at most so many moments as a plot has room for, the last one among them."""
    stride = -(-len(values) // _MOST)
    return values[(len(values) - 1) % stride :: stride]


class Plots:
    """Two charts in the panel."""

    def __init__(self, server: viser.ViserServer, folder: viser.GuiFolderHandle, num_lanes: int) -> None:
        lanes = ["reward"] if num_lanes == 1 else [f"lane {i}" for i in range(num_lanes)]
        with folder:
            self._rewards = _chart(server, "reward", lanes)
            self._terms = _chart(server, "reward's terms of the lane", TERMS)

    def show(self, metrics: Metrics, lane: int) -> None:
        """Plot metrics with leading axes (moments, lanes)."""
        rewards = thinned(np.asarray(metrics.unscaled_reward, float))
        steps = thinned(np.arange(len(metrics.success), dtype=float))
        self._rewards.data = (steps, *np.ascontiguousarray(rewards.T))
        terms = [thinned(np.asarray(getattr(metrics, term), float)[:, lane]) for term in TERMS]
        self._terms.data = (steps, *terms)


def _chart(server: viser.ViserServer, title: str, names: tuple[str, ...] | list[str]) -> viser.GuiUplotHandle:
    from viser import uplot

    lines = [
        uplot.Series(label=name, stroke=_COLORS[i % len(_COLORS)], width=1.5, points={"show": False})
        for i, name in enumerate(names)
    ]
    nothing = np.zeros(1)
    return server.gui.add_uplot(
        data=(nothing,) * (len(names) + 1),
        series=(uplot.Series(label="step"), *lines),
        title=title,
        scales={"x": uplot.Scale(time=False, auto=True)},
        legend=uplot.Legend(show=True),
        aspect=1.6,
    )
