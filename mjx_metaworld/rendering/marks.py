"""Sites that mark goals, in the frames of the skeleton's bodies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mjx_metaworld.rendering.tables import Frames
from mjx_metaworld.rendering.to_mujoco import find_goal_site, marked_above_object
from mjx_metaworld.scenes.catalog import load_scene
from mjx_metaworld.tasks.spec import TaskSpec


class GoalMark(NamedTuple):
    """Frame in which the site that marks a task's goal is put at the goal, see `to_mujoco`."""

    site: int  # id in the scene, -1 for none; then the rest is the world's
    body: int  # of the skeleton
    pos: np.ndarray  # (3,) of that frame in the body's
    mat: np.ndarray  # (3, 3)
    shift: np.ndarray | None  # (3,) from where the object began; None where it marks the goal


def goal_mark(spec: TaskSpec) -> GoalMark:
    """The mark of a task."""
    model = load_scene(spec.scene_spec)
    site = find_goal_site(model, spec)
    frame = Frames(model, spec.scene_spec.prop).of(int(model.site_bodyid[site]) if site >= 0 else 0)
    return GoalMark(site, *frame, marked_above_object(spec))
