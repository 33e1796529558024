"""Catalogue of Meta-World's scenes: the file, and the body that a task moves in it.

The 50 tasks share 36 scene files. They are read from the installed `metaworld` package; nothing is copied from it.
"""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import mujoco
from metaworld.asset_path_utils import full_V3_path_for


class SceneSpec(NamedTuple):
    """A scene file and its prop.

    The prop is the one static body that a task may move at reset through `body_pos`, or None. Tasks that share a
    scene and move nothing leave the prop where the file puts it.
    """

    file: str  # within metaworld's `sawyer_xyz` folder, without the suffix
    prop: str | None


SCENES: tuple[SceneSpec, ...] = (
    SceneSpec("sawyer_assembly_peg", "peg"),
    SceneSpec("sawyer_basketball", "basket_goal"),
    SceneSpec("sawyer_bin_picking", None),
    SceneSpec("sawyer_box", "boxbody"),
    SceneSpec("sawyer_button_press", "box"),
    SceneSpec("sawyer_button_press_topdown", "box"),
    SceneSpec("sawyer_button_press_topdown_wall", "box"),
    SceneSpec("sawyer_button_press_wall", "box"),
    SceneSpec("sawyer_coffee", "coffee_machine"),
    SceneSpec("sawyer_dial", "dial"),
    SceneSpec("sawyer_door_lock", "door"),
    SceneSpec("sawyer_door_pull", "door"),
    SceneSpec("sawyer_drawer", "drawer"),
    SceneSpec("sawyer_faucet", "faucetBase"),
    SceneSpec("sawyer_hammer", "box"),
    SceneSpec("sawyer_handle_press", "box"),
    SceneSpec("sawyer_handle_press_sideways", "box"),
    SceneSpec("sawyer_lever_pull", "lever"),
    SceneSpec("sawyer_peg_insertion_side", "box"),
    SceneSpec("sawyer_peg_unplug_side", "box"),
    SceneSpec("sawyer_pick_out_of_hole", None),
    SceneSpec("sawyer_pick_place_v3", None),
    SceneSpec("sawyer_pick_place_wall_v3", None),
    SceneSpec("sawyer_plate_slide", "puck_goal"),
    SceneSpec("sawyer_plate_slide_sideway", "puck_goal"),
    SceneSpec("sawyer_push_back_v3", None),
    SceneSpec("sawyer_push_v3", None),
    SceneSpec("sawyer_push_wall_v3", None),
    SceneSpec("sawyer_reach_v3", None),
    SceneSpec("sawyer_reach_wall_v3", None),
    SceneSpec("sawyer_shelf_placing", "shelf"),
    SceneSpec("sawyer_soccer", "goal_whole"),
    SceneSpec("sawyer_stick_obj", None),
    SceneSpec("sawyer_sweep_v3", None),
    SceneSpec("sawyer_table_with_hole", None),
    SceneSpec("sawyer_window_horizontal", "window"),
)

# What metaworld's reset_mocap_welds writes over the compiled weld: anchor at the hand's origin, no relative position,
# the relative quaternion (-1, 0, 0, 0), torquescale 5.
WELD_DATA = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)


def find_scene(file: str) -> SceneSpec:
    """The scene of that file name (without folder and suffix)."""
    return next(spec for spec in SCENES if spec.file == file)


def load_scene(spec: SceneSpec) -> mujoco.MjModel:
    """The original scene as metaworld's environments use it, weld data included; the caller's own copy."""
    return copy.copy(_compile(spec.file))


@functools.lru_cache(maxsize=2)  # 20 MB each; one scene's users ask for it in a row
def _compile(file: str) -> mujoco.MjModel:
    model = mujoco.MjModel.from_xml_path(full_V3_path_for(f"sawyer_xyz/{file}.xml"))
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD] = WELD_DATA
    return model
