"""Catalogue of Meta-World's scenes, and scenes of one's own: the file, and the body that a task moves in it.

The 50 tasks share 36 scene files. They are read from the installed `metaworld` package; nothing is copied from it.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from metaworld.asset_path_utils import full_V3_path_for

from mjx_metaworld.scenes.mjcf import Mjcf, read_mjcf


@dataclass(frozen=True)
class SceneSpec:
    """A scene file and its prop.

    The prop is the one static body that a task may move at reset through `body_pos`, or None. Tasks that share a
    scene and move nothing leave the prop where the file puts it.

    A file of one's own is read when the spec is made, with the meshes, textures and models that it names, and the spec
    stays what was read: make a new one after a change of any of them. It includes metaworld's files by paths that begin
    with `metaworld/`; `scenes.fit` tells what fits.

    Attributes:
        file: of metaworld's scenes the name within its folder `sawyer_xyz`, without the suffix; of one's own the path
            of an MJCF file.
        prop: the name of the prop.
        own: what was read of a file of one's own, None for metaworld's.

    Raises:
        ValueError: if a file of one's own, or what it includes or names, cannot be read.
        TypeError: if `file` is neither a name nor a path.
    """

    file: str | Path
    prop: str | None = None
    own: Mjcf | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.file, str | Path):
            raise TypeError(f"a scene is the name of one of metaworld's or the path of an MJCF file, got {self.file!r}")
        if isinstance(self.file, Path) or self.file.endswith(".xml"):
            path = Path(self.file).absolute()
            object.__setattr__(self, "file", path)
            object.__setattr__(self, "own", read_mjcf(path))

    @property
    def name(self) -> str:
        """The file's name without folder and suffix."""
        return Path(self.file).stem


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


_AHEAD = 2  # scenes that compile while another is used


def find_scene(name: str) -> SceneSpec:
    """Metaworld's scene of that file name (without folder and suffix).

    Raises:
        ValueError: if there is none, with near matches.
    """
    names = [str(spec.file) for spec in SCENES]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"unknown scene {name!r}{hint} Give a scene of your own as SceneSpec(path of the file).")
    return SCENES[names.index(name)]


def load_scene(spec: SceneSpec) -> mujoco.MjModel:
    """The original scene as metaworld's environments use it, weld data included; the caller's own copy.

    Raises:
        ValueError: if MuJoCo does not compile a scene of one's own; the message is MuJoCo's.
    """
    return copy.copy(_compile(spec))


def compile_ahead(specs: Sequence[SceneSpec]) -> Iterator[SceneSpec]:
    """The scenes in order, each compiled by the time it comes; those behind it compile meanwhile, on other cores."""
    with ThreadPoolExecutor(_AHEAD) as pool:  # MuJoCo releases the interpreter while it compiles
        waiting: deque[Future[mujoco.MjModel]] = deque(pool.submit(_compile, spec) for spec in specs[:_AHEAD])
        for i, spec in enumerate(specs):
            waiting.popleft().result()
            waiting.extend(pool.submit(_compile, later) for later in specs[i + _AHEAD : i + _AHEAD + 1])
            yield spec


def scene_content(model: mujoco.MjModel) -> str:
    """A digest of a compiled scene. Versions tell metaworld's scenes apart; other files change under their names."""
    buffer = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return hashlib.sha256(buffer.tobytes()).hexdigest()


@functools.lru_cache(maxsize=2 + _AHEAD)  # 20 MB each; one scene's users ask for it in a row
def _compile(spec: SceneSpec) -> mujoco.MjModel:
    if spec.own is None:
        model = mujoco.MjModel.from_xml_path(full_V3_path_for(f"sawyer_xyz/{spec.file}.xml"))
    else:
        model = _compile_own(spec.file, spec.own)
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD] = WELD_DATA
    return model


def _compile_own(path: str | Path, own: Mjcf) -> mujoco.MjModel:
    try:
        return mujoco.MjModel.from_xml_string(own.xml, {asset.name: asset.content for asset in own.assets})
    except ValueError as error:
        hint = ""
        if "repeated" in str(error):  # MuJoCo names the first only, and no file
            hint = f". Each name can be had once: {'; '.join(map(str, own.repeated))}" if own.repeated else ""
        elif "mass and inertia" in str(error):  # with metaworld's `inertiagrouprange`
            hint = ". Beside metaworld's robot only geoms of groups 4 and 5 have mass: give the body an `inertial`"
        elif any(name in str(error) for name in ("'r_close'", "'l_close'", "'mocap'", "'hand'")):
            hint = (
                ". These are the robot's: include metaworld/objects/assets/xyz_base_dependencies.xml and, in the "
                "worldbody, metaworld/objects/assets/xyz_base.xml"
            )
        raise ValueError(f"MuJoCo does not compile {path}: {error}{hint}") from error
